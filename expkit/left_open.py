"""What a config leaves open, and the data, the seed or the machine tell: rates, weights of classes, the precision."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expkit.build import Node
from expkit.check import nearest
from expkit.config.schema import Config, filled
from expkit.errors import UserError
from expkit.own_functions import made
from expkit.randomness import seed_of
from expkit.trainer import default
from expkit.words import many

if TYPE_CHECKING:
    from expkit.data.items import Data

FROZEN_BATCH = 8
"""Images by which it is measured in which precision a body that stays frozen is faster."""


def weighed(trainer: Node, data: "Data") -> Node:
    """The node of a trainer with the weight of each class of the data in place of auto and of weights by name.

    Raises UserError for names that are no classes, and a list of another length.
    """
    given = trainer.get("class_weights")
    if given is None:
        return trainer
    classes = list(data.classes)
    if given == "auto":
        counts = Counter(data.train.labels.tolist())
        weights = [len(data.train) / len(classes) / max(1, counts[number]) for number in range(len(classes))]
    elif isinstance(given, dict):
        given = {str(name): weight for name, weight in given.items()}  # YAML takes the name 8 for a number
        if unknown := [name for name in given if name not in classes]:
            told = f"trainer.class_weights names {unknown[0]!r}, which is no class"
            raise UserError(f"{told}; {nearest(unknown[0], classes)}")
        weights = [given.get(name, 1.0) for name in classes]
    else:
        weights = given
        if len(weights) != len(classes):
            told = f"{many(len(weights), 'weight', 'weights')} for {many(len(classes), 'class', 'classes')}"
            order = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
            raise UserError(f"trainer.class_weights holds {told}; give one each, in this order: {order}")
    return {**trainer, "class_weights": weights}


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
    return made(config.model, *wired, group="model")


def settled(config: Config, classes: int, *, trains: bool, began: str | None = None) -> Config:
    """The config with trainer.precision=fp32 in place of auto where the CPU has bfloat16 and is no faster by it.

    A run that goes on keeps the precision that it `began` in. Else a few batches tell, as `expkit.trainer.faster`
    remembers: of training, or forward only where the body never `trains`. Nothing is measured on a processor without
    bfloat16, which computes in float32 anyway, or on a GPU.

    Raises UserError where the model does not take the image size.
    """
    from expkit.trainer.precision import is_native, pick_device

    trainer = filled(config.trainer, like=default)
    device = pick_device(trainer["device"])
    if trainer["precision"] != "auto" or device.type != "cpu" or not is_native(device):
        return config
    precision = began or faster_of(config, classes, trains)
    return replace(config, trainer={**config.trainer, "precision": "fp32"}) if precision == "fp32" else config


def faster_of(config: Config, classes: int, trains: bool) -> str:
    """The precision in which the CPU computes the model of a config faster, as measured now or before."""
    import torch

    from expkit.features.identity import body_keys, plain
    from expkit.trainer.faster import Rates, faster, rates_of
    from expkit.trainer.precision import pays_in_bf16, wrong_in_bf16

    trainer = filled(config.trainer, like=default)
    if trainer["threads"] is not None:
        torch.set_num_threads(trainer["threads"])
    # Frozen bodies see pieces of a size of their own.
    batch = -(-config.batch_size // trainer["accumulate"]) if trains else FROZEN_BATCH

    def measure() -> Rates:
        from expkit.model.layout import to_channels_last

        model = seeded(replace(config, model=without_weights(config.model)), classes)
        to_channels_last(model)
        if wrong_in_bf16(model, torch.device("cpu"), config.image_size) or not pays_in_bf16(model):
            return {}
        return rates_of(model, config.image_size, batch, trains=trains)

    head = {key: plain(config.model.get(key)) for key in ("head", "hidden")}
    identity = {"model": body_keys(config.model), **head, "classes": classes, "trains": trains}
    return faster({**identity, "image_size": config.image_size, "batch": batch}, measure)
