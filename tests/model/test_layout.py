"""Gradients in the layout that expkit gives its models, in processes that what breaks memory may end."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from expkit.model.layout import to_channels_last
from expkit.trainer.precision import is_native

GRADIENTS = """
import sys
from itertools import product
import torch
from tests.model.test_layout import stem

dtype = getattr(torch, sys.argv[1])
for channels, seed in product((3, 12), range(20)):
    images = torch.rand(8, 3, 96, 96, generator=torch.Generator().manual_seed(seed))
    gradients = []
    for torch.backends.mkldnn.enabled in (True, False):
        model = stem(channels, seed)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            model(images.to(memory_format=torch.channels_last)).square().mean().backward()
        gradients.append([weight.grad.float() for weight in model.parameters()])
    for found, right in zip(*gradients, strict=True):
        assert (found - right).abs().max() < 0.03 * right.abs().max(), (channels, seed, found, right)
"""


def stem(channels, seed=0):
    """Every second pixel of images widened to some channels, as in FastViT's, MobileOne's and RepVGG's stems."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 48, 1, stride=2))
    to_channels_last(model)
    return model


HALF = pytest.mark.skipif(not is_native(torch.device("cpu")), reason="this processor does not compute in bfloat16")


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=HALF)])
def test_strided_convolutions_of_few_channels_keep_to_their_memory(dtype):
    """oneDNN wrote beyond it, so that the process died in a later step, or gave wrong gradients."""
    run = [sys.executable, "-c", GRADIENTS, dtype]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_stride_passes_over_is_left_out_once_and_changes_no_output():
    model = stem(12)
    to_channels_last(model)
    assert [len(layer._forward_pre_hooks) for layer in model] == [0, 1]
    for side in (1, 2, 7, 8):
        images = torch.rand(2, 3, side, side)
        plain = nn.functional.conv2d(model[0](images), model[1].weight, model[1].bias, stride=2)
        assert torch.equal(model(images), plain)
