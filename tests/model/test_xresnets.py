import pytest
import torch
from torch import nn

from expkit.model import xresnet18, xresnet34, xresnet50


@pytest.mark.parametrize(
    ("build", "tensors", "numbers"),
    [(xresnet18, 68, 11_708_744), (xresnet34, 116, 21_816_904), (xresnet50, 167, 25_576_264)],
)
def test_sizes_are_those_of_fastai_with_a_linear_layer_of_1000_classes(build, tensors, numbers):
    parameters = list(build(1000, head="linear").parameters())
    assert len(parameters) == tensors
    assert parameters[0].shape == (32, 3, 3, 3)
    assert sum(parameter.numel() for parameter in parameters) == numbers


def test_stem_widths_and_strides():
    convs = [layer for layer in xresnet34(2).body.stem if isinstance(layer, nn.Conv2d)]
    assert [(conv.out_channels, conv.stride[0]) for conv in convs] == [(32, 2), (32, 1), (64, 1)]


def test_a_new_block_gives_its_shortcut():
    block = xresnet50(2).body.layer2[0].eval()
    x = torch.rand(1, 256, 8, 8)
    torch.testing.assert_close(block(x), block.shortcut(x).relu())
    assert isinstance(block.shortcut[0], nn.AvgPool2d)


def test_bottleneck_strides_in_its_3_by_3_convolution():
    convs = [layer for layer in xresnet50(2).body.layer2[0].convs if isinstance(layer, nn.Conv2d)]
    assert [(conv.kernel_size[0], conv.stride[0]) for conv in convs] == [(1, 1), (3, 2), (1, 1)]
