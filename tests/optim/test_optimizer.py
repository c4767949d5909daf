"""Layer groups, live hyperparameters, schedules and what weight decay spares."""

import pytest
import torch

from expkit import optim
from expkit.errors import UserError
from expkit.sched import one_cycle
from tests.optim.tiny import Tiny

BUILDS = {
    "sgd": optim.sgd,
    "adam": optim.adam,
    "nadam": optim.nadam,
    "rmsprop": optim.rmsprop,
    "adagrad": optim.adagrad,
    "adadelta": optim.adadelta,
    "radam": optim.radam,
    "lamb": optim.lamb,
    "torch": lambda model, **options: optim.torch(model, name="AdamW", **options),
}


def backward(model):
    model(torch.linspace(-1, 1, 24).view(4, 6)).square().sum().backward()


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_values_are_read_from_the_groups_of_torch(build):
    optimizer = build(Tiny(), lr=[0.1, 0.2, 0.3], wd=0.04)
    assert optimizer.groups == ["a", "b", "c"]
    for name in optimizer.hypers:
        optimizer.set(name, [0.5, 0.6, 0.7])
        assert optimizer.get(name) == [0.5, 0.6, 0.7]
    assert {group["lr"] for group in optimizer.torch.param_groups} == {0.5, 0.6, 0.7}
    assert len(optimizer.read()) == len(optimizer.columns) == 3 * len(optimizer.hypers)
    assert optimizer.columns[:3] == ["lr_0", "lr_1", "lr_2"]


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_decay_shrinks_weights_and_spares_biases_and_norms(build):
    model = Tiny()
    # With gradients of 0 nothing but weight decay moves a parameter.
    optimizer = build(model, lr=0.1, wd=0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        factor = 0.95 if name in ("a.0.weight", "b.0.weight", "c.weight") else 1.0
        torch.testing.assert_close(p.detach(), before[name] * factor)


def test_biases_and_norms_decay_on_demand():
    model = Tiny()
    optimizer = optim.sgd(model, lr=0.1, wd=0.5, wd_bn_bias=True)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert model.a[1].weight.tolist() == pytest.approx([0.95] * 8)


def test_following_schedules_sets_all_groups_and_keeps_biases_spared():
    optimizer = optim.adam(Tiny())
    schedules = {**one_cycle([0.1, 0.2, 0.3]), "wd": lambda t: t / 2}
    follow = optimizer.follow(schedules)
    follow(0.25)
    assert optimizer.get("lr") == pytest.approx([0.1, 0.2, 0.3])
    assert optimizer.get("mom") == pytest.approx([0.85] * 3)
    assert optimizer.get("wd") == pytest.approx([0.125] * 3)
    assert [group["weight_decay"] for group in optimizer.torch.param_groups] == pytest.approx([0.125, 0] * 3)


def test_momentum_is_passed_over_where_there_is_none():
    optimizer = optim.adagrad(Tiny())
    optimizer.follow(one_cycle([0.1] * 3))(0.25)
    assert optimizer.get("lr") == pytest.approx([0.1] * 3)


def test_errors_name_hyperparameter_and_groups():
    optimizer = optim.sgd(Tiny())
    with pytest.raises(UserError, match="no hyperparameter 'sqr_mon'"):
        optimizer.get("sqr_mon")
    with pytest.raises(UserError, match="no hyperparameter 'sqr_mom'"):
        optimizer.follow({"sqr_mom": lambda t: t})
    with pytest.raises(UserError, match="groups a, b, c, got 2"):
        optimizer.follow({"lr": [lambda t: t] * 2})
    with pytest.raises(UserError, match="layer groups a, b, c, got 1"):
        optimizer.set("lr", [0.1])


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_every_optimizer_learns_the_digits(build):
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    torch.manual_seed(0)
    model = Tiny(64, 32, 10)
    optimizer = build(model) if build is optim.adadelta else build(model, lr=0.01)
    for _ in range(2):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
    accuracy = (model.eval()(x).argmax(1) == y).float().mean().item()
    assert accuracy > 0.7


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_gradients_in_another_memory_layout_give_the_same_step(build):
    grad = torch.linspace(-1, 1, 8 * 4 * 3 * 3).view(8, 4, 3, 3)
    after = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = Convolution().to(memory_format=layout)
        optimizer = build(model)
        for _ in range(2):
            model.conv.weight.grad = grad.clone()
            optimizer.step()
        after.append(model.conv.weight.detach())
    torch.testing.assert_close(after[0], after[1])


class Convolution(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 8, 3, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.linspace(-0.5, 0.5, 288).view(8, 4, 3, 3))

    @property
    def layer_groups(self):
        from tests.optim.tiny import Group

        return [Group("all", (self.conv,))]


def test_nesterov_momentum_may_begin_at_0():
    model, plain = Tiny(), Tiny()
    plain.load_state_dict(model.state_dict())
    rising = optim.sgd(model, mom=0.0, nesterov=True, lr=0.1)
    by_name = optim.torch(Tiny(), name="SGD", options={"nesterov": True})
    assert by_name.get("mom") == [0.0] * 3
    without = optim.sgd(plain, mom=0.0, lr=0.1)
    for optimizer, one in ((rising, model), (without, plain)):
        backward(one)
        optimizer.step()
        optimizer.zero_grad()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), plain.parameters(), strict=True))
    follow = rising.follow({"mom": lambda t: t})
    for t in (0.0, 0.5, 0.0):
        follow(t)
        backward(model)
        rising.step()
        rising.zero_grad()
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("name", "options"), [("SGD", {}), ("RMSprop", {}), ("RMSprop", {"centered": True})])
def test_momentum_that_a_schedule_moves_may_begin_at_0(name, options):
    """torch's RMSprop makes its average at the first step alone, and misses it once momentum is no longer 0."""
    model = Tiny()
    optimizer = optim.torch(model, name=name, options=options, lr=0.01)
    follow = optimizer.follow({"mom": lambda t: t})
    moved = []
    for t in (0.0, 0.0, 0.5, 0.0, 0.9):
        follow(t)
        backward(model)
        optimizer.step()
        optimizer.zero_grad()
        moved.append([optimizer.torch.state[p].get("momentum_buffer") is not None for p in model.parameters()])
    assert [all(one) for one in moved] == [False, False, True, True, True]
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("name", "options"), [("Muon", {}), ("AdamW", {"amsgrd": True}), ("ASGD", {"t0": "x"})])
def test_what_torch_refuses_is_one_sentence(name, options):
    def build_and_step():
        model = Tiny()
        optimizer = optim.torch(model, name=name, options=options)
        backward(model)
        optimizer.step()

    with pytest.raises(UserError, match=r"optim\."):
        build_and_step()
