"""What the functions of the user's must give that a config names in place of expkit's."""

from typing import Any

from expkit import trust
from expkit.build import Node, build, check_kind
from expkit.errors import UserError


def made(node: Node, *wired: object, group: str) -> Any:
    """What the function of a checked node gives.

    Raises UserError where a function of the user's gives something else than those of its `group`.
    """
    thing = build(node, *wired, group=group)
    if trust.is_users(str(node["_target_"])):
        check_kind(thing, *promised(group), node, group)
        if group == "model":
            check_layer_groups(thing, node)
    return thing


def promised(group: str) -> tuple[type, str]:
    """What the functions of a group give: its class, and in words."""
    if group == "data":
        from expkit.data.items import Data

        return Data, "an expkit.data.Data"
    if group == "augment":
        from expkit.augment import Transforms

        return Transforms, "expkit.augment.Transforms"
    if group == "model":
        from torch.nn import Module

        return Module, "a torch.nn.Module with layer_groups"
    if group == "optim":
        from expkit.optim.optimizer import Optimizer

        return Optimizer, "an expkit Optimizer"
    if group == "sched":
        return dict, "a dict of schedules"
    assert group == "trainer"
    from expkit.trainer.loop import Trainer

    return Trainer, "an expkit Trainer"


def check_layer_groups(model: Any, node: Node) -> None:
    """Refuse a user's model with parameters that no layer group trains, or that two do."""
    from expkit.model.classifier import check_groups

    target = node["_target_"]
    if not hasattr(model, "layer_groups"):
        what = promised("model")[1]
        raise UserError(f"model._target_: {target} must give {what}, got a {type(model).__name__}")
    try:
        check_groups(model)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"model._target_: the layer_groups of {target} must be expkit.model.classifier.LayerGroup(name, modules), "
            f"and hold each parameter once: {error}"
        ) from error


def check_has_body(model: Any, node: Node) -> None:
    """Refuse to precompute with a user's model whose head cannot be told from its body."""
    from expkit.model.classifier import Classifier

    if not isinstance(model, Classifier):
        raise UserError(
            f"model._target_: {node['_target_']} gives a {type(model).__name__}, but features can be "
            "precomputed only with an expkit.model.classifier.Classifier(body, pool, head, ...), which has its head by "
            "itself: give one, or train on images, such as with transfer=fine_tune"
        )
