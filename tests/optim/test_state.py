"""State saved and loaded as tensors and plain values, by name."""

import io

import numpy as np
import pytest
import torch

from expkit import optim
from expkit.errors import UserError
from tests.optim.test_freezing import train
from tests.optim.test_optimizer import BUILDS
from tests.optim.tiny import Group, Tiny


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_a_run_goes_on_bit_for_bit(build):
    straight, model = Tiny(), Tiny()
    model.load_state_dict(straight.state_dict())
    whole, first = build(straight), build(model)
    for optimizer, one in ((whole, straight), (first, model)):
        optimizer.freeze_to(1)
        train(one, optimizer)
        optimizer.set("lr", [0.01, 0.02, 0.03])
    train(straight, whole)
    resumed = Tiny()
    resumed.load_state_dict(model.state_dict())
    second = build(resumed)
    follow = second.follow({"wd": lambda t: 0.2})
    second.load_state_dict(through_a_file(first.state_dict()))
    assert second.read() == first.read()
    train(resumed, second)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    follow(0.0)
    assert second.get("wd") == [0.2] * 3


def test_averages_take_the_memory_layout_of_their_parameters():
    from tests.optim.test_optimizer import Convolution

    old, new = Convolution(), Convolution().to(memory_format=torch.channels_last)
    saved, loaded = optim.adam(old), optim.adam(new)
    old.conv.weight.grad = torch.ones_like(old.conv.weight)
    saved.step()
    loaded.load_state_dict(saved.state_dict())
    average = loaded.torch.state[new.conv.weight]["exp_avg"]
    assert average.stride() == new.conv.weight.stride()


def test_numbers_of_numpy_are_saved_as_plain_ones():
    optimizer = optim.adam(Tiny())
    optimizer.follow({"lr": lambda t: np.float64(t)})(0.5)
    assert through_a_file(optimizer.state_dict())["hypers"]["lr"] == [0.5] * 3


def test_another_optimizer_is_refused():
    with pytest.raises(UserError, match="of the optimizer SGD, not Adam"):
        optim.adam(Tiny()).load_state_dict(optim.sgd(Tiny()).state_dict())


def test_changed_groups_are_told():
    class Merged(Tiny):
        @property
        def layer_groups(self):
            return [Group("body", (self.a, self.b)), Group("c", (self.c,))]

    class Moved(Tiny):
        @property
        def layer_groups(self):
            return [Group("a", (self.a, self.b)), Group("b", ()), Group("c", (self.c,))]

    saved = optim.adam(Tiny()).state_dict()
    with pytest.raises(UserError, match="saved groups: a, b, c; groups now: body, c"):
        optim.adam(Merged()).load_state_dict(saved)
    with pytest.raises(UserError, match=r"a has b\.0\.weight, which it had not"):
        optim.adam(Moved()).load_state_dict(saved)
