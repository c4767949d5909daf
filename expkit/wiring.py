"""The wiring: the only place that turns configs into objects."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from expkit.build import Node, function_of, keys_of
from expkit.config.plan import overridden, plan
from expkit.config.schema import HANDED, Config, filled, takes
from expkit.errors import DataError, UserError, at_fault
from expkit.left_open import seeded, settled, weighed, with_rate
from expkit.own_functions import check_has_body, made
from expkit.sched import Schedules, WrongEpochs
from expkit.trainer import default
from expkit.transfer import Phase, Recipe
from expkit.words import many

if TYPE_CHECKING:
    import torch

    from expkit.augment import Transforms
    from expkit.data.items import Data
    from expkit.features import BodyInfo, FeatureCache, Frozen
    from expkit.feed.phases import Feed
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
    body: "BodyInfo | None"
    """Stands for the model's body where all phases read precomputed features: it is never run."""

    @property
    def epochs(self) -> int:
        """The epochs of all phases."""
        return sum(phase.epochs for phase in self.recipe.phases)

    @property
    def precision(self) -> str:
        """The precision of the run: bf16 where the body or a head on its features computes in it, else fp32."""
        return "bf16" if "bf16" in (self.body and self.body.precision, self.trainer.precision) else "fp32"

    def features(self, phase: Phase) -> dict[str, str] | None:
        """Where a phase reads precomputed features: the precision of the body that gave them, and of their head."""
        if not phase.precompute:
            return None
        half = self.trainer.autocast is not None and self.trainer.autocast_features
        body = self.body.precision if self.body else self.trainer.precision
        return {"body": body, "head": "bf16" if half else "fp32"}

    def describe(self) -> str:
        """How long the run trains in which phases, how it computes and where, in a line."""
        phases = ", then ".join(f"{phase.name} {phase.epochs}" for phase in self.recipe.phases)
        parts = f" ({phases})" if len(self.recipe.phases) > 1 else ""
        return (
            f"{many(self.epochs, 'epoch', 'epochs')}{parts} of {many(self.feed.epoch_steps, 'step', 'steps')} "
            f"in {self.precision} on {self.trainer.device}"
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
                where = (
                    f"transfer.phases.{phase.name}, which has {phase.epochs} of the run's "
                    f"{many(self.epochs, 'epoch', 'epochs')}: "
                )
                raise UserError(where + self.for_phase(phase, error)) from None

    def for_phase(self, phase: Phase, error: UserError) -> str:
        """What is wrong with the schedule of one of several phases, and what to give for the whole run."""
        if not isinstance(error, WrongEpochs):
            return str(error)
        lengths = {name: one.get("epochs", "rest") for name, one in self.config.transfer["phases"].items()}
        shares = {one.name: one.epochs for one in self.recipe.phases if isinstance(lengths[one.name], float)}
        fit = []
        for n in error.fit:
            # Shares become the numbers that they are, since another one need not suit the schedule.
            own = shares if lengths[phase.name] == "rest" else shares | {phase.name: n}
            given = [f"transfer.phases.{name}.epochs={length}" for name, length in own.items()]
            fit.append(" ".join([*given, f"epochs={self.epochs - phase.epochs + n}"]))
        return f"{error.wrong}; give {' or '.join(fit)}{error.otherwise}"


class Kept:
    """What the runs of one process share: data sets, opened features, and the model that each begins with."""

    def __init__(self) -> None:
        self.built: dict[str, Data] = {}
        self.begun: tuple[str, Any] | None = None
        """What the last model was built from, and the model, untrained."""

    @cached_property
    def features(self) -> "FeatureCache":
        """The cache of features."""
        from expkit.features import FeatureCache

        return FeatureCache()

    def data(self, node: Node) -> "Data":
        """The data that a node describes, read and checked by the first run that asks."""
        key = as_text(node)
        if key not in self.built:
            self.built[key] = read(node)
        return self.built[key]

    def model(self, config: Config, *wired: object) -> Any:
        """The model that a run begins with: a copy of the one before, where that began alike.

        To draw or read its weights takes longer than the training of a small trial.
        """
        from expkit.features.identity import weights_identity

        key = as_text(config.model, config.seed, weights_identity(config.model.get("weights"), config.seed), *wired)
        if self.begun is None or self.begun[0] != key:
            self.begun = key, seeded(config, *wired)
        return copy.deepcopy(self.begun[1])


HEAD_ALONE = (*HANDED["model"], "features", "body_groups")
"""What the wiring hands to a function of a model that is to give its head alone."""


def as_text(*parts: object) -> str:
    """Plain values as text."""
    return json.dumps(parts, sort_keys=True, default=repr)


def read(node: Node, *, to_train: bool = True) -> "Data":
    """The data that a checked node describes; how it was read is logged, and told on the screen once a process.

    Raises DataError for data that nothing can be trained on and validated, unless it is not `to_train`.
    """
    from expkit.data.telling import tell

    data: Data = made(node, group="data")
    if to_train and data.unfit:
        raise DataError(data.unfit)
    tell(data)
    return data


def schedules_of(config: Config, phase: Phase, peaks: Sequence[float]) -> Schedules:
    """The schedules of a phase whose layer groups have these peak learning rates."""
    schedules: Schedules = made(overridden(config.sched, phase.sched), peaks, phase.epochs, group="sched")
    return schedules


def transforms_of(config: Config, phase: Phase) -> "Transforms":
    """What happens to the images of a phase.

    Raises UserError for random transforms where features are to be precomputed, and views that would be alike.
    """
    override = phase.augment or None
    transforms: Transforms = made(overridden(config.augment, override), config.image_size, group="augment")
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


def assemble(config: Config, kept: Kept | None = None, began: str | None = None) -> Run:
    """Build everything that a checked config describes, in the order in which data flows.

    `kept` hands on what runs of one process share. `began` is the precision of a run that goes on.
    Raises UserError for whatever the user can mend: files, weights, values that do not fit each other.
    """
    recipe = plan(config)

    from expkit.features.loader import opener
    from expkit.feed.phases import Feed

    make_model = kept.model if kept else seeded  # of one that is kept, a run has a copy
    kept = kept or Kept()
    with at_fault(DataError):
        data: Data = kept.data(config.data)
    classes = len(data.classes)
    if classes < 2:
        raise UserError(f"the data has one class, {data.classes[0]!r}, so there is nothing to tell apart; give two")
    transforms = {phase.name: transforms_of(config, phase) for phase in recipe.phases}
    views = made(config.augment, config.image_size, group="augment")
    check_validation(recipe, transforms, views)
    if recipe.tta and not views.random:
        raise UserError(
            f"transfer.tta={recipe.tta} averages over augmented views, but the augmentation is not random: choose one, "
            "such as augment=side_on, or set transfer.tta=0"
        )
    config = settled(config, classes, trains=not recipe.all_frozen, began=began)
    frozen = frozen_body(config, classes) if recipe.precomputes else None
    # A model of the user's that cannot give its head alone is built whole; its head then reads what its body gave.
    alone = recipe.all_frozen and takes(function_of(config.model, "model"), HEAD_ALONE, keys_of(config.model))
    body = kept.features.body(frozen) if frozen and alone else None
    model = make_model(config, classes, body.width, body.groups) if body else make_model(config, classes)
    if frozen and body is None:
        check_has_body(model, config.model)
    optimizer = made(with_rate(config.optim), model, group="optim")
    # A head on float32 features computes in float32, as it would behind the body that gave them.
    node = weighed(config.trainer, data)
    node = {**node, "precision": "fp32"} if body and body.precision == "fp32" else node
    size = None if body else config.image_size
    trainer: Trainer = made(node, model, optimizer, classes, config.seed, size, group="trainer")
    if frozen and body is None:
        frozen = replace(frozen, build=lambda: (model, trainer.device, trainer.autocast))
    features = opener(kept.features, frozen, config.num_workers) if frozen else None
    feed = Feed(config, data, transforms, views, recipe.tta, features)
    run = Run(config, data, recipe, trainer, feed, optimizer.get("lr"), body)
    run.check()
    check_pieces(trainer, min(config.batch_size, len(data.train)))
    return run


def frozen_body(config: Config, classes: int) -> "Frozen":
    """The model's body as something to precompute features with, built only where one is missing."""
    import torch

    from expkit.features import Frozen, identity_of
    from expkit.model.layout import to_channels_last
    from expkit.trainer.precision import computes_in_bf16, is_native, pick_device

    trainer = filled(config.trainer, like=default)
    device, precision = pick_device(trainer["device"]), trainer["precision"]

    def build_body() -> "tuple[Classifier, torch.device, torch.dtype | None]":
        model = seeded(config, classes).to(device)
        check_has_body(model, config.model)
        to_channels_last(model)
        half = computes_in_bf16(precision, model, device, config.image_size)
        return model, device, torch.bfloat16 if half else None

    native = is_native(device)
    identity = identity_of(
        config.model, seed=config.seed, image_size=config.image_size, precision=precision, device=device, native=native
    )
    return Frozen(identity, build_body)


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
