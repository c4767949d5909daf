"""The `trainer` group: how a model is trained, whatever it trains on."""

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Lt

from expkit.check import Count, NotNegative, Positive, checked
from expkit.errors import UserError

if TYPE_CHECKING:
    import torch

    from expkit.optim.optimizer import Optimizer
    from expkit.trainer.loop import Trainer


@checked
def default(
    model: "torch.nn.Module",
    optimizer: "Optimizer",
    classes: int,
    seed: int,
    image_size: int | None = None,
    *,
    precision: Literal["auto", "bf16", "fp32"] = "auto",
    device: str = "auto",
    accumulate: Count = 1,
    clip_norm: Positive | None = None,
    label_smoothing: Annotated[NotNegative, Lt(1)] = 0.0,
    class_weights: Literal["auto"] | dict[str | int, Positive] | list[Positive] | None = None,
    checkpoint_every: Count | None = None,
    threads: Count | None = None,
) -> "Trainer":
    """A trainer for `model`, an image classifier of `classes` classes.

    `precision` is bf16 (autocast to bfloat16; weights and optimizer stay float32), fp32, or auto: bf16 where the
    device computes it natively and it pays, which is for convolutions, and for a head on precomputed features from
    2^18 weights in a layer; else fp32. A run on a CPU that has it measures first (`expkit.left_open.settled`).
    `device` is auto (the first GPU, else the CPU) or a torch device. `image_size` is the side of the images in pixels,
    None for feature vectors. `accumulate` cuts each batch into so many pieces. `clip_norm` bounds the norm of all
    gradients together. `label_smoothing` is the share of the target spread over all classes (in training, not in
    valid_loss). `class_weights`, one for each class in the order of the labels, weigh the images of a batch in its mean
    loss (in training alone); a run makes such a list of auto and of weights by name (`expkit.left_open.weighed`).
    `checkpoint_every` counts the optimizer steps between checkpoints within an epoch. `threads` is how
    many threads of the CPU compute, None for one a core: give less where several processes share the cores, since
    threads wait for each other at barriers. Another number may give another last bit. On the CPU, the process keeps
    the memory that it frees from here on.

    Raises UserError for a device that is not there, an image size that the model does not take, bf16 where it computes
    wrongly, and class weights that are not one for each class.
    """
    import torch

    if class_weights is not None and (not isinstance(class_weights, list) or len(class_weights) != classes):
        raise UserError(f"trainer.class_weights must be a list of {classes} weights, one a class, got {class_weights}")

    if threads is not None:
        torch.set_num_threads(threads)

    from expkit.model.classifier import Classifier
    from expkit.model.layout import to_channels_last
    from expkit.trainer.loop import Trainer
    from expkit.trainer.memory import keep_freed
    from expkit.trainer.precision import computes_in_bf16, multiplies_much, pick_device

    place = pick_device(device)
    if place.type == "cpu":
        keep_freed()
    model.to(place)
    to_channels_last(model)
    optimizer.clear_state()  # some have made it already, where the parameters were and in their layout there
    half = computes_in_bf16(precision, model, place, image_size)
    head = model.head if isinstance(model, Classifier) else model
    return Trainer(
        model,
        optimizer,
        classes,
        seed,
        device=place,
        autocast=torch.bfloat16 if half else None,
        autocast_features=half and (precision == "bf16" or multiplies_much(head)),
        accumulate=accumulate,
        clip_norm=clip_norm,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        checkpoint_every=checkpoint_every,
    )
