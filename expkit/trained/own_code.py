"""The code of the user's own that a logged model needs, found without running any of it."""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from expkit import trust
from expkit.errors import UserError

LIBRARIES = ("expkit", "torch", "torchvision")
"""Packages that a config may name without being the user's own."""


def own_modules(served: Mapping[str, Any]) -> list[str]:
    """The modules of the user's own that `expkit.trained.description` names for a run.

    Raises UserError for one that is not trusted: a run's config may come from anyone, and code that goes along with a
    logged model is run wherever that is loaded.
    """
    names = set()
    for group in ("augment", "model"):
        target = str(served[group]["_target_"])
        name = target.partition(".")[0]
        if name not in LIBRARIES and not trust.is_users(target):
            raise UserError(trust.refusal(target, f"{group}._target_"))
        names.add(name)
    return sorted(names.difference(LIBRARIES))


def own_code(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """What modules need to be imported elsewhere: paths of code, which goes along, and requirements.

    Those are the modules `names` and all that their code imports; what is installed is a requirement.
    Raises UserError where one of `names` is not to be found.
    """
    code: list[str] = []
    requirements: list[str] = []
    known, waiting = {*LIBRARIES, *sys.stdlib_module_names}, [*names]
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        spec = find_spec(name)
        if spec is None:
            if name in names:
                raise UserError(f"the module {name} of the model is not found here, so its code cannot go along")
            continue  # an import that the module does without
        origin = Path(next(iter(spec.submodule_search_locations or ()), spec.origin or ""))
        if "site-packages" in origin.parts:
            requirements += [requirement(owner) for owner in packages_distributions().get(name, ())]
        else:
            code.append(str(origin))
            waiting += imported_by(origin)
    return code, requirements


def imported_by(code: Path) -> Iterator[str]:
    """The top-level modules that a module or package imports, wherever in its text."""
    for path in [code] if code.is_file() else code.rglob("*.py"):
        with suppress(SyntaxError, ValueError):  # of a file that is never imported, then
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module.partition(".")[0]


def requirement(name: str) -> str:
    """The version of a package as an index knows it: `2.14.1` of torch `2.14.1+cu130`, which only some indexes have."""
    return f"{name}=={version(name).partition('+')[0]}"
