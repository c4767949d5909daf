"""The wiring: the only place that turns configs into objects."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from expkit import transfer, trust
from expkit.check import check_arguments, check_given
from expkit.config.schema import GROUPS, HANDED, Config, Node, check_node, takes
from expkit.errors import DataError, UserError, at_fault
from expkit.randomness import seed_of
from expkit.sched import Schedules, WrongEpochs, sgdr_epochs
from expkit.transfer import Phase, Recipe

if TYPE_CHECKING:
    import torch

    from expkit.augment import Transforms
    from expkit.data.items import Data
    from expkit.features import Frozen
    from expkit.feed.phases import Feed, Kept
    from expkit.model.classifier import Classifier
    from expkit.trainer.loop import Trainer


@dataclass(frozen=True)
class Run:
    """The objects of one experiment, ready to train."""

    config: Config
    data: "Data"
    recipe: Recipe
    trainer: "Trainer"
    feed: "Feed"
    base: list[float]
    """optim.lr of each layer group; 1 where the LR finder will tell."""

    @property
    def epochs(self) -> int:
        """The epochs of all phases."""
        return sum(phase.epochs for phase in self.recipe.phases)

    @property
    def precision(self) -> str:
        """The precision of the run: bf16 where the body or a head on its features computes in it, else fp32."""
        return "bf16" if "bf16" in (self.feed.precision, self.trainer.precision) else "fp32"

    @property
    def features(self) -> dict[str, str] | None:
        """Where all phases read precomputed features: the precision of the body that gave them, and of their head."""
        if self.feed.precision is None:
            return None
        half = self.trainer.autocast is not None and self.trainer.autocast_features
        return {"body": self.feed.precision, "head": "bf16" if half else "fp32"}

    def describe(self) -> str:
        """One line for the log: what trains on how much."""
        trainer, names = self.trainer, ", then ".join(phase.name for phase in self.recipe.phases)
        return (
            f"{self.data.summary}; {self.epochs} epochs ({names}) of {self.feed.epoch_steps} steps "
            f"in {self.precision} on {trainer.device}"
        )

    def peaks(self, phase: Phase, find: Callable[[Sequence[float]], float]) -> list[float]:
        """The peak learning rate of each layer group in a phase that begins, or goes on.

        `find` asks the LR finder, given the rates of the groups relative to each other. What it gave is kept in the
        trainer's state, so that a resumed run does not ask again.
        """
        found, groups, base = self.trainer.state.found, self.trainer.optimizer.groups, self.base
        if self.config.optim.get("lr") == "auto":
            if "optim.lr" not in found:
                found["optim.lr"] = find(base)
            base = [found["optim.lr"]] * len(groups)
        if phase.searches and phase.name not in found:
            found[phase.name] = find(phase.rates(base, groups, found=1.0))
        return phase.rates(base, groups, found.get(phase.name))

    def check(self) -> None:
        """Raise UserError, naming the phase, where rates or schedules do not fit the layer groups or the epochs."""
        groups = self.trainer.optimizer.groups
        for phase in self.recipe.phases:
            phase.first(groups)
            try:
                peaks = phase.rates(self.base, groups, found=1.0)
                self.trainer.hypers.check(schedules_of(self.config, phase, peaks))
            except UserError as error:
                if len(self.recipe.phases) == 1:
                    raise
                where = f"transfer.phases.{phase.name}, which has {phase.epochs} of the run's {self.epochs} epochs: "
                raise UserError(where + self.for_phase(phase, error)) from None

    def for_phase(self, phase: Phase, error: UserError) -> str:
        """What is wrong with the schedule of one of several phases, and what to give for the whole run."""
        if not isinstance(error, WrongEpochs):
            return str(error)
        key = f"transfer.phases.{phase.name}.epochs"
        is_rest = self.config.transfer["phases"][phase.name].get("epochs", "rest") == "rest"
        others = self.epochs - phase.epochs
        fit = [f"epochs={others + n}" if is_rest else f"{key}={n} epochs={others + n}" for n in error.fit]
        return f"{error.wrong}; give {' or '.join(fit)}{error.otherwise}"


PROMISED: dict[str, tuple[str, str]] = {
    "data": ("expkit.data.items.Data", "an expkit.data.Data"),
    "augment": ("expkit.augment.Transforms", "expkit.augment.Transforms"),
    "model": ("torch.nn.Module", "a torch.nn.Module with layer_groups"),
    "optim": ("expkit.optim.optimizer.Optimizer", "an expkit Optimizer"),
    "sched": ("builtins.dict", "a dict of schedules"),
    "transfer": ("expkit.transfer.Recipe", "an expkit.transfer.Recipe"),
    "trainer": ("expkit.trainer.loop.Trainer", "an expkit Trainer"),
}
"""What the functions of a group give: its class, and in words."""


HEAD_ALONE = (*HANDED["model"], "features", "body_groups")
"""What the wiring hands to a function of a model that is to give its head alone."""


def keys_of(node: Node) -> dict[str, Any]:
    """The keyword arguments in a node."""
    return {key: value for key, value in node.items() if key != "_target_"}


def function_of(node: Node, group: str | None = None) -> Callable[..., Any]:
    """The function that a node names; of `group`, if given."""
    return trust.resolve(str(node["_target_"]), "_target_", [f"expkit.{one}" for one in ([group] if group else GROUPS)])


def build(node: Node, *wired: object, group: str | None = None) -> Any:
    """Call the function that a checked node names with what the wiring hands over and the node's keys.

    Raises UserError where a function of the user's gives something else than those of its `group`.
    """
    target = str(node["_target_"])
    made = function_of(node, group)(*wired, **keys_of(node))
    if group in PROMISED and trust.is_users(target):
        module, _, name = PROMISED[group][0].rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        if not isinstance(made, kind) or (group == "model" and not hasattr(made, "layer_groups")):
            raise UserError(f"{group}._target_: {target} must give {PROMISED[group][1]}, got a {type(made).__name__}")
        if group == "model":
            check_layer_groups(made, target)
    return made


def check_layer_groups(model: Any, target: str) -> None:
    """Refuse a user's model with parameters that no layer group trains, or that two do."""
    from expkit.model.classifier import check_groups

    try:
        check_groups(model)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"model._target_: the layer_groups of {target} must be expkit.model.classifier.LayerGroup(name, modules), "
            f"and hold each parameter once: {error}"
        ) from error


def check_has_body(model: Any, config: Config) -> None:
    """Refuse to precompute with a user's model whose head cannot be told from its body."""
    from expkit.model.classifier import Classifier

    if not isinstance(model, Classifier):
        raise UserError(
            f"model._target_: {config.model['_target_']} gives a {type(model).__name__}, but features can be "
            "precomputed only with an expkit.model.classifier.Classifier(body, pool, head, ...), which has its head by "
            "itself: give one, or train on images, such as with transfer=fine_tune"
        )


def read(node: Node) -> "Data":
    """The data that a checked node describes; how it was read is logged, and told on the screen once a process."""
    from expkit.data.telling import tell

    data: Data = build(node, group="data")
    tell(data)
    return data


def plan(config: Config) -> Recipe:
    """The phases of a checked config. Nothing is built and no data touched.

    Raises UserError for phases that do not fit the epochs, or override what the schedule or augmentation has not.
    """
    recipe: Recipe = build(config.transfer, epochs_of(config), group="transfer")
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


def schedules_of(config: Config, phase: Phase, peaks: Sequence[float]) -> Schedules:
    """The schedules of a phase whose layer groups have these peak learning rates."""
    schedules: Schedules = build(overridden(config.sched, phase.sched), peaks, phase.epochs, group="sched")
    return schedules


def transforms_of(config: Config, phase: Phase) -> "Transforms":
    """What happens to the images of a phase.

    Raises UserError for random transforms where features are to be precomputed, and views that would be alike.
    """
    override = phase.augment or None
    transforms: Transforms = build(overridden(config.augment, override), config.image_size, group="augment")
    if phase.augment is False:
        transforms = transforms.fixed()
    key = f"transfer.phases.{phase.name}"
    if phase.precompute and transforms.random and phase.views is None:
        raise UserError(
            f"{key}.precompute sees each image once, but its augmentation is random: set {key}.augment=false, or "
            f"{key}.views=K to precompute K augmented views of each image"
        )
    if phase.views is not None and not transforms.random:
        raise UserError(
            f"{key}.views={phase.views} views of an image would be alike, since its augmentation is not random: choose "
            f"one, such as augment=side_on with {key}.augment=null, or leave views out"
        )
    return transforms


def check_validation(recipe: Recipe, transforms: "Mapping[str, Transforms]", own: "Transforms") -> None:
    """Refuse phases that would validate on other images than the run's `own` transforms give, as the exported model.

    Raises UserError that names the phase.
    """
    changing = [phase.name for phase in recipe.phases if phase.augment]
    if not changing:
        return

    from expkit.features.identity import transform_identity

    wanted = transform_identity(own.valid)
    for name in changing:
        if (found := transform_identity(transforms[name].valid)) != wanted:
            raise UserError(
                f"transfer.phases.{name}.augment would change what validation images look like ({differing(found)}, "
                f"where the run has {differing(wanted)}), but a run has one validation transform, that of augment, "
                "which the exported model keeps: set keys such as resize for the whole run (augment.resize=...), and "
                "leave them out of phases, or give a phase's own augmentation the run's resize"
            )


def differing(identity: Mapping[str, Any]) -> str:
    """A transform in words: its function, and the arguments that are bound to it."""
    function = identity["function"]
    if not isinstance(function, Mapping):
        return str(function)
    keywords = ", ".join(f"{key}={value}" for key, value in function["keywords"].items())
    return keywords or str(function["function"])


def assemble(config: Config, kept: "Kept | None" = None) -> Run:
    """Build everything that a checked config describes, in the order in which data flows.

    `kept` hands on what runs of one process share.
    Raises UserError for whatever the user can mend: files, weights, values that do not fit each other.
    """
    recipe = plan(config)

    from expkit.feed.phases import Feed, Kept

    make_model = kept.model if kept else seeded  # of one that is kept, a run has a copy
    kept = kept or Kept()
    with at_fault(DataError):
        data: Data = kept.data(config.data)
    classes = len(data.classes)
    if classes < 2:
        raise UserError(f"the data has one class, {data.classes[0]!r}, so there is nothing to tell apart; give two")
    transforms = {phase.name: transforms_of(config, phase) for phase in recipe.phases}
    views = build(config.augment, config.image_size, group="augment")
    check_validation(recipe, transforms, views)
    if recipe.tta and not views.random:
        raise UserError(
            f"transfer.tta={recipe.tta} averages over augmented views, but the augmentation is not random: choose one, "
            "such as augment=side_on, or set transfer.tta=0"
        )
    frozen = frozen_body(config, classes) if recipe.precomputes else None
    # A model of the user's that cannot give its head alone is built whole; its head then reads what its body gave.
    alone = recipe.all_frozen and takes(function_of(config.model), HEAD_ALONE, keys_of(config.model))
    body = kept.features.body(frozen) if frozen and alone else None
    model = make_model(config, classes, body.width, body.groups) if body else make_model(config, classes)
    if frozen and body is None:
        check_has_body(model, config)
    optimizer = build(with_rate(config.optim), model, group="optim")
    # A head on float32 features computes in float32, as it would behind the body that gave them.
    node = {**config.trainer, "precision": "fp32"} if body and body.precision == "fp32" else config.trainer
    size = None if body else config.image_size
    trainer: Trainer = build(node, model, optimizer, classes, config.seed, size, group="trainer")
    if frozen and body is None:
        frozen = replace(frozen, build=lambda: (model, trainer.device, trainer.autocast))
    feed = Feed(config, data, kept, frozen, transforms, views, recipe.tta, body)
    run = Run(config, data, recipe, trainer, feed, optimizer.get("lr"))
    run.check()
    check_pieces(trainer, min(config.batch_size, len(data.train)))
    return run


def with_rate(optim: Node) -> Node:
    """The node of an optimizer with 1 in place of a learning rate that the LR finder will tell."""
    return {**optim, "lr": 1.0} if optim.get("lr") == "auto" else optim


def without_weights(model: Node) -> Node:
    """The node of a model with random weights; one of a user's own need not know the key."""
    return {**model, "weights": None} if "weights" in model else model


def seeded(config: Config, *wired: object) -> Any:
    """The model, with the random weights that the seed gives."""
    import torch

    torch.manual_seed(seed_of(config.seed, "weights"))
    return build(config.model, *wired, group="model")


def frozen_body(config: Config, classes: int) -> "Frozen":
    """The model's body as something to precompute features with, built only where one is missing."""
    import torch

    from expkit.features import Frozen, identity_of
    from expkit.model.layout import to_channels_last
    from expkit.trainer.precision import computes_in_bf16, is_native, pick_device

    device = pick_device(config.trainer.get("device", "auto"))
    precision = config.trainer.get("precision", "auto")

    def build_body() -> "tuple[Classifier, torch.device, torch.dtype | None]":
        model = seeded(config, classes).to(device)
        check_has_body(model, config)
        to_channels_last(model)
        half = computes_in_bf16(precision, model, device, config.image_size)
        return model, device, torch.bfloat16 if half else None

    native = is_native(device)
    identity = identity_of(
        config.model, seed=config.seed, image_size=config.image_size, precision=precision, device=device, native=native
    )
    return Frozen(identity, build_body)


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
    check_arguments(transfer.phase, node, key)
    length: int | str = node.get("epochs", "rest")
    if isinstance(length, int):
        return length
    sched = overridden(config.sched, node.get("sched"))
    check_node("sched", sched, f"{key}.sched")
    if sched.get("n_cycles") is None:
        raise UserError(
            "epochs=auto follows from sched=sgdr sched.n_cycles=N, or from a number of epochs for each phase, "
            f"but {key} has neither; give one of them, or a number of epochs"
        )
    return sgdr_epochs(sched.get("cycle_len", 1), sched.get("cycle_mult", 2), sched["n_cycles"])


def check_pieces(trainer: "Trainer", images: int) -> None:
    """Refuse batches of `images` images whose pieces are single images, where batch norm has no variance to divide by.

    Raises UserError that says how to have larger ones.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    smallest = len(torch.arange(images).chunk(trainer.accumulate)[-1])
    if smallest == 1 and any(isinstance(module, _BatchNorm) for module in trainer.model.modules()):
        cut = f"a batch of {images} cut into {trainer.accumulate} leaves" if trainer.accumulate > 1 else "a batch is"
        other = ", or another trainer.accumulate" if trainer.accumulate > 1 else ""
        raise UserError(
            f"{cut} a single image, on which batch norm cannot train: give a larger batch_size (or more training "
            f"images){other}"
        )
