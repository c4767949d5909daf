"""Keys that were given another value than their default, and that other values leave without effect."""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from expkit import trust
from expkit.check import defaults, keywords
from expkit.config.lr_find import LrFind
from expkit.config.plan import overridden
from expkit.config.schema import Config, Node, filled
from expkit.transfer import Recipe
from expkit.words import many

if TYPE_CHECKING:
    from expkit.data.items import Data

CUT = "valid is cut from train"
"""How the data say, among their notes, that they were cut."""

log = logging.getLogger("expkit")

Values = Mapping[str, Any]


class Rule(NamedTuple):
    """Keys of a group that have no effect where the values of the group are such."""

    group: str
    keys: tuple[str, ...]
    holds: Callable[[Values], bool]
    reason: str


RULES = (
    Rule("model", ("hidden",), lambda v: v["head"] == "linear", "model.head=linear has no hidden layer"),
    Rule("model", ("weights_part",), lambda v: v["weights"] is None, "there are no model.weights to take a part of"),
    Rule("augment", ("rotate", "zoom", "shift"), lambda v: v["p_affine"] == 0, "augment.p_affine is 0"),
    Rule(
        "augment",
        ("p_affine",),
        lambda v: (v["rotate"], v["zoom"], v["shift"]) == (0, 1, 0),
        "augment.rotate, zoom and shift change nothing",
    ),
    Rule("augment", ("lighting",), lambda v: v["p_lighting"] == 0, "augment.p_lighting is 0"),
    Rule("augment", ("p_lighting",), lambda v: v["lighting"] == 0, "augment.lighting is 0"),
    Rule(
        "augment",
        ("policy_ops", "policy_strength"),
        lambda v: v["policy"] != "rand",
        "they are of augment.policy=rand",
    ),
    Rule("sched", ("warmup_div",), lambda v: v["warmup"] == 0, "sched.warmup is 0; give the fraction of a warm-up"),
    Rule("sched", ("cycle_mult",), lambda v: v["n_cycles"] == 1, "sched.n_cycles is 1"),
    Rule("optim", ("dampening",), lambda v: v["mom"] == 0, "optim.mom is 0"),
    Rule("data", ("seed",), lambda v: v["valid_pct"] is None, "data.valid_pct is null, so that nothing is cut"),
)


def warn_of_idle(config: Config, recipe: Recipe, data: "Data", dropouts: int) -> None:
    """Log, once a process, each key without effect; `dropouts` counts the model's layers of dropout."""
    for sentence in (*idle(config, recipe), *by_data(config.data, data), *by_model(config, recipe, dropouts)):
        warn(sentence)


@cache
def warn(sentence: str) -> None:
    """Log a sentence once, however many runs a process has."""
    log.warning(sentence)


def idle(config: Config, recipe: Recipe) -> list[str]:
    """A sentence for each key that was given and has no effect, saying why."""
    found = [f"{key} has no effect: {reason}" for key, reason in (*by_rules(config), *by_phases(config, recipe))]
    if config.optim.get("name") == "Rprop" and any(moves_lr(overridden(config.sched, p.sched)) for p in recipe.phases):
        found.append(
            "Rprop finds step sizes of its own: optim.lr is that of the first step, and the schedule of lr changes "
            "nothing but weight decay; choose sched=constant, or another optim.name"
        )
    return [*found, *by_schedules(config, recipe), *by_weights(config, recipe)]


def by_weights(config: Config, recipe: Recipe) -> Iterator[str]:
    """A sentence for a recipe that does not suit the weights: layers frozen while random, or pretrained and not spared.

    Features of a random body tell little of an image, and rates for a random one undo what pretrained layers know.
    """
    if "weights" not in (model := filled(config.model)):
        return
    first = recipe.phases[0]
    if model["weights"] is not None:
        if first.trains is None and first.lr is None and not isinstance(config.optim.get("lr"), Mapping | list):
            yield (
                f"model.weights are given, but the phase {first.name} trains every layer at the rate of the new head "
                "from the first step on: keep what they know with transfer=fine_tune"
            )
    elif all(phase.trains is not None for phase in recipe.phases):
        last = max(phase.trains for phase in recipe.phases if phase.trains is not None)
        what = "only the head trains" if last == 1 else f"only the last {last} layer groups train"
        yield (
            f"model.weights is null, so the layers that stay frozen are random, and {what}: give model.weights, or "
            "train all of it with transfer=scratch"
        )
    elif frozen := [phase for phase in recipe.phases if phase.trains is not None]:
        epochs = sum(phase.epochs for phase in frozen)
        yield (
            f"model.weights is null, so that {many(epochs, 'epoch trains', 'epochs train')} on layers that are random "
            "and frozen: give model.weights, or train all of it with transfer=scratch"
        )


def by_schedules(config: Config, recipe: Recipe) -> Iterator[str]:
    """A sentence for momentum that somebody scheduled for an optimizer that has none."""
    if "mom" in hypers_of(config.optim):
        return
    name = config.optim.get("name", str(config.optim["_target_"]).rpartition(".")[2])
    own = [(f"transfer.phases.{phase.name}.sched", phase.sched or {}) for phase in recipe.phases]
    for where, keys in (("sched", config.sched), *own):
        node = keys if "_target_" in keys else overridden(config.sched, keys)
        scheduled = ["moms"] if "moms" in keys and "moms" in given(node) else []
        scheduled += ["hypers.mom"] if "mom" in (keys.get("hypers") or {}) else []
        yield from (f"{where}.{key} has no effect: {name} has no momentum" for key in scheduled)


def hypers_of(optim: Node) -> set[str]:
    """What an optimizer may have of its own beside lr and wd; of a user's, anything."""
    if trust.is_users(str(optim["_target_"])):
        return {"mom"}
    if str(optim["_target_"]) == "expkit.optim.torch":
        from expkit.optim.by_name import find_optimizer, own_places

        return {*own_places(find_optimizer(str(optim["name"])))}
    return {*keywords(trust.resolve(str(optim["_target_"]), "optim._target_"))}


def by_model(config: Config, recipe: Recipe, dropouts: int) -> Iterator[str]:
    """A sentence for each schedule of dropout, where the model has so many layers of it."""
    nodes = {f"transfer.phases.{phase.name}.sched": overridden(config.sched, phase.sched) for phase in recipe.phases}
    told = {"sched" if node == config.sched else where for where, node in nodes.items() if "dropout" in moved_by(node)}
    if dropouts == 0:
        yield from (f"{where}.hypers.dropout has no effect: the model has no dropout layer" for where in sorted(told))


def by_rules(config: Config) -> Iterator[tuple[str, str]]:
    """Keys without effect beside others of their group."""
    for group, keys, holds, reason in RULES:
        node = getattr(config, group)
        values = filled(node)
        try:
            applies = holds(values)
        except KeyError:  # of another function of the group
            continue
        yield from ((f"{group}.{key}", reason) for key in keys if applies and key in given(node))
    searches = config.optim.get("lr") == "auto" or str(config.task["_target_"]).endswith(".lr_find")
    phases = config.transfer.get("phases", {})
    if not searches and not any("auto" in str(phase.get("lr")) for phase in phases.values()):
        base = defaults(LrFind)
        for key, value in config.lr_find.items():
            if value != base.get(key):
                yield f"lr_find.{key}", "no learning rate is searched; give optim.lr=auto, or task=lr_find"


def by_data(node: Node, data: "Data") -> Iterator[str]:
    """A sentence for each key that says how to cut validation images, where the data have some of their own."""
    for key in given(node):
        if key in ("valid_pct", "seed") and not is_cut(data) and node.get("valid_pct") is not None:
            yield f"data.{key} has no effect: the data have validation images of their own, so that nothing is cut"


def is_cut(data: "Data") -> bool:
    """Whether the validation images of data were cut from those for training."""
    return any(note.startswith(CUT) for note in data.notes)


def by_phases(config: Config, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Keys that every phase gives a value of its own, or that its schedule moves."""
    for group in ("sched", "augment"):
        node = getattr(config, group)
        owned = [getattr(phase, group) for phase in recipe.phases]
        if group == "augment" and recipe.tta == 0 and all(one is False for one in owned):
            for key in given(node):
                if key != "resize":
                    yield f"augment.{key}", "no phase augments: each has augment=false"
        for key in given(node):
            used = [overridden(node, one) if isinstance(one, Mapping) else node for one in owned]
            if all(one.get(key) != node[key] or one["_target_"] != node["_target_"] for one in used):
                where = " and ".join(f"transfer.phases.{phase.name}.{group}" for phase in recipe.phases)
                yield f"{group}.{key}", f"{where} say otherwise; give it there"
    used = [overridden(config.sched, phase.sched) for phase in recipe.phases]
    is_one_cycle = all(one.get("cycle_len") == phase.epochs for one, phase in zip(used, recipe.phases, strict=True))
    if "cycle_mult" in given(config.sched) and is_one_cycle:
        yield "sched.cycle_mult", "one cycle of sched.cycle_len epochs is all that there is; give more epochs"
    moved = [moved_by(sched) for sched in used]
    for group, key in (*(("optim", key) for key in given(config.optim)), ("trainer", "label_smoothing")):
        if key != "lr" and key in given(getattr(config, group)) and all(key in names for names in moved):
            instead = "sched.moms" if key == "mom" and "moms" in config.sched else f"sched.hypers.{key}"
            yield f"{group}.{key}", f"the schedule moves {key} by itself; give {instead}"


def moved_by(sched: Node) -> set[str]:
    """The hyperparameters that a schedule of expkit moves besides lr."""
    name = str(sched["_target_"])
    return {"mom"} if name == "expkit.sched.one_cycle" else {*sched.get("hypers", {})} - {"lr"}


def moves_lr(sched: Node) -> bool:
    """Whether a schedule changes the learning rate."""
    return str(sched["_target_"]) != "expkit.sched.constant_lr" or filled(sched)["warmup"] != 0


def given(node: Node) -> list[str]:
    """The keys of a node that have another value than their default."""
    base = defaults(trust.resolve(str(node["_target_"]), "_target_"))
    return [key for key, value in node.items() if key in base and value != base[key]]
