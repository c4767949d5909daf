"""The call that a config node describes: `_target_` names a function, the other keys are its keyword arguments."""

from collections.abc import Callable, Mapping
from typing import Any

from expkit import trust
from expkit.errors import UserError

Node = Mapping[str, Any]
"""A config node."""


def keys_of(node: Node) -> dict[str, Any]:
    """The keyword arguments in a node."""
    return {key: value for key, value in node.items() if key != "_target_"}


def function_of(node: Node, group: str) -> Callable[..., Any]:
    """The function of a group, or of the user's, that a node names."""
    return trust.resolve(str(node["_target_"]), "_target_", [f"expkit.{group}"])


def build(node: Node, *wired: object, group: str) -> Any:
    """Call the function that a checked node of a group names, with what the wiring hands over and the node's keys."""
    return function_of(node, group)(*wired, **keys_of(node))


def check_kind(made: object, kind: type, what: str, node: Node, group: str) -> None:
    """Refuse what a function of the user's gives where it is no `kind`; `what` says in words what the group gives."""
    if not isinstance(made, kind):
        raise UserError(f"{group}._target_: {node['_target_']} must give {what}, got a {type(made).__name__}")
