"""The source of a user's own functions and classes: what they compute changes with it, not with their names."""

import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

VERSIONED = frozenset({"expkit", "torch", "torchvision", "timm", "numpy", "PIL"}) | sys.stdlib_module_names
"""Packages whose code changes with a version only, which an identity names."""
INSTALLED = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")})
"""Where installed packages lie."""
DEPTH = 4
"""How deep things that hold others are looked into."""


def source_of(*things: Any) -> str | None:
    """A hash of the user's own code behind functions, classes and objects; None where all of it is versioned.

    Theirs are the modules that define these things, and all that is not installed and reached from there: each with
    the whole package that it lies in.
    """
    found: dict[str, ModuleType] = {}
    passed: set[str] = set()
    waiting = [(module, True) for thing in things for module in modules_of(thing, DEPTH)]
    while waiting:
        module, given = waiting.pop()
        if module.__name__ in found or (module.__name__ in passed and not given):
            continue
        passed.add(module.__name__)
        if is_own(module, given):
            found[module.__name__] = module
            waiting.extend((other, False) for value in vars(module).values() for other in modules_of(value, 1))
    files = sorted({path.resolve() for module in found.values() for path in files_of(module)})
    if not files:
        return None
    digest = blake2b(digest_size=16)
    for path in files:
        digest.update(content_of(path))
    return digest.hexdigest()


@cache
def content_of(path: Path) -> bytes:
    """The hash of a source file at the first look: what a process has imported stays when the file changes."""
    return blake2b(path.read_bytes(), digest_size=16).digest()


def is_own(module: ModuleType, given: bool) -> bool:
    """Whether a module is the user's; one `given` also where it is installed, since nothing else names its version."""
    file = getattr(module, "__file__", None)
    if not file or module.__name__.partition(".")[0] in VERSIONED:
        return False
    return given or not any(Path(file).resolve().is_relative_to(place) for place in INSTALLED)


def modules_of(thing: Any, depth: int) -> Iterator[ModuleType]:
    """The modules that define a thing and, `depth` steps deep, what it holds: of a `partial`, a closure, an object."""
    if isinstance(thing, ModuleType):
        yield thing
        return
    for part in inspect.getmro(thing) if inspect.isclass(thing) else (thing, type(thing)):
        name = getattr(part, "__module__", None)
        if isinstance(name, str) and name in sys.modules:
            yield sys.modules[name]
    if depth > 1:
        for part in held_by(thing):
            yield from modules_of(part, depth - 1)


def held_by(thing: Any) -> Iterable[Any]:
    """What a thing holds."""
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if cell != type(cell)()]
    if isinstance(thing, Mapping):
        return list(thing.values())
    if isinstance(thing, list | tuple | set):
        return list(thing)
    return [] if inspect.isclass(thing) else list(getattr(thing, "__dict__", {}).values())


def files_of(module: ModuleType) -> Iterator[Path]:
    """The source of a module, or all of the package that it lies in."""
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    for folder in getattr(top, "__path__", ()):
        yield from Path(folder).rglob("*.py")
    if not hasattr(top, "__path__") and module.__file__:
        yield Path(module.__file__)
