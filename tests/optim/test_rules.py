"""What the options of single optimizers mean, against their definitions in float64."""

import pytest
import torch

from expkit import optim
from expkit.errors import UserError
from tests.optim.tiny import Pair, Tiny, step_through

GRADS = [[[0.3], [-0.1]], [[-0.2], [0.4]], [[0.5], [0.25]]]
MOMS = [0.9, 0.7, 0.8]


def run(build):
    return step_through({"init": [[1.0], [2.0]], "grads": GRADS, "mom": MOMS}, build, ("mom",))


def by_hand(rule):
    points, averages, after = [1.0, 2.0], [0.0, 0.0], []
    for grads, mom in zip(GRADS, MOMS, strict=True):
        for i, (grad,) in enumerate(grads):
            averages[i], move = rule(averages[i], grad, mom)
            points[i] -= 0.1 * move
        after.append(list(points))
    return after


def test_dampening_follows_momentum():
    expected = by_hand(lambda m, g, mom: (mom * m + (1 - mom) * g,) * 2)
    got = run(lambda model: optim.sgd(model, lr=0.1, wd=0.0, dampening=True))
    assert [pytest.approx(row, rel=1e-6) for row in expected] == got


def test_dampening_by_a_number():
    expected = by_hand(lambda m, g, mom: (mom * m + 0.75 * g,) * 2)
    got = run(lambda model: optim.sgd(model, lr=0.1, wd=0.0, dampening=0.25))
    assert [pytest.approx(row, rel=1e-6) for row in expected] == got


def test_nesterov():
    expected = by_hand(lambda m, g, mom: (mom * m + g, g + mom * (mom * m + g)))
    got = run(lambda model: optim.sgd(model, lr=0.1, wd=0.0, nesterov=True))
    assert [pytest.approx(row, rel=1e-6) for row in expected] == got


def test_nesterov_and_dampening_exclude_each_other():
    with pytest.raises(UserError, match=r"optim\.nesterov"):
        optim.sgd(Tiny(), nesterov=True, dampening=True)


def test_l2_is_weight_decay_in_the_gradient():
    for build in (optim.sgd, optim.adam, optim.nadam, optim.rmsprop, optim.adagrad, optim.radam, optim.lamb):
        plain, decayed = Pair([1.0], [2.0]), Pair([1.0], [2.0])
        for model, wd, extra in ((plain, 0.0, 0.5), (decayed, 0.5, 0.0)):
            optimizer = build(model, wd=wd, decouple_wd=False)
            for p in model.parameters():
                p.grad = torch.full_like(p, 0.3) + extra * p.detach()
            optimizer.step()
        torch.testing.assert_close(plain.first, decayed.first)
        torch.testing.assert_close(plain.second, decayed.second)


def test_rmsprop_takes_the_momentum_of_gradients():
    model = Pair([1.0], [2.0])
    optimizer = optim.rmsprop(model, lr=0.1, mom=0.9, sqr_mom=0.5, eps=0.0, wd=0.0)
    for grad in (1.0, 2.0):
        for p in model.parameters():
            p.grad = torch.full_like(p, grad)
        optimizer.step()
    first, second = 1 / 0.5**0.5, (0.9 * 1 + 2) / (0.5 * 0.5 + 0.5 * 4) ** 0.5
    assert model.first.item() == pytest.approx(1 - 0.1 * (first + second), rel=1e-6)


def test_lamb_leaves_a_tensor_of_zeros_unscaled():
    model = Pair([0.0], [2.0])
    optimizer = optim.lamb(model, lr=0.1, eps=0.0, wd=0.0)
    model.first.grad, model.second.grad = torch.tensor([0.3]), torch.tensor([0.0])
    optimizer.set("eps", [1e-5])
    optimizer.step()
    assert model.first.item() == pytest.approx(-0.1, rel=1e-4)
    assert model.second.item() == 2.0
