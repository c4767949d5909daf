from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import pytest
from annotated_types import Len

from expkit.check import Count, Fraction, Portion, Positive, check_arguments, checked
from expkit.errors import UserError


@checked
def recipe(
    model: "NotImported",  # noqa: F821  # config functions quote what they do not import
    *,
    pct_start: Fraction = 0.25,
    kind: Literal["crop", "pad"] = "crop",
    moms: Annotated[Sequence[Portion], Len(3, 3)] = (0.95, 0.85, 0.95),
    steps: Count | None = None,
    rates: Positive | list[Positive] | Mapping[str, Positive] = 1.0,
    name: str,
) -> str:
    return f"{kind} {pct_start}"


def test_values_in_bounds_pass_through():
    assert recipe(None, pct_start=0.5, kind="pad", moms=[0.9, 0.8, 0.9], rates={"stop": 0.1}, name="a") == "pad 0.5"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pct_start": 1.1}, "pct_start must be a number above 0 and below 1, got 1.1"),
        ({"pct_start": float("nan")}, "got nan"),
        ({"pct_start": "0.5"}, "got '0.5'"),
        ({"kind": "corp"}, "kind must be one of crop, pad, got 'corp'; did you mean 'crop'?"),
        ({"moms": [0.9, 2.0, 0.9]}, "got 2.0 at [1]"),
        ({"moms": [0.9]}, "with 3 entries"),
        ({"steps": 0}, "steps must be a whole number of at least 1 or null, got 0"),
        ({"steps": True}, "got True"),
        ({"rates": -1}, "got -1"),
    ],
)
def test_values_out_of_bounds_are_named(arguments, message):
    with pytest.raises(UserError) as refused:
        recipe(None, name="a", **arguments)
    assert message in str(refused.value)


def test_config_keys_are_the_keyword_arguments():
    with pytest.raises(UserError, match=r"sched.pct_strat is no key of sched; did you mean 'pct_start'\?"):
        check_arguments(recipe, {"pct_strat": 0.5, "name": "a"}, "sched")
    with pytest.raises(UserError, match=r"sched\.model is no key"):
        check_arguments(recipe, {"model": 1, "name": "a"}, "sched")
    with pytest.raises(UserError, match=r"sched\.name is missing; it must be text"):
        check_arguments(recipe, {}, "sched")
