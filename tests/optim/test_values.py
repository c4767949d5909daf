"""Values of hyperparameters, one per layer group."""

import pytest

from expkit import optim
from expkit.errors import UserError
from expkit.optim import group_values
from tests.optim.tiny import Tiny

GROUPS = ["stem", "body", "head"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.3, [0.3, 0.3, 0.3]),
        (1, [1.0, 1.0, 1.0]),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]),
        ({"stop": 0.1}, [0.01, 0.01, 0.1]),
        ({"start": 0.001, "stop": 0.1}, [0.001, 0.01, 0.1]),
    ],
)
def test_forms(value, expected):
    assert group_values(value, GROUPS, "optim.lr") == pytest.approx(expected)


def test_one_group_gets_the_stop():
    assert group_values({"start": 0.001, "stop": 0.1}, ["head"], "optim.lr") == [0.1]
    assert group_values({"stop": 0.1}, ["head"], "optim.lr") == [0.1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.1, 0.2], r"optim\.wd must have one value for each of the 3 layer groups \(stem, body, head\), got 2"),
        ("auto", r"optim\.wd=auto .* give a number"),
        ({"start": 0.1}, r"optim\.wd must be \{stop: b\} or \{start: a, stop: b\}, got keys start"),
    ],
)
def test_errors_name_key_and_groups(value, message):
    with pytest.raises(UserError, match=message):
        group_values(value, GROUPS, "optim.wd")


@pytest.mark.parametrize("lr", [0.0, -1.0, [0.1, 0.0, 0.1], {"stop": 0.0}, {"start": -1.0, "stop": 0.1}, "fast"])
def test_rates_must_be_above_zero(lr):
    with pytest.raises(UserError, match="lr must be"):
        optim.adam(Tiny(), lr=lr)


@pytest.mark.parametrize("name", ["lr", "mom", "sqr_mom", "eps", "wd"])
def test_every_hyperparameter_may_differ_between_groups(name):
    optimizer = optim.adam(Tiny(), **{name: [0.1, 0.2, 0.3]})
    assert optimizer.get(name) == [0.1, 0.2, 0.3]
