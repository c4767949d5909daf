"""The composed config, checked before anything is built."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import MinLen

from expkit import trust
from expkit.check import Count, NotNegativeInt, check_arguments, defaults
from expkit.config.lr_find import check_lr_find
from expkit.errors import UserError

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent
"""The folder that holds conf/ and sweeps/: the package in an installed wheel, the top of a checkout otherwise."""

Node = Mapping[str, Any]
"""A config node: `_target_` names a function, the other keys are its keyword arguments."""

BETTER = {
    "train_loss": "min",
    "valid_loss": "min",
    "valid_error_rate": "min",
    "valid_accuracy": "max",
    "valid_f1": "max",
}
"""The metrics of an epoch and the direction in which each gets better."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The number a run is judged by, its direction, and whether the best or the last epoch counts."""

    metric: Literal["train_loss", "valid_loss", "valid_error_rate", "valid_accuracy", "valid_f1"]
    mode: Literal["max", "min"]
    at: Literal["best", "last"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """One composed experiment as plain Python values: the scalars of the top level and a node for each group."""

    seed: NotNegativeInt
    epochs: Count | Literal["auto"]
    batch_size: Count
    image_size: Count
    num_workers: Literal["auto"] | NotNegativeInt
    name: Annotated[str, MinLen(1)] | None = None
    objective: Node
    lr_find: Node
    data: Node
    augment: Node
    model: Node
    optim: Node
    sched: Node
    transfer: Node
    trainer: Node
    tracking: Node
    task: Node


KEYS = tuple(field.name for field in fields(Config))
"""The keys of the whole config."""
GROUPS = [field.name for field in fields(Config) if field.type is Node and field.name not in ("objective", "lr_find")]

HANDED = {
    "data": (),
    "augment": ("image_size",),
    "model": ("classes",),
    "optim": ("model",),
    "sched": ("peaks", "epochs"),
    "transfer": ("epochs",),
    "trainer": ("model", "optimizer", "classes", "seed", "image_size"),
    "tracking": ("folder",),
    "task": ("config", "folder"),
}
"""What the wiring hands to the functions of each group by position; to a model also `features, body_groups` if it takes
these, for its head alone."""


def check_config(values: Node) -> Config:
    """Refuse unknown keys, impossible values and untrusted targets; nothing is built and no data touched.

    Raises UserError that names the key with its dotted path.
    """
    check_arguments(Config, values, "")
    check_arguments(Objective, values["objective"], "objective")
    metric, mode = values["objective"]["metric"], values["objective"]["mode"]
    if mode != BETTER[metric]:
        raise UserError(f"objective.mode must be {BETTER[metric]} for {metric}, got {mode!r}")
    check_lr_find(values["lr_find"])
    for group in GROUPS:
        check_node(group, values[group])
    return Config(**values)


def filled(node: Node, like: Callable[..., object] | None = None) -> dict[str, Any]:
    """A checked node with the keys that it leaves out, at the defaults of the function that it names.

    A function of the user's need not have all keys of expkit's: the defaults of `like` stand for those.
    The config itself keeps nodes as they were given, since that is what is written, compared, and hashed into keys.
    """
    own = defaults(trust.resolve(str(node["_target_"]), "_target_"))
    return {**(defaults(like) if like else {}), **own, **node}


def check_node(group: str, node: Node, where: str | None = None) -> dict[str, Any]:
    """A node of a group with all its keys, checked against the signature of the function that it names.

    `where` it stands, if elsewhere.
    """
    advice = "" if where else f"; or choose one of expkit's with {group}=NAME"
    where = where or group
    if "_target_" not in node:
        raise UserError(f"{where} has no _target_; choose one with {group}=NAME, --help shows the names")
    target = str(node["_target_"])
    if target.startswith("expkit.") and not target.startswith(f"expkit.{group}."):
        raise UserError(f"{where}._target_: {target} belongs to another group; --help shows the choices of {group}")
    try:
        function = trust.resolve(target, f"{where}._target_", [f"expkit.{group}"])
    except UserError as error:
        raise UserError(f"{error}{advice}") from None
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    whole = check_arguments(function, arguments, where)
    if trust.is_users(target):
        check_handed(function, target, group, arguments, where)
    trust.check_targets(arguments, where)
    return {"_target_": target, **whole}


def check_handed(function: Callable[..., object], target: str, group: str, keys: Node, where: str) -> None:
    """Refuse a function of the user's that cannot be called as those of its group are."""
    if not takes(function, HANDED[group], keys):
        call = ", ".join([*HANDED[group], "*, ..."])
        raise UserError(
            f"{where}._target_: {target}{inspect.signature(function)} must be callable as {target}({call}): what "
            f"expkit hands to a function of {group} goes by position, and keys of the config come after the *"
        )


def takes(function: Callable[..., object], handed: tuple[str, ...], keys: Node) -> bool:
    """Whether a function can be called with so many arguments by position, and with these keys."""
    try:
        inspect.signature(function).bind(*handed, **keys)
    except TypeError:
        return False
    return True
