import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import pytest
from annotated_types import Len

from expkit.check import Count, Fraction, Portion, Positive, check_arguments, checked, nearest
from expkit.errors import UserError, first_ten


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
        (
            {"name": 2024},
            "name must be text, got 2024; a name that looks like one stands between quotes: 'name=\"2024\"'",
        ),
        ({"name": True}, "'name=\"true\"'"),
    ],
)
def test_values_out_of_bounds_are_named(arguments, message):
    with pytest.raises(UserError) as refused:
        recipe(None, **{"name": "a", **arguments})
    assert message in str(refused.value)


def test_config_keys_are_the_keyword_arguments():
    with pytest.raises(UserError, match=r"sched.pct_strat is no key of sched; did you mean 'pct_start'\?"):
        check_arguments(recipe, {"pct_strat": 0.5, "name": "a"}, "sched")
    with pytest.raises(UserError, match=r"sched\.model is no key"):
        check_arguments(recipe, {"model": 1, "name": "a"}, "sched")
    with pytest.raises(UserError, match=r"sched\.name is missing; it must be text"):
        check_arguments(recipe, {}, "sched")


def test_the_nearest_name_is_found_whatever_its_case():
    assert nearest("adamw", ["Adam", "AdamW"]) == "did you mean 'AdamW'?"
    assert nearest("RMSPROP", ["Rprop", "RMSprop"]) == "did you mean 'RMSprop'?"
    assert nearest("TRIAN", ["train"]) == "did you mean 'train'?"


def test_the_nearest_of_many_names_takes_no_minutes_and_no_pages():
    known = [f"{letter}{number:06d}" for letter in "abcdefgh" for number in range(25_000)]
    began = time.process_time()
    assert nearest("b00123x", known).startswith("did you mean 'b0")
    assert nearest("zebra", known).endswith(f"{known[39]} and 199960 more")
    nearest("x" * 1_000_000, known)
    assert time.process_time() - began < 3


def test_only_ten_problems_are_put_into_words():
    made = (f"row {row}" for row in range(200_000))
    assert first_ten(made, 200_000).endswith("row 9\n  ... and 199990 more")
    assert next(made) == "row 10"
    assert first_ten(str(n) for n in range(10)).endswith("9")
