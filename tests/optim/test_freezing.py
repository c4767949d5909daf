"""Frozen layer groups stand still, with their norms trained or not."""

import pytest
import torch

from expkit import optim
from expkit.errors import UserError
from tests.optim.test_optimizer import BUILDS
from tests.optim.tiny import Group, Tiny


def train(model, optimizer, steps=2):
    for _ in range(steps):
        optimizer.set_train_mode(model)
        model(torch.linspace(-1, 1, 24).view(4, 6)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def moved(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


STATISTICS = {"a.1.running_mean", "a.1.running_var", "a.1.num_batches_tracked"}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize(
    ("train_bn", "also"),
    [(True, STATISTICS | {"a.1.weight", "a.1.bias"}), (False, STATISTICS), ("eval", set())],
)
def test_only_the_head_and_what_train_bn_says_moves(build, train_bn, also):
    model = Tiny()
    optimizer = build(model, train_bn=train_bn)
    train(model, optimizer)  # frozen layers have averages and gradients from before
    model(torch.ones(4, 6)).sum().backward()
    optimizer.freeze()
    before = snapshot(model)
    train(model, optimizer)
    assert moved(model, before) == {"c.weight", "c.bias"} | also


@pytest.mark.parametrize(
    ("body_bn", "still"),
    [(True, set()), (False, {"a.1.weight", "a.1.bias"}), ("eval", STATISTICS | {"a.1.weight", "a.1.bias"})],
)
def test_norms_of_a_body_that_trains_may_stay(body_bn, still):
    model = Tiny()
    optimizer = next(iter(BUILDS.values()))(model)
    optimizer.freeze_to(0, body_bn)
    before = snapshot(model)
    train(model, optimizer)
    assert moved(model, before) == set(before) - still
    optimizer.freeze_to(0)
    train(model, optimizer)
    assert moved(model, before) == set(before)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_thawed_layers_train_again(build):
    model = Tiny()
    optimizer = build(model)
    optimizer.freeze()
    train(model, optimizer)
    optimizer.freeze_to(1)
    before = snapshot(model)
    train(model, optimizer)
    assert "b.0.weight" in moved(model, before)
    assert "a.0.weight" not in moved(model, before)
    optimizer.unfreeze()
    train(model, optimizer)
    assert moved(model, before) == set(before)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_parameters_that_get_gradients_later_step_beside_the_others(build):
    model = Tiny()
    optimizer = build(model)
    model.b[0].bias.requires_grad_(False)
    train(model, optimizer)
    model.b[0].bias.requires_grad_(True)
    before = snapshot(model)
    train(model, optimizer, steps=1)
    assert "b.0.bias" in moved(model, before)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_averages_begin_anew_after_freezing_and_schedules_still_reach_the_groups(build):
    model = Tiny()
    optimizer = build(model)
    follow = optimizer.follow({"lr": lambda t: t})
    train(model, optimizer)
    optimizer.freeze()
    averages = [value for state in optimizer.state_dict()["state"].values() for value in state.values()]
    assert not any(torch.as_tensor(value).any() for value in averages)
    follow(0.25)
    assert {group["lr"] for group in optimizer.torch.param_groups} == {0.25}


def test_something_must_train():
    optimizer = optim.sgd(Tiny())
    with pytest.raises(UserError, match=r"freeze_to\(3\) leaves nothing to train: the layer groups are a, b, c"):
        optimizer.freeze_to(3)


def test_one_group_cannot_be_frozen():
    class Whole(Tiny):
        @property
        def layer_groups(self):
            return [Group("all", (self.a, self.b, self.c))]

    with pytest.raises(UserError, match="nothing to freeze"):
        optim.sgd(Whole()).freeze()
