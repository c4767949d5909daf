"""Which functions and classes a config may name.

A config is data that people share, so a dotted name in it is resolved only inside packages that are known to build
objects, and judged by the object found, not by the path that led to it (`expkit.data.os.system` is `posix.system`).
"""

import importlib
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from expkit.errors import UserError

GROUPS = ("augment", "data", "lr_finder", "model", "optim", "sched", "sweep", "task", "tracking", "trainer", "transfer")
TRUSTED = (
    *(f"expkit.{group}" for group in GROUPS),
    # The parts of torch and torchvision that build objects; others load and run code (torch.hub, torch.load).
    "torch.nn",
    "torch.optim",
    "torchvision.models",
    "torchvision.ops",
    "torchvision.transforms",
    "sklearn.datasets",
    "optuna.samplers",
    "optuna.pruners",
)


DATA_SETS = re.compile(r"(load|make|fetch)_(?!file$)\w+")
"""What a config may call in sklearn.datasets; others there write and delete files."""


def resolve(dotted: str, key: str) -> Callable[..., Any]:
    """The function or class that `dotted` names, for the config key `key`.

    Raises UserError where there is none, or where it is defined outside the trusted packages; a user trusts further
    packages with the environment variable EXPKIT_TRUST (names separated by commas).
    """
    if not is_trusted(dotted):
        raise UserError(refusal(dotted, key))
    found = find(dotted, key)
    if not (inspect.isfunction(found) or inspect.isclass(found) or inspect.isbuiltin(found)):
        raise UserError(f"{key} must name a function or a class, but {dotted} is of type {type(found).__name__}")
    home = f"{found.__module__}.{found.__qualname__}"
    if not is_trusted(home) or (home.startswith("sklearn.") and not DATA_SETS.fullmatch(found.__name__)):
        raise UserError(refusal(dotted, key, home))
    return found


def check_targets(node: object, key: str) -> None:
    """Resolve every `_target_` in `node`, however deep, so that a refused one is named before anything is built."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            resolve(str(node["_target_"]), f"{key}._target_")
        for name, value in node.items():
            check_targets(value, f"{key}.{name}")
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for number, value in enumerate(node):
            check_targets(value, f"{key}[{number}]")


def is_trusted(dotted: str) -> bool:
    """Whether a dotted name lies in a trusted package."""
    extra = os.environ.get("EXPKIT_TRUST", "").split(",")
    packages = (*TRUSTED, *(name.strip() for name in extra if name.strip()))
    return any(dotted.startswith(f"{package}.") for package in packages)


def find(dotted: str, key: str) -> Any:
    """Import the longest module in `dotted` and walk the rest by attribute."""
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            raise UserError(f"{key}: {name} needs the module {error.name!r}, which is not installed") from error
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                raise UserError(f"{key}: {name} has no {attribute!r}, so {dotted} names nothing; check its spelling")
            found = getattr(found, attribute)
        return found
    raise UserError(f"{key}: there is no module {parts[0]!r} for {dotted}; check its spelling or install it")


def refusal(dotted: str, key: str, home: str | None = None) -> str:
    """The message for a name outside the trusted packages."""
    outside = [package for package in TRUSTED if not package.startswith("expkit.")]
    package = (home or dotted).split(".")[0]
    consent = "" if package == "expkit" else f"; if you trust it, run with EXPKIT_TRUST={package}"
    return (
        f"{key}: {dotted}{f' is {home}, which' if home else ''} is nothing that a config may name: "
        f"that is expkit's own groups ({', '.join(GROUPS)}) and {', '.join(outside)}{consent}"
    )
