"""A model that keeps the layer groups of a body it has not: groups without parameters."""

import copy

import pytest
import torch

from expkit.errors import UserError
from tests.optim.test_optimizer import BUILDS
from tests.optim.tiny import Group, Tiny


class Last(torch.nn.Module):
    """The last layer group of Tiny, with the others there by name only."""

    def __init__(self, whole: Tiny) -> None:
        super().__init__()
        self.c = whole.c

    @property
    def layer_groups(self):
        return [Group("a", ()), Group("b", ()), Group("c", (self.c,))]


def train(forward, optimizer, model, steps=3):
    for step in range(steps):
        optimizer.set("lr", [0.1 * (step + 1), 0.2, 0.01 * (step + 1)])
        optimizer.set_train_mode(model)
        forward(torch.linspace(-1, 1, 24).view(4, 6)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(params=BUILDS.values(), ids=BUILDS)
def build(request):
    return request.param


def test_every_group_keeps_its_column_and_its_values(build):
    optimizer = build(Last(Tiny()), lr=[0.1, 0.2, 0.3], wd=[0.1, 0.2, 0.3])
    assert optimizer.columns == build(Tiny()).columns
    assert optimizer.get("lr") == [0.1, 0.2, 0.3]
    assert optimizer.get("wd") == [0.1, 0.2, 0.3]
    optimizer.follow({"lr": [lambda t: t, lambda t: 2 * t, lambda t: 3 * t], "wd": lambda t: t})(0.5)
    assert optimizer.get("lr") == [0.5, 1.0, 1.5]
    assert optimizer.get("wd") == [0.5, 0.5, 0.5]


def test_the_last_group_trains_as_it_does_in_the_whole(build):
    torch.manual_seed(0)
    whole, twin = Tiny(), Tiny()
    twin.load_state_dict(whole.state_dict())
    last = Last(twin)
    frozen, alone = build(whole, train_bn="eval", wd=0.1), build(last, train_bn="eval", wd=0.1)
    frozen.freeze()
    alone.freeze()
    twin.eval()
    train(whole, frozen, whole)
    train(lambda x: last.c(twin.b(twin.a(x))), alone, last)
    assert torch.equal(whole.c.weight, last.c.weight)
    assert torch.equal(whole.c.bias, last.c.bias)


def test_freezing_goes_by_the_same_numbers(build):
    last = Last(Tiny())
    optimizer = build(last)
    for first in (-1, 0, 1, 2):
        optimizer.freeze_to(first)
        assert all(parameter.requires_grad for parameter in last.parameters())
    with pytest.raises(UserError, match=r"freeze_to\(3\) leaves nothing to train"):
        optimizer.freeze_to(3)


def test_a_saved_state_is_taken_up(build):
    heads = [Last(Tiny()), Last(Tiny())]
    optimizers = [build(head) for head in heads]
    optimizers[0].freeze()
    train(lambda x: heads[0].c(x[:, :1].repeat(1, 8)), optimizers[0], heads[0])
    heads[1].load_state_dict(heads[0].state_dict())
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))  # a saved one shares no tensors
    for head, optimizer in zip(heads, optimizers, strict=True):
        train(lambda x, head=head: head.c(x[:, :1].repeat(1, 8)), optimizer, head)
    assert torch.equal(heads[0].c.weight, heads[1].c.weight)
