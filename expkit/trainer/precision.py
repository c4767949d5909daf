"""Where a model computes, and in which precision."""

from typing import Literal

import torch
from torch import Tensor, nn

from expkit.errors import UserError
from expkit.model.classifier import Classifier

GRADIENTS = "for which oneDNN gives wrong gradients in bfloat16"
LARGE = 1 << 18
"""From so many weights of a matrix on (1024 x 256), bfloat16 saves more than the casts between the types take."""


def pick_device(name: str, key: str = "trainer.device") -> torch.device:
    """The torch device that a name means. Raises UserError, which names the `key`, where this machine lacks it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # a value must come back, as none does from meta
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0].partition(". ")[0].rstrip(".")
        raise UserError(f"{key}={name} is not to be had here ({reason}); use auto, cpu or cuda") from None
    return device


def computes_in_bf16(
    precision: Literal["auto", "bf16", "fp32"], model: nn.Module, device: torch.device, image_size: int | None
) -> bool:
    """Whether to autocast to bfloat16: as told, or by itself where that is native, pays and is right.

    Raises UserError where bf16 is demanded but would be wrong, or the model does not take the image size.
    """
    found = wrong_in_bf16(model, device, image_size) if image_size is not None else []
    wrong = found if device.type == "cpu" else []
    if wrong and precision == "bf16":
        raise UserError(f"trainer.precision=bf16 is not to be had with image_size={image_size}: {wrong[0]}")
    return precision == "bf16" or (precision == "auto" and pays_in_bf16(model) and not wrong and is_native(device))


def pays_in_bf16(model: nn.Module) -> bool:
    """Whether a model has what bfloat16 may make faster: convolutions, or a large matrix."""
    return multiplies_much(model) or any(parameter.ndim == 4 for parameter in model.parameters())


def multiplies_much(model: nn.Module) -> bool:
    """Whether a model has a matrix so large that bfloat16 pays, without any convolution."""
    return any(parameter.ndim == 2 and parameter.numel() >= LARGE for parameter in model.parameters())


def is_native(device: torch.device) -> bool:
    """Whether the processor or GPU multiplies bfloat16 itself, not by conversion to float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16") or features.get("bf16"))
    return False


@torch.inference_mode()
def wrong_in_bf16(model: nn.Module, device: torch.device, image_size: int) -> list[str]:
    """Which strided convolutions oneDNN (torch 2.14) computes wrongly in bfloat16 on the CPU, and what to do, in lines.

    Found by one blank image, which also shows whether the model takes the size at all: raises UserError where it does
    not.
    """
    found: list[str] = []
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1:

            def note(module: nn.Conv2d, inputs: tuple[Tensor, ...], name: str = name) -> None:
                if max(module.kernel_size) > 1 and inputs[0].shape[2:] == (1, 1):
                    found.append(f"{name} sees an image of 1 x 1 there, {GRADIENTS}; use fp32 or a larger image_size")

            hooks.append(module.register_forward_pre_hook(note))
    training = model.training
    model.eval()
    try:
        model(torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8, device=device))
    except (RuntimeError, AssertionError, ValueError) as error:
        made_for = model.made_for if isinstance(model, Classifier) else None
        advice = f"; it was made for image_size={made_for}" if made_for not in (None, image_size) else ""
        reason = f": {error}" if str(error) else ""
        raise UserError(f"the model does not take images of image_size={image_size}{reason}{advice}") from None
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return found
