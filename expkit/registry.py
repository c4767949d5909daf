"""The functions that a config may name: each is entered where it is defined, and nothing else of expkit is found."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ENTERED: dict[str, dict[str, Callable[..., Any]]] = {}
"""Group -> name -> function, for the modules that are imported so far."""


def entered(function: F) -> F:
    """Let configs name a function of expkit, as `expkit.<group>.<name>`; functions of others stay what they are."""
    package, _, rest = function.__module__.partition(".")
    if package == "expkit":
        ENTERED.setdefault(rest.split(".")[0], {})[function.__name__] = function
    return function
