import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from expkit import model
from expkit.features.folding import fold


def with_statistics(network):
    """Batch norms as training leaves them, so that they do something; and a drawn scale, which may start from 0."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def norms_in(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", ["resnet18", "xresnet18", "efficientnet_lite0"])
def test_a_folded_body_gives_the_same_logits(name):
    torch.manual_seed(0)
    net = with_statistics(getattr(model, name)(5, weights=None))
    folded = copy.deepcopy(net)
    count = fold(folded.body)
    assert count == norms_in(net.body) > 15
    assert norms_in(folded.body) == 0
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), net(images), rtol=1e-5, atol=1e-5)


class Twice(nn.Module):
    """A convolution that is called twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(self.conv(x)))


class Shared(Twice):
    """A convolution whose output goes elsewhere, too."""

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


class NormTwice(Twice):
    """A batch norm that is called twice."""

    def forward(self, x):
        return self.norm(self.norm(self.conv(x)))


class Read(Twice):
    """A weight that is used by itself, too."""

    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv.weight.mean()


class Between(Twice):
    """Something between the two."""

    def forward(self, x):
        return self.norm(self.conv(x).relu())


class Depends(Twice):
    """Steps that depend on the input, so that it cannot be traced."""

    def forward(self, x):
        return self.norm(self.conv(x)) if x.mean() > 0 else self.conv(x)


class Standardized(nn.Conv2d):
    """A convolution that is not linear in its weight."""

    def forward(self, x):
        return self._conv_forward(x, self.weight / self.weight.std(), self.bias)


def another_kind():
    return nn.Sequential(Standardized(3, 3, 3), nn.BatchNorm2d(3))


def batch_statistics():
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, track_running_stats=False))


@pytest.mark.parametrize("make", [Twice, Shared, NormTwice, Read, Between, Depends, another_kind, batch_statistics])
def test_what_would_not_be_exact_is_left_as_it_is(make):
    torch.manual_seed(0)
    net = make().eval()
    folded = copy.deepcopy(net)
    assert fold(folded) == 0
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(folded(images), net(images))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_bias_and_scale_may_be_missing(bias, affine):
    net = with_statistics(nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=bias), nn.BatchNorm2d(6, affine=affine)))
    folded = copy.deepcopy(net)
    assert fold(folded) == 1
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(folded(images), net(images), rtol=1e-5, atol=1e-6)
