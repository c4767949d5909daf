"""The wiring: the only place that turns configs into objects."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expkit import trust
from expkit.config import Config, Node
from expkit.errors import UserError
from expkit.randomness import seed_of
from expkit.sched import sgdr_epochs

if TYPE_CHECKING:
    from expkit.data.items import Data
    from expkit.trainer.loop import Trainer
    from expkit.transfer import Phase


@dataclass(frozen=True)
class Run:
    """The objects of one experiment, ready to train."""

    data: "Data"
    trainer: "Trainer"
    phases: "list[Phase]"
    peaks: list[float]
    """The learning rate of each layer group that schedules start from."""

    @property
    def epochs(self) -> int:
        """The epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def describe(self) -> str:
        """One line for the log: what trains on how much."""
        trainer = self.trainer
        return (
            f"{len(self.data.train)} training and {len(self.data.valid)} validation images of {len(self.data.classes)} "
            f"classes; {self.epochs} epochs of {trainer.train.batches} steps in {trainer.precision} on {trainer.device}"
        )


def build(node: Node, *wired: object) -> Any:
    """Call the function that a checked node names with what the wiring hands over and the node's keys."""
    function = trust.resolve(str(node["_target_"]), "_target_")
    return function(*wired, **{key: value for key, value in node.items() if key != "_target_"})


def assemble(config: Config) -> Run:
    """Build everything that a checked config describes, in the order in which data flows.

    Raises UserError for whatever the user can mend: files, weights, values that do not fit each other.
    """
    phases = build(config.transfer, epochs_of(config))
    data: Data = build(config.data)
    if len(data.classes) < 2:
        raise UserError(f"the data has one class, {data.classes[0]!r}, so there is nothing to tell apart; give two")

    import torch

    from expkit.loading import make_loader

    transforms = build(config.augment, config.image_size)
    torch.manual_seed(seed_of(config.seed, "weights"))
    model = build(config.model, len(data.classes))
    optimizer = build(config.optim, model)
    train, valid = (
        make_loader(
            images,
            transforms,
            batch_size=config.batch_size,
            seed=config.seed,
            train=images is data.train,
            num_workers=config.num_workers,
            pin_memory=torch.cuda.is_available(),
        )
        for images in (data.train, data.valid)
    )
    trainer = build(config.trainer, model, optimizer, train, valid, len(data.classes), config.seed, config.image_size)
    check_pieces(trainer, min(config.batch_size, len(data.train)))
    return Run(data, trainer, phases, optimizer.get("lr"))


def epochs_of(config: Config) -> int:
    """The epochs of a config; those that its cycles take where it says `auto`, for which others raise UserError."""
    if config.epochs != "auto":
        return config.epochs
    if config.sched.get("n_cycles") is None:
        raise UserError("epochs=auto follows from sched=sgdr sched.n_cycles=N; give both, or a number of epochs")
    return sgdr_epochs(config.sched["cycle_len"], config.sched["cycle_mult"], config.sched["n_cycles"])


def check_pieces(trainer: "Trainer", images: int) -> None:
    """Refuse batches of `images` images whose pieces are single images, where batch norm has no variance to divide by.

    Raises UserError that says how to have larger ones.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    smallest = len(torch.arange(images).chunk(trainer.accumulate)[-1])
    if smallest == 1 and any(isinstance(module, _BatchNorm) for module in trainer.model.modules()):
        raise UserError(
            f"a batch of {images} cut into {trainer.accumulate} leaves a single image, on which batch norm cannot "
            "train: give a larger batch_size (or more training images), or another trainer.accumulate"
        )
