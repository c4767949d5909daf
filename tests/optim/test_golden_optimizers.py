"""Optimizer steps against reference values: fastai's optimizers, and NAdam after Ruder in numpy."""

from typing import Any

import pytest

from expkit import optim
from expkit.optim import even_multiples
from tests.optim.tiny import Pair, golden, step_through

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (optim.sgd, {"mom": 0.0}),
    "sgd_momentum": (optim.sgd, {}),
    "sgd_l2": (optim.sgd, {"decouple_wd": False}),
    "rmsprop": (optim.rmsprop, {"mom": 0.0, "eps": 1e-8}),
    "adam": (optim.adam, {}),
    "adam_l2": (optim.adam, {"decouple_wd": False}),
    "radam": (optim.radam, {}),
    "lamb": (optim.lamb, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_fastai(name):
    case = golden("fastai.json")["optimizers"]
    build, options = CASES[name]
    hypers = ("lr",) if "mom" in options else ("lr", "mom")
    after = step_through(case, lambda model: build(model, wd=0.02, **options), hypers)
    for step, expected in zip((1, 2, 12), case["runs"][name]["after"], strict=True):
        assert after[step - 1] == pytest.approx([*expected[0], *expected[1]], rel=1e-5, abs=1e-6)


def test_torch_by_name_steps_like_our_adam():
    case = golden("fastai.json")["optimizers"]
    settings: dict[str, Any] = {"sqr_mom": 0.99, "eps": 1e-5, "wd": 0.02}
    after = step_through(case, lambda model: optim.torch(model, name="AdamW", **settings))
    expected = case["runs"]["adam"]["after"][2]
    assert after[11] == pytest.approx([*expected[0], *expected[1]], rel=1e-5, abs=1e-6)


def test_nadam_steps_are_those_of_ruder():
    case = golden("nadam.json")
    after = step_through(case, lambda model: optim.nadam(model, wd=0.02))
    for step, expected in zip((1, 2, 12), case["after_1_2_12"], strict=True):
        assert after[step - 1] == pytest.approx([*expected[0], *expected[1]], rel=1e-5, abs=1e-6)


def test_nadam_example_worked_by_hand():
    example = golden("nadam.json")["worked_example"]
    case = {"init": [example["p"], [0.0]], "grads": [[example["grad"], [0.0]]] * 2}
    hypers = {name: example[name] for name in ("lr", "mom", "sqr_mom", "eps", "wd")}
    after = step_through(case, lambda model: optim.nadam(model, wd_bn_bias=True, **hypers), ())
    for got, expected in zip(after, example["after_1_2"], strict=True):
        assert got[:3] == pytest.approx(expected[0], rel=1e-5)


def test_even_multiples():
    case = golden("fastai.json")["even_mults"]
    assert even_multiples(case["start"], case["stop"], case["n"]) == pytest.approx(case["values"], rel=1e-6)
    assert even_multiples(case["start"], case["stop"], 5) == pytest.approx(case["n5"], rel=1e-6)


def test_a_pair_has_no_spared_parameters():
    model = Pair([[1.0]], [1.0])
    assert optim.adam(model, wd=0.5).get("wd") == [0.5]
