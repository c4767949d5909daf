"""The `trainer` group: how a model is trained, whatever it trains on."""

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Lt

from expkit.check import Count, NotNegative, Positive, checked
from expkit.errors import UserError

if TYPE_CHECKING:
    import torch

    from expkit.optim.optimizer import Optimizer
    from expkit.trainer.loop import Loader, Trainer


@checked
def default(
    model: "torch.nn.Module",
    optimizer: "Optimizer",
    train: "Loader",
    valid: "Loader",
    classes: int,
    seed: int,
    *,
    precision: Literal["auto", "bf16", "fp32"] = "auto",
    device: str = "auto",
    accumulate: Count = 1,
    clip_norm: Positive | None = None,
    label_smoothing: Annotated[NotNegative, Lt(1)] = 0.0,
    checkpoint_every: Count | None = None,
) -> "Trainer":
    """A trainer for `model` on the batches of `train`, validated on `valid`.

    `precision` is bf16 (autocast to bfloat16; weights and optimizer stay float32), fp32, or auto: bf16 where the
    device computes it natively and the model convolves, else fp32. `device` is auto (the first GPU, else the CPU) or
    a torch device. `accumulate` cuts each batch into so many pieces. `clip_norm` bounds the norm of all gradients
    together. `label_smoothing` is the share of the target spread over all classes (in training, not in valid_loss).
    `checkpoint_every` counts the optimizer steps between checkpoints within an epoch.

    Raises UserError for a device that is not there and for bf16 where it would only be emulated on a GPU.
    """
    import torch

    from expkit.trainer.loop import Trainer

    place = pick_device(device)
    model.to(place)
    convolves = any(parameter.ndim == 4 for parameter in model.parameters())
    if convolves:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    half = precision == "bf16" or (precision == "auto" and convolves and computes_bf16(place))
    return Trainer(
        model,
        optimizer,
        train,
        valid,
        classes,
        seed,
        device=place,
        autocast=torch.bfloat16 if half else None,
        accumulate=accumulate,
        clip_norm=clip_norm,
        label_smoothing=label_smoothing,
        checkpoint_every=checkpoint_every,
    )


def pick_device(name: str) -> "torch.device":
    """The torch device that `trainer.device` means. Raises UserError where this machine lacks it."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"trainer.device={name} is not to be had here ({reason}); use auto, cpu or cuda") from None
    return device


def computes_bf16(device: "torch.device") -> bool:
    """Whether the processor or GPU multiplies bfloat16 natively, not by conversion to float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16") or features.get("bf16"))
    return False
