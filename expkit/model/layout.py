"""The memory layout of a model's weights: channels last, in which convolutions are fastest."""

import itertools

import torch
from torch import Tensor, nn

FEW = 16
"""Channels of a vector register: with fewer, oneDNN takes memory that is not its own, as `spare` says."""


def to_channels_last(model: nn.Module) -> None:
    """Lay all four-dimensional parameters and buffers out with the channels last; of others there is no such layout.

    `Module.to` would insist on it for five-dimensional weights as well, which torch then refuses.
    """
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    spare(model)


def spare(model: nn.Module) -> None:
    """Keep oneDNN (torch 2.14) from breaking the memory of the process in strided 1 x 1 convolutions of few channels.

    Such as those in the stems of FastViT, MobileOne and RepVGG. With the channels last, where the stride divides the
    image's sides, their gradients are written beyond their end, and in bfloat16 are wrong besides.
    """
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d)
            and (module.kernel_size, module.groups) == ((1, 1), 1)
            and module.in_channels < FEW
            and max(module.stride) > 1
            and module.padding in ((0, 0), "valid")
            and without_rest not in module._forward_pre_hooks.values()
        ):
            module.register_forward_pre_hook(without_rest)


def without_rest(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Leave out the last rows and columns, which a strided 1 x 1 convolution passes over: nothing is divided then."""
    (images,) = inputs
    assert isinstance(module, nn.Conv2d)
    if images.device.type != "cpu":
        return images
    height, width = (
        (side - 1) // stride * stride + 1 for side, stride in zip(images.shape[-2:], module.stride, strict=True)
    )
    return images[..., :height, :width]
