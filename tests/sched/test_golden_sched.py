"""Schedules and whole training runs against reference values from fastai."""

from typing import Any

import pytest
import torch

from expkit import optim
from expkit.optim import group_values
from expkit.sched import (
    combine,
    combined_cosine,
    constant,
    constant_lr,
    cosine,
    exponential,
    flat_cos,
    linear,
    one_cycle,
    polynomial,
    sgdr,
)
from tests.optim.tiny import fit, golden, tiny_from

GROUPS = ["a", "b", "c"]
ANNEALERS = {"no": constant, "lin": linear, "cos": cosine, "exp": exponential}


def sample(schedule, case):
    return [schedule(t) for t in case["pos"]]


@pytest.mark.parametrize("name", ANNEALERS)
def test_annealers(name):
    case = golden("fastai.json")["annealers"]
    assert sample(ANNEALERS[name](case["start"], case["end"]), case) == pytest.approx(case[name], rel=1e-6)


def test_polynomial():
    case = golden("fastai.json")["annealers"]
    schedule = polynomial(case["start"], case["end"], case["power"])
    assert sample(schedule, case) == pytest.approx(case["poly"], rel=1e-6)


def test_combine():
    case = golden("fastai.json")["combine"]
    pieces = [ANNEALERS[name](start, end) for name, start, end in case["scheds"]]
    assert sample(combine(case["pcts"], pieces), case) == pytest.approx(case["values"], rel=1e-6)


def test_combined_cosine():
    case = golden("fastai.json")["combined_cos"]
    schedule = combined_cosine(case["pct"], case["start"], case["middle"], case["end"])
    assert sample(schedule, case) == pytest.approx(case["values"], rel=1e-6)


def data_of(policies) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(policies["X"]), torch.tensor(policies["Y"])


def as_value(lr: Any) -> Any:
    """A learning rate of the reference file (["slice", start, stop] or a number) in the forms of configs."""
    if not isinstance(lr, list):
        return lr
    return {"stop": lr[2]} if lr[1] is None else {"start": lr[1], "stop": lr[2]}


def check_weights(model, expected) -> None:
    for name, value in model.state_dict().items():
        assert value.flatten().tolist() == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name


def schedules_of(name: str, peaks: list[float], args: dict[str, Any]) -> Any:
    options = {key: args[key] for key in ("pct_start", "div", "div_final", "moms") if key in args}
    if name == "sgdr":
        return sgdr(peaks, args["epochs"], cycle_len=args["cycle_len"], cycle_mult=args["cycle_mult"])
    return (flat_cos if name == "flat_cos" else one_cycle)(peaks, args["epochs"], **options)


@pytest.mark.parametrize("name", ["one_cycle", "one_cycle_slice_stop", "flat_cos", "sgdr"])
def test_policies_train_like_fastai(name):
    policies = golden("fastai.json")["policies"]
    case, model = policies[name], tiny_from(policies["init"])
    lr = as_value(case["args"]["lr"])
    optimizer = optim.adam(model, lr=lr, wd=0.03)
    schedules = schedules_of(name, group_values(lr, GROUPS, "lr"), case["args"])
    # The positions within fastai's pieces are float32, which shows where a rate nears 0.
    slack = 1e-7 * max(optimizer.get("lr"))
    traces, losses = fit(model, optimizer, schedules, data_of(policies), case["args"]["epochs"])
    for trace, expected in zip(traces, case["trace"], strict=True):
        held = dict(zip(optimizer.columns, trace, strict=True))
        for hyper in ("lr", "mom", "wd"):
            values = [held[f"{hyper}_{i}"] for i in range(3)]
            assert values == pytest.approx(expected[hyper], rel=1e-6, abs=slack)
    assert losses == pytest.approx(case["losses"], rel=1e-4)
    check_weights(model, case["final"])


@pytest.mark.parametrize("train_bn", [True, False])
def test_frozen_groups(train_bn):
    reference = golden("fastai.json")
    case, model = reference[f"frozen_train_bn_{str(train_bn).lower()}"], tiny_from(reference["policies"]["init"])
    optimizer = optim.adam(model, lr=case["lr"], wd=0.03, train_bn=train_bn)
    optimizer.freeze()
    schedules = one_cycle([case["lr"]] * 3, case["epochs"])
    fit(model, optimizer, schedules, data_of(reference["policies"]), case["epochs"])
    check_weights(model, case["final"])


def test_constant_lr_leaves_the_rate_alone():
    assert constant_lr([0.1, 0.2], 3)["lr"][1](0.7) == 0.2
