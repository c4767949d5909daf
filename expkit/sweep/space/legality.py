"""What a sweep is checked for before anything runs: every value of its space composed once, and its objective."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from expkit.command import command, shown
from expkit.config.composed import explain
from expkit.config.plan import plan
from expkit.config.schema import GROUPS, Config
from expkit.errors import UserError
from expkit.screen import say
from expkit.sweep.space.composing import Composer
from expkit.sweep.space.jobs import conditional, plain_value
from expkit.sweep.space.settings import Settings
from expkit.sweep.space.spaces import Around, Choice, Param, Search, Space, Value, bare
from expkit.task.idle import by_weights, given, idle
from expkit.tracking.finding import config_of

STAND_IN = 1e-3
"""A learning rate where the LR finder has not run yet."""
OUTSIDE = ("objective", "tracking", "task", "hydra", "lr_find", "name")
"""What trials must share to be trials of one study."""
UNTOLD = ("tracking", "task", "num_workers", "name")
"""What may be otherwise when a study goes on."""
VIEWS = "transfer.tta"
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {"max": "maximize", "min": "minimize"}


def check_sweep(
    context: HydraContext, config: DictConfig, settings: Settings, search: Search
) -> tuple[Config, dict[str, list[str]]]:
    """Compose the base config, and configs in which every value of the space occurs.

    Gives the base config, checked, and what the conditions add: key -> spaces and values that it may have.

    Raises UserError for a value that does not fit its key, a key that not all choices have, nothing to search, or a
    direction that is not the objective's.
    """
    if not search.params and settings.conditions is None:
        raise UserError(
            "the sweep has nothing to search: give a space, such as 'optim.lr=tag(log, interval(1e-4, 1e-1))', "
            "or choose +sweeps=NAME"
        )
    for param in search.params:
        if param.key.split(".")[0].split("/")[0].split("@")[0] in OUTSIDE:
            raise UserError(f"{param.key} cannot be searched: the trials of a study share it")
        if param.key == VIEWS:
            raise UserError(f"{VIEWS} cannot be searched: it has no part in the objective, which is of an epoch")
    composer = Composer(context, config)
    base = config_of(composer.job(search.fixed)[0])
    views, doubts = plan(base).tta, {*by_weights(base, plan(base))}
    if base.task["_target_"] != "expkit.task.train":
        raise UserError("a sweep trains each trial: leave out task=..., or leave out +sweeps and -m")
    if base.name:
        raise UserError(f"name is of a run; a study is called by hydra.sweeper.study_name={base.name}")
    expected = DIRECTIONS[base.objective["mode"]]
    if settings.direction not in (None, expected):
        raise UserError(
            f"hydra.sweeper.direction must be {expected}, since objective.mode is {base.objective['mode']} for "
            f"{base.objective['metric']}; got {settings.direction}"
        )
    found: dict[str, set[str]] = {}
    effects: dict[str, set[str]] = {bare(param.key): set() for param in search.params}
    for number in range(max([2, *(len(examples(param.space)) for param in search.params)])):
        trial, added = check_point(composer, settings, search, number)
        views = max(views, plan(trial).tta)
        doubts &= {*by_weights(trial, plan(trial))}  # where some trials are otherwise, it is what the sweep is to tell
        for key, told in effects.items():
            told |= effect_of(key, trial)
        for one in added:
            key, _, value = (one.key, "", str(one.space)) if isinstance(one, Param) else one.partition("=")
            found.setdefault(bare(key), set()).add(value)
    if views:
        tell_of_views(views, config)
    for sentence in [*doubts, *(one for told in effects.values() if "" not in told for one in told)]:
        say(f"WARNING: {sentence}", stderr=True)
    return base, {key: sorted(values) for key, values in found.items()}


def effect_of(key: str, trial: Config) -> set[str]:
    """Why a searched key has no effect in a trial, "" where it has one; nothing where the trial has its default."""
    group, _, leaf = key.rpartition(".")
    if told := {sentence for sentence in idle(trial, plan(trial)) if sentence.startswith(f"{key} has no effect")}:
        return told
    is_given = group in GROUPS and leaf in given(getattr(trial, group))
    return {""} if is_given or group not in GROUPS else set()


def tell_of_views(views: int, config: DictConfig) -> None:
    """Say that trials average over no augmented views, and how the best one is scored so."""
    best = command(f"run=best:{shown(Path(config.hydra.sweep.dir))}", "task=evaluate", f"task.tta={views}")
    say(f"{VIEWS}={views} has no part in trials, whose objective is of an epoch; for the best one:  {best}")


def check_point(
    composer: Composer, settings: Settings, search: Search, number: int
) -> tuple[Config, Sequence[Param | str]]:
    """Compose the trial that has the `number`-th value of each param; gives its config, and what the conditions add.

    Raises UserError that says which trial it is.
    """
    drawn = [(param, pick(param.space, number)) for param in search.params]
    overrides = [param.override(value) for param, value in drawn]
    try:
        values = {param.key: plain_value(param.space, value) for param, value in drawn}
        added = conditional(settings.conditions, values, search)
        overrides += [one.override(pick(one.space, number)) if isinstance(one, Param) else one for one in added]
        config = config_of(composer.job([*search.fixed, *overrides])[0])
    except (UserError, HydraException, OmegaConfBaseException) as error:
        raise UserError(f"a trial with {' '.join(overrides)} cannot run: {explain(error)}") from None
    return config, added


def examples(space: Space) -> Sequence[Value]:
    """All values of a choice, the ends of an interval."""
    if isinstance(space, Around):
        return (STAND_IN,)
    return space.values if isinstance(space, Choice) else (space.low, space.high)


def pick(space: Space, number: int) -> Value:
    """One of these, by turns."""
    values = examples(space)
    return values[number % len(values)]


def searches(base: Config, settings: Settings, search: Search, added: Mapping[str, list[str]]) -> dict[str, Any]:
    """What a study searches, section by section: two commands that differ in it cannot share a study."""
    shared = {
        "repeats": settings.repeats,
        "conditions": settings.conditions,
        "grid": settings.sampler == "grid",
    }
    told = {key: value for key, value in vars(base).items() if key not in UNTOLD}
    config = dict(flat(told))
    space = {param.key: str(param.space) for param in search.params}
    return {"space": space, "conditions": dict(added), "sweep": shared, "config": config}


def flat(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested mappings, each with its dotted path."""
    leaves: list[tuple[str, Any]] = []
    for key, value in node.items():
        leaves += (
            flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else [(f"{prefix}{key}", value)]
        )
    return leaves
