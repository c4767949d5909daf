"""The keys of `hydra.sweeper`, with the names that Hydra's own Optuna plugin uses, checked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from expkit.check import Count, NotNegativeInt, Positive, check_arguments
from expkit.errors import UserError
from expkit.urls import sqlite_mistake

TARGET = "hydra_plugins.expkit_sweeper.ExpkitSweeper"
DATABASES = ("sqlite", "postgresql", "mysql")
STUDY = "${hydra.job.name}-${expkit.searched:}"
SHARED = ("experiment", "sweeps", "tracking", "task", "num_workers")
"""Keys that do not tell one search from another of the same experiment."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a sweep searches."""

    n_trials: Count = 20
    """Finished trials of the study in all, however often the command is run: complete, pruned and failed ones, but not
    those whose worker was stopped or killed, which are run again."""
    n_jobs: Count = 1
    """Workers, each with one trial at a time."""
    study_name: str = STUDY
    """What the study is called in its storage, and its folder after `sweep_`."""
    storage: str | None = None
    """URL of the database: sqlite, postgresql or mysql; null: a sqlite file in the sweep's folder."""
    direction: Literal["maximize", "minimize"] | None = None
    """Which values of the objective are better; null: as objective.mode says."""
    sampler: str | Mapping[str, Any] = "tpe"
    """tpe, gp, cmaes, random, grid, or `_target_: optuna.samplers.NAME` with keys."""
    pruner: str | Mapping[str, Any] = "median"
    """median, hyperband, none, or `_target_: optuna.pruners.NAME` with keys."""
    seed: NotNegativeInt = 0
    """What the sampler draws follows from it, from the trial's number and from the earlier trials."""
    timeout: Positive | None = None
    """Seconds after which no trial is begun any more."""
    repeats: Count = 1
    """Runs of each trial, with the seeds seed, seed + 1, ...; their mean objective counts."""
    heartbeat: Count = 10
    """Seconds between a worker's signs of life; without one for six times as long, its trial is run again."""
    conditions: str | None = None
    """Dotted name of a function of a trial's params that gives further ones, but for keys that are told anyway."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Key of the config -> its space in the override grammar, {around: lr_find, factor: F}, or a value."""


def searched(*, _root_: DictConfig) -> str:
    """What a study is called after its experiment: the sweep's file, or else the keys that the command line searches.

    With these goes a sum over all that it says, so that another search does not meet the study of this one.
    """
    hydra = _root_.hydra
    chosen = [str(one) for one in (hydra.runtime.choices.get("sweeps"),) if one]
    parser = OverridesParser.create()
    told = [parser.parse_override(one) for one in hydra.overrides.task]
    told = [one for one in told if one.get_key_element().lstrip("+~").split(".")[0] not in SHARED]
    keys = [one.get_key_element().lstrip("+") for one in told if searches(one)]
    if chosen and not keys:
        return chosen[0]
    sweeper = hydra.sweeper
    shared = [sweeper.get(key) for key in ("repeats", "conditions", "params")] + [sweeper.get("sampler") == "grid"]
    text = repr([one.input_line for one in told]) + repr(shared)
    words = "-".join([*chosen, *keys])[:60].replace("/", "_") or "search"
    return f"{words}-{blake2b(text.encode(), digest_size=3).hexdigest()}"


def searches(override: Override) -> bool:
    """Whether an override gives a space."""
    value = override.value()
    return override.is_sweep_override() or (isinstance(value, Mapping) and "around" in value)


OmegaConf.register_new_resolver("expkit.searched", searched, replace=True)


def sweeper_node() -> dict[str, Any]:
    """The config `hydra/sweeper=expkit`: Hydra builds the sweeper of it and leaves the nodes in it alone."""
    return {"_target_": TARGET, "_recursive_": False, **asdict(Settings())}


def read_settings(sweeper: DictConfig) -> Settings:
    """The checked settings of a composed `hydra.sweeper` node. Raises UserError that names the key at fault."""
    values = OmegaConf.to_container(sweeper, resolve=True)
    assert isinstance(values, dict)
    keys = {str(key): value for key, value in values.items() if key not in ("_target_", "_recursive_")}
    check_arguments(Settings, keys, "hydra.sweeper")
    settings = Settings(**keys)
    if "/" in settings.study_name or not settings.study_name.strip("."):
        raise UserError(
            f"hydra.sweeper.study_name names a folder too, so {settings.study_name!r} cannot be; leave / out"
        )
    check_storage(settings.storage)
    return settings


def check_storage(url: str | None) -> None:
    """Raise UserError for what is no URL of a database that workers can share."""
    kind = (url or "sqlite://").partition("://")[0].partition("+")[0]
    if url is not None and ("://" not in url or kind not in DATABASES):
        raise UserError(
            f"hydra.sweeper.storage must be the URL of a database of kind {', '.join(DATABASES)}, such as "
            f"sqlite:///sweeps.db or postgresql+psycopg://user@host/name; got {kind if '://' in url else url!r}"
        )
    if url is not None and kind == "sqlite" and (mistake := sqlite_mistake(url)):
        raise UserError(f"hydra.sweeper.storage={url} {mistake}")
