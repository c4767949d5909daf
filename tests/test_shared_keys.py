import inspect
from typing import Annotated, Unpack

import pytest
from annotated_types import Ge
from pydantic import Field
from typing_extensions import TypedDict

from expkit.check import check_arguments, checked
from expkit.errors import UserError

Rate = Annotated[float, Ge(0), Field(description="the step.")]


class Decay(TypedDict, total=False):
    wd: Annotated[float, Ge(0), Field(0.01, description="how fast weights shrink.")]
    spare: Annotated[str | None, Field(None, description="what does not.")]


def plain(model: "NotImported", *, lr: Rate = 0.1, twice: bool = False, **decay: Unpack[Decay]) -> dict:  # noqa: F821
    """Step.

    Args:
        twice: two steps.

    Raises UserError.
    """
    return {"lr": lr, **decay}


step = checked(plain)


def test_shared_keys_stand_in_the_signature_with_their_defaults():
    found = inspect.signature(step).parameters
    assert list(found) == ["model", "lr", "twice", "wd", "spare"]
    assert {name: one.default for name, one in found.items() if name != "model"} == {
        "lr": 0.1,
        "twice": False,
        "wd": 0.01,
        "spare": None,
    }
    assert [found[name].annotation for name in ("model", "lr", "wd", "spare")] == [
        "NotImported",
        Annotated[float, Ge(0)],
        Annotated[float, Ge(0)],
        str | None,
    ]
    assert {one.kind for name, one in found.items() if name != "model"} == {inspect.Parameter.KEYWORD_ONLY}


def test_shared_keys_reach_the_function_with_their_defaults():
    assert step(None) == {"lr": 0.1, "wd": 0.01, "spare": None}
    assert step(None, spare="norms", lr=1.0) == {"lr": 1.0, "wd": 0.01, "spare": "norms"}


def test_shared_keys_are_checked_like_others():
    with pytest.raises(UserError, match=r"wd must be a number of at least 0, got -1"):
        step(None, wd=-1.0)
    with pytest.raises(UserError, match=r"optim.spar is no key of optim; did you mean 'spare'\?"):
        check_arguments(step, {"spar": "norms"}, "optim")
    with pytest.raises(TypeError, match="'spar'"):
        step(None, spar="norms")


def test_the_docstring_says_what_each_means():
    assert inspect.getdoc(step) == (
        "Step.\n\nArgs:\n    twice: two steps.\n    lr: the step.\n    wd: how fast weights shrink.\n"
        "    spare: what does not.\n\nRaises UserError."
    )


def test_a_docstring_without_arguments_gets_them():
    def only(*, lr: Rate = 0.1) -> None:
        """Step.

        Raises UserError.
        """

    assert inspect.getdoc(checked(only)) == "Step.\n\nArgs:\n    lr: the step.\n\nRaises UserError."
