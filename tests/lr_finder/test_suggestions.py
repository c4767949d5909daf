"""Suggestions of learning rates: fastai's numbers, NaN, own functions, settings."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit.config.lr_find import WAYS, check_lr_find
from expkit.errors import UserError
from expkit.lr_finder import suggestions as lr_finder
from expkit.lr_finder.suggestions import Curve, suggestions
from tests.optim.tiny import golden

SETTINGS = {"start_lr": 1e-7, "end_lr": 10.0, "num_it": 100, "suggest": "valley", "scale": 1.0}


@pytest.mark.parametrize("way", WAYS)
def test_suggestions_are_those_of_fastai(way):
    for case in golden("fastai.json")["lr_suggestions"]:
        assert getattr(lr_finder, way)(case["lrs"], case["losses"]) == pytest.approx(case["suggest"][way], rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_losses_that_are_no_numbers_are_dropped(way):
    case = golden("fastai.json")["lr_suggestions"][1]
    lrs, losses = case["lrs"], case["losses"]
    spoilt = [math.nan, *losses[:40], math.inf, *losses[40:], math.nan, -math.inf]
    rates = [1e-9, *lrs[:40], 3e-5, *lrs[40:], 20.0, 30.0]
    function = getattr(lr_finder, way)
    assert function(rates, spoilt) == function(lrs, losses)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("losses", [[], [math.nan] * 30])
def test_a_curve_without_numbers_says_what_to_change(way, losses):
    with pytest.raises(UserError, match=r"lower lr_find\.start_lr or lr_find\.end_lr.*precision.*batch_size"):
        getattr(lr_finder, way)([0.1] * len(losses), losses)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=40))
def test_every_way_suggests_a_rate_of_the_curve(losses):
    lrs = np.geomspace(1e-7, 10, len(losses)).tolist()
    for way in ("valley", "slide", "steep"):
        assert getattr(lr_finder, way)(lrs, losses) in lrs
    assert lr_finder.minimum(lrs, losses) == lrs[int(np.argmin(np.float32(losses)))] / 10


def test_a_valley_is_read_half_way_down_its_slope():
    lrs = np.geomspace(1e-6, 1, 61).tolist()
    losses = [2.0] * 20 + np.linspace(1.98, 0.5, 31).tolist() + [3.0] * 10
    assert lrs[30] < lr_finder.valley(lrs, losses) < lrs[40]


def v_curve(points: int = 100, num_it: int = 100) -> Curve:
    lrs = np.geomspace(1e-7, 10, num_it)[:points]
    losses = 1 + np.abs(np.log10(lrs) + 2)
    return Curve(lrs, losses + 0.1, losses, num_it)


def test_the_first_tenth_and_the_last_five_points_are_left_out():
    assert v_curve().kept == slice(10, 95)
    assert v_curve(points=60).kept == slice(10, 55)
    broken = v_curve(points=60)
    broken.smoothed[-1] = math.nan
    assert broken.kept == slice(10, 59)  # the five last of a hundred steps would all be NaN


def test_suggestions_hold_the_four_and_an_own(monkeypatch):
    found = suggestions(v_curve(), "slide")
    assert tuple(found) == WAYS
    assert found["minimum"] == pytest.approx(1e-3, rel=0.2)
    monkeypatch.setenv("EXPKIT_TRUST", "tests")
    own = suggestions(v_curve(), "tests.lr_finder.test_suggestions.middle")
    assert own == found | {"tests.lr_finder.test_suggestions.middle": v_curve().lrs[52]}


def middle(lrs, losses):
    return lrs[len(losses) // 2]


def nothing(lrs, losses):
    return -1.0


def truth(lrs, losses):
    return True


def broken(lrs):
    return lrs[0]


def test_an_own_function_is_run_only_where_it_is_trusted(monkeypatch):
    monkeypatch.delenv("EXPKIT_TRUST", raising=False)
    with pytest.raises(UserError, match=r"lr_find\.suggest: .*EXPKIT_TRUST=tests"):
        check_lr_find(SETTINGS | {"suggest": "tests.lr_finder.test_suggestions.middle"})
    monkeypatch.setenv("EXPKIT_TRUST", "tests")
    check_lr_find(SETTINGS | {"suggest": "tests.lr_finder.test_suggestions.middle"})
    with pytest.raises(
        UserError, match=r"suggest=tests\.lr_finder\.test_suggestions\.nothing must give a learning rate above 0"
    ):
        suggestions(v_curve(), "tests.lr_finder.test_suggestions.nothing")
    with pytest.raises(UserError, match=r"suggest=tests\.lr_finder\.test_suggestions\.truth must give .*, got True"):
        suggestions(v_curve(), "tests.lr_finder.test_suggestions.truth")
    with pytest.raises(
        UserError, match=r"suggest=tests\.lr_finder\.test_suggestions\.broken is called with .*raised TypeError: "
    ):
        suggestions(v_curve(), "tests.lr_finder.test_suggestions.broken")
    monkeypatch.delenv("EXPKIT_TRUST")
    with pytest.raises(UserError, match=r"lr_find\.suggest: .*EXPKIT_TRUST=tests"):
        suggestions(v_curve(), "tests.lr_finder.test_suggestions.middle")


@pytest.mark.parametrize("points", [1, 14, 16])
def test_a_search_that_ended_too_early_says_where_and_what_to_change(points):
    curve = v_curve(points)
    with pytest.raises(UserError, match=rf"exceeded four times its best at step {points} of 100.*start_lr"):
        suggestions(curve, "valley")
    curve.smoothed[-1] = math.nan
    if points < 13:
        with pytest.raises(UserError, match=rf"became NaN at step {points} of 100"):
            suggestions(curve, "valley")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end_lr": 1e-7}, "lr_find.end_lr=1e-07 must be above lr_find.start_lr=1e-07"),
        ({"num_it": 19}, "lr_find.num_it must be a whole number of at least 20, got 19"),
        ({"scale": 0.0}, "lr_find.scale must be a number above 0"),
        ({"suggest": "vally"}, "did you mean 'valley'?"),
        ({"suggests": "valley"}, "lr_find.suggests is no key of lr_find; did you mean 'suggest'?"),
    ],
)
def test_impossible_settings_are_named(change, message):
    with pytest.raises(UserError) as error:
        check_lr_find(SETTINGS | change)
    assert message in str(error.value)


def test_the_finder_is_imported_without_torch():
    code = "import sys, expkit.lr_finder.suggestions; assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
