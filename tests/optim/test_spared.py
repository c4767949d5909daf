"""Which parameters weight decay spares, and which layers are norms: as in timm, for all of its families."""

import warnings
from collections import defaultdict
from operator import attrgetter

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from expkit import optim
from expkit.model.classifier import LayerGroup
from expkit.optim.groups import is_norm, split_groups

timm = pytest.importorskip("timm", reason="the extra timm is not installed")

SMALL = ("test_", "atto", "zepto", "nano", "micro", "tiny", "xxs", "mini", "small", "_s", "b0", "m0", "_t", "18", "50")
NORMS = ("GroupNorm1", "LayerNorm2d", "RmsNorm", "RmsNorm2d", "SimpleNorm", "SimpleNorm2d", "grn.GlobalResponseNorm")


class WithoutDraws(TorchFunctionMode):
    """Leaves out what fills weights, which takes most of the time of a network that is only looked at."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = function.__name__
        fills = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        return args[0] if fills and args else function(*args, **(kwargs or {}))


def families() -> dict[str, str]:
    """A small model of each of timm's families, by the module that has it."""
    found = defaultdict(list)
    for name in timm.list_models():
        found[timm.models._registry._model_to_module[name]].append(name)

    def size(name: str) -> tuple[int, int, str]:
        return next((i for i, word in enumerate(SMALL) if word in name), len(SMALL)), len(name), name

    return {family: min(names, key=size) for family, names in found.items()}


def test_every_family_of_timm_spares_what_timm_does():
    from timm.optim import param_groups_weight_decay

    different = []
    for family, name in families().items():
        with torch.device("meta"), WithoutDraws(), warnings.catch_warnings(action="ignore"):
            body = timm.create_model(name, num_classes=0).requires_grad_(True)
        model = nn.Sequential(body)
        model.layer_groups = [LayerGroup("all", (body,))]
        (split,) = split_groups(model, wd_bn_bias=False)
        own = body.no_weight_decay() if hasattr(body, "no_weight_decay") else ()
        expected = [
            id(parameter)
            for group in param_groups_weight_decay(body, 0.1, no_weight_decay_list=own)
            for parameter in group["params"]
            if not group["weight_decay"]
        ]
        if {id(parameter) for parameter in split.spared.values()} != set(expected):
            different.append(f"{family}: {name}")
    assert different == []


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_timm_train_in_frozen_groups(name):
    norm = attrgetter(name)(timm.layers)(8)
    assert is_norm(norm)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), norm, nn.Linear(8, 2))
    model.layer_groups = [LayerGroup("body", (model[0], norm)), LayerGroup("head", (model[2],))]
    optim.adam(model).freeze()
    assert not model[0].weight.requires_grad
    assert all(parameter.requires_grad for parameter in norm.parameters())


class ChannelNorm(nn.Module):
    """A norm of a user's own, whose scale is laid out for images."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))


class NormalizedLinear(nn.Linear):
    """No norm, whatever its name."""


class NormedBlock(nn.Module):
    """A norm among other layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.gain = nn.Parameter(torch.ones(8))


def test_norms_are_told_by_what_they_hold():
    assert is_norm(ChannelNorm())
    assert is_norm(nn.SyncBatchNorm(8))
    assert not is_norm(NormalizedLinear(8, 2))
    assert not is_norm(NormedBlock())


def test_all_biases_of_an_lstm_are_spared():
    model = nn.Sequential(nn.LSTM(4, 4))
    model.layer_groups = [LayerGroup("all", (model[0],))]
    (split,) = split_groups(model, wd_bn_bias=False)
    assert set(split.decayed) == {"0.weight_ih_l0", "0.weight_hh_l0"}
    (split,) = split_groups(model, wd_bn_bias=True)
    assert not split.spared
