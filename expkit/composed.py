"""What Hydra composes, as expkit takes it: plain checked values, and errors in its own words."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from expkit.check import nearest
from expkit.config import ROOT, Config, check_config
from expkit.errors import UserError
from expkit.run import plan


def plain(composed: object) -> Config:
    """The composed config as checked plain values.

    Raises UserError for a missing or impossible value, naming its key.
    """
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no default: give it as {error.full_key}=VALUE") from None
    assert isinstance(values, dict)
    config = with_earlier_run(check_config({str(key): value for key, value in values.items()}))
    plan(config)
    return config


def with_earlier_run(config: Config) -> Config:
    """The config with the folder of an earlier run in place of its id, where it takes the weights of one."""
    from expkit.tracking.finding import RUN_ID, folder_of

    weights = config.model.get("weights")
    if not isinstance(weights, str) or not RUN_ID.fullmatch(weights) or Path(weights).exists():
        return config
    try:
        folder = folder_of(weights, config.tracking.get("uri"))
    except UserError as error:
        raise UserError(f"model.weights: {error}") from error
    return replace(config, model={**config.model, "weights": str(folder)})


def experiment(choices: Mapping[str, Any] | None = None) -> str:
    """The name of the experiment among the choices that Hydra made; None: those of the job at hand."""
    if choices is None:
        choices = HydraConfig.get().runtime.choices
    chosen = choices.get("experiment") or "unnamed"
    return chosen if isinstance(chosen, str) else "+".join(chosen)


def explain(error: Exception) -> str:
    """The message of an error, with the nearest spelling where a key or a choice does not exist."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice} is no choice of {group}; {nearest(choice, error.options)}"
    match = re.match(r"Could not override '([^']+)'", str(error))
    cause = error.__cause__
    if match and isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        key = match[1]
        keys = [str(name) for name in cause.parent_node]
        parent = key.rpartition(".")[0]
        return f"{key} is no key of {parent or 'the config'}; {nearest(str(cause.key), keys)}"
    if match and match[1] in ("experiment", "sweeps"):
        return f"write +{match[1]}=NAME, with a plus sign: it adds to the config"
    if match:
        groups = [path.name for path in (ROOT / "conf").iterdir() if path.is_dir()]
        return f"{match[1]} is neither a group nor a key of the config; {nearest(match[1], groups)}"
    if "does not support sweep type : INTERVAL_SWEEP" in str(error):
        return "interval(...) is searched by Optuna: add hydra/sweeper=expkit, or choose +sweeps=NAME"
    return str(error).strip()
