"""The phases of a run, planned from its config before anything is built."""

from collections.abc import Mapping

from expkit import transfer, trust
from expkit.build import Node, build, check_kind
from expkit.check import check_arguments, check_given, defaults
from expkit.config.schema import Config, check_node
from expkit.errors import UserError
from expkit.sched import sgdr, sgdr_epochs
from expkit.transfer import Recipe


def plan(config: Config) -> Recipe:
    """The phases of a checked config. Nothing is built and no data touched.

    Raises UserError for phases that do not fit the epochs, or override what the schedule or augmentation has not.
    """
    recipe: Recipe = build(config.transfer, epochs_of(config), group="transfer")
    check_kind(recipe, Recipe, "an expkit.transfer.Recipe", config.transfer, "transfer")
    for phase in recipe.phases:
        for group in ("sched", "augment"):
            override = getattr(phase, group)
            if isinstance(override, Mapping):
                key = f"transfer.phases.{phase.name}.{group}"
                check_node(group, overridden(getattr(config, group), override), key)
                check_named(group, override, key)
    return recipe


def overridden(node: Node, override: Node | None) -> Node:
    """A node with some of its keys replaced, or a whole other one where the override names its own target.

    `one_cycle: {...}` in an override holds keys that are for that function alone; those given plainly win.
    """
    if override is None or "_target_" in override:
        return override or node
    own = str(node["_target_"]).rpartition(".")[2]
    names = {own, *trust.functions_of("expkit.sched"), *trust.functions_of("expkit.augment")}
    named = {name: keys for name, keys in override.items() if name in names and isinstance(keys, Mapping)}
    return {**node, **named.get(own, {}), **{name: one for name, one in override.items() if name not in named}}


def check_named(group: str, override: Node, key: str) -> None:
    """Refuse keys that are for one function of a group alone, where that function does not take them."""
    for name, function in trust.functions_of(f"expkit.{group}").items():
        if "_target_" not in override and isinstance(override.get(name), Mapping):
            check_given(function, override[name], f"{key}.{name}")


def epochs_of(config: Config) -> int:
    """The epochs of a config; where it says `auto`, those that its phases take.

    Raises UserError where a phase takes the rest, but no number of cycles says how long that is.
    """
    if config.epochs != "auto":
        return config.epochs
    return sum(phase_epochs(config, name, node) for name, node in config.transfer.get("phases", {}).items())


def phase_epochs(config: Config, name: str, node: Node) -> int:
    """The epochs that a phase takes by itself. Raises UserError for keys or values that a phase or schedule has not."""
    key = f"transfer.phases.{name}"
    phase = check_arguments(transfer.phase, node, key)
    length: int | float | str = phase["epochs"]
    if isinstance(length, int):
        return length
    if isinstance(length, float):
        raise UserError(
            f"{key}.epochs={length:g} is a share of the run's epochs, which epochs=auto leaves open; give a number for "
            "one of them"
        )
    sched = defaults(sgdr) | check_node("sched", overridden(config.sched, phase["sched"]), f"{key}.sched")
    if sched["n_cycles"] is None:
        raise UserError(
            "epochs=auto follows from sched=sgdr sched.n_cycles=N, or from a number of epochs for each phase, "
            f"but {key} has neither; give one of them, or a number of epochs"
        )
    return sgdr_epochs(sched["cycle_len"], sched["cycle_mult"], sched["n_cycles"])
