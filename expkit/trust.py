"""Which functions and classes a config may name.

A config is data that people share, so a dotted name in it is looked up among the functions that expkit enters for that
(`expkit.registry`) and an exact list of other ones, and judged by the object found. A user adds packages with the
environment variable EXPKIT_TRUST (names separated by commas), never from a config.
"""

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from expkit.check import nearest
from expkit.errors import UserError
from expkit.registry import ENTERED

MODULES = {
    **{
        f"expkit.{group}": group
        for group in ("augment", "data", "model", "optim", "sched", "task", "tracking", "trainer", "transfer")
    },
    "expkit.lr_finder": "lr_finder",
    "expkit.sweep.conditions": "sweep",
}
"""The modules of expkit whose entered functions a config may name, and how the registry calls each."""

SAMPLE_DATA = (
    "load_breast_cancer",
    "load_diabetes",
    "load_digits",
    "load_iris",
    "load_linnerud",
    "load_sample_images",
    "load_wine",
)
"""The loaders of scikit-learn that read nothing but what ships with it."""


def models(module: ModuleType) -> Iterable[Any]:
    """torchvision's builders of models."""
    return [module.get_model_builder(name) for name in module.list_models()]


def public(module: ModuleType) -> Iterable[Any]:
    """What a module says it offers."""
    return [getattr(module, name) for name in module.__all__]


def kin(*bases: str) -> Callable[[ModuleType], Iterable[Any]]:
    """The classes of a module that descend from one of these of its own."""

    def pick(module: ModuleType) -> Iterable[Any]:
        roots = tuple(getattr(module, base) for base in bases)
        return [found for found in vars(module).values() if inspect.isclass(found) and issubclass(found, roots)]

    return pick


def torchvision_transforms(module: ModuleType) -> Iterable[Any]:
    """The classes of torchvision's transforms."""
    home = "torchvision.transforms"
    return [found for found in vars(module).values() if inspect.isclass(found) and found.__module__.startswith(home)]


FOREIGN: dict[str, Callable[[ModuleType], Iterable[Any]]] = {
    "torch.nn": kin("Module"),
    "torch.optim": kin("Optimizer"),
    "torch.optim.lr_scheduler": kin("LRScheduler"),
    "torchvision.models": models,
    "torchvision.ops": public,
    "torchvision.transforms": torchvision_transforms,
    "torchvision.transforms.v2": torchvision_transforms,
    "sklearn.datasets": lambda module: [getattr(module, name) for name in SAMPLE_DATA],
    "optuna.samplers": kin("BaseSampler"),
    "optuna.pruners": kin("BasePruner"),
}
"""Module -> what of it a config may name."""

USERS: list[str] | None = None
"""The packages that the user trusts, once `read_environment` has settled them."""


def read_environment() -> None:
    """Settle what the user trusts, before any config is read that could change the environment."""
    global USERS
    USERS = from_environment()


def from_environment() -> list[str]:
    """The packages in EXPKIT_TRUST."""
    return [name.strip() for name in os.environ.get("EXPKIT_TRUST", "").split(",") if name.strip()]


def is_users(dotted: str) -> bool:
    """Whether a dotted name lies in a package that the user trusts."""
    packages = from_environment() if USERS is None else USERS
    return any(dotted.startswith(f"{package}.") for package in packages)


def resolve(dotted: str, key: str, places: Sequence[str] | None = None) -> Callable[..., Any]:
    """The function or class that `dotted` names, for the config key `key`.

    `places` are the modules that it may come from beside the user's own, such as expkit.sched or optuna.samplers; None:
    all that are known. Raises UserError where there is none, or it is nothing that a config may name there.
    """
    if is_users(dotted):
        return of_user(dotted, key)
    module, _, name = dotted.rpartition(".")
    # The longest known module in front: torch.nn.modules.conv.Conv2d lies below torch.nn.
    home = max((one for one in (*MODULES, *FOREIGN) if dotted.startswith(f"{one}.")), key=len, default=None)
    if home is None:
        raise UserError(refusal(dotted, key))
    if places is not None and home not in places:
        raise UserError(misplaced(dotted, key, places))
    if home in MODULES:
        entered = functions_of(home)
        if module == home and name in entered:
            return entered[name]
        raise UserError(
            f"{key}: {home} has no {dotted.removeprefix(f'{home}.')!r} for configs; {nearest(name, entered)}"
        )
    found: Callable[..., Any] = find(dotted, key, home)
    if not any(found is one for one in FOREIGN[home](known(home, key))):
        raise UserError(refusal(dotted, key))
    return found


@functools.cache
def functions_of(module: str) -> Mapping[str, Callable[..., Any]]:
    """The functions of a module of expkit that a config may name."""
    found = vars(known(module))
    return {name: one for name, one in ENTERED[MODULES[module]].items() if found.get(name) is one}


def known(module: str, key: str = "") -> ModuleType:
    """A module by its name. Raises UserError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"{key}: {module} needs the module {error.name!r}, which is not installed") from error


def of_user(dotted: str, key: str) -> Callable[..., Any]:
    """What a dotted name of a trusted package names, if that is a function or class of the package."""
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            raise UserError(f"{key}: {name} needs the module {error.name!r}, which is not installed") from error
        except Exception as error:  # whatever a user's module may raise
            raise UserError(f"{key}: {name} cannot be imported: {type(error).__name__}: {error}") from error
        found = find(dotted, key, name)
        if not (inspect.isfunction(found) or inspect.isclass(found) or inspect.isbuiltin(found)):
            raise UserError(f"{key} must name a function or a class, but {dotted} is of type {type(found).__name__}")
        home = f"{found.__module__}.{found.__qualname__}"
        if not is_users(home):
            raise UserError(refusal(dotted, key, home))
        return found
    raise UserError(f"{key}: there is no module {parts[0]!r} for {dotted}; check its spelling or install it")


def find(dotted: str, key: str, module: str) -> Any:
    """Walk from a module by attribute. Raises UserError where the name ends."""
    found: Any = known(module, key)
    for attribute in dotted.removeprefix(f"{module}.").split("."):
        if not hasattr(found, attribute):
            raise UserError(f"{key}: {module} has no {attribute!r}, so {dotted} names nothing; check its spelling")
        found = getattr(found, attribute)
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


def refusal(dotted: str, key: str, home: str | None = None) -> str:
    """The message for a name that a config may not name."""
    package = (home or dotted).split(".")[0]
    libraries = {one.split(".")[0] for one in FOREIGN}
    consent = (
        "" if package in ("expkit", "hydra", *libraries) else f"; if you trust it, run with EXPKIT_TRUST={package}"
    )
    what = f"{dotted} is {home}, which" if home else dotted
    return (
        f"{key}: {what} is nothing that a config may name (functions of expkit's choices, and certain ones of "
        f"{', '.join(sorted(libraries))}){consent}"
    )


def misplaced(dotted: str, key: str, places: Sequence[str]) -> str:
    """The message for a known name in the place of another."""
    what = f"names a function of {' or '.join(places)}, or one" if places else "names a function"
    return f"{key}: {dotted} does not do here; this {what} of a package of yours (EXPKIT_TRUST)"
