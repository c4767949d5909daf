"""Configs of trials, composed once for each choice of config groups and then only given their values.

Hydra reads and merges every file again for each config, which takes as long as the training of a small trial.
"""

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from expkit.config.composition import apply, latest


@lru_cache(maxsize=4096)
def parsed(override: str) -> Override:
    """One override of a command line."""
    return OverridesParser.create().parse_override(override)


class Composer:
    """Gives what `load_sweep_config` of Hydra's loader gives for a base config, sooner."""

    def __init__(self, context: HydraContext, config: DictConfig) -> None:
        self.loader = context.config_loader
        self.config = config
        self.groups = set(config.hydra.runtime.choices)
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config, Hydra's node included, of a job with these overrides; raises what Hydra does."""
        all_of_them = latest([parsed(override) for override in overrides])
        values = [override for override in all_of_them if self.is_value(override)]
        others = tuple(str(override.input_line) for override in all_of_them if not self.is_value(override))
        if others not in self.composed:
            self.composed[others] = self.loader.load_sweep_config(self.config, list(others))
        config = copy.deepcopy(self.composed[others])
        OmegaConf.copy_cache(from_config=self.config, to_config=config)
        apply(values, config)
        of_task = [override for override in all_of_them if not override.is_hydra_override()]
        names = config.hydra.job.config.override_dirname
        with open_dict(config):
            config.hydra.overrides.task = [override.input_line for override in of_task]
            config.hydra.job.override_dirname = get_overrides_dirname(
                of_task, kv_sep=names.kv_sep, item_sep=names.item_sep, exclude_keys=names.exclude_keys
            )
        return config

    def job(self, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
        """What a job with these overrides is composed of, without Hydra's node, and its choice of each config group."""
        composed = self.compose(overrides)
        choices = dict(composed.hydra.runtime.choices)
        with open_dict(composed):
            del composed["hydra"]
        return composed, choices

    def is_value(self, override: Override) -> bool:
        """Whether an override sets a value of the config, and neither chooses a group nor adds or deletes anything."""
        return (
            override.type == OverrideType.CHANGE
            and override.package is None
            and not override.is_hydra_override()
            and override.key_or_group not in self.groups
        )
