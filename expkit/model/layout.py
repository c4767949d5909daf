"""The memory layout of a model's weights: channels last, in which convolutions are fastest."""

import itertools

import torch
from torch import nn


def to_channels_last(model: nn.Module) -> None:
    """Lay all four-dimensional parameters and buffers out with the channels last; of others there is no such layout.

    `Module.to` would insist on it for five-dimensional weights as well, which torch then refuses.
    """
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
