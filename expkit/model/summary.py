"""What a model is made of, group by group."""

from dataclasses import dataclass

from torch import nn

from expkit.model.classifier import Classifier, LayerGroup
from expkit.model.head_only import HeadOnly


@dataclass(frozen=True)
class GroupSummary:
    """One layer group: its layers with parameters by name, and how many numbers it learns."""

    name: str
    layers: tuple[str, ...]
    parameters: int
    trainable: int
    """How many of the parameters are not frozen."""
    size: int
    """Bytes that parameters and buffers take."""


def summary(model: Classifier | HeadOnly) -> list[GroupSummary]:
    """One row for each layer group of `model`, earliest first."""
    return [group_summary(model, group) for group in model.layer_groups]


def group_summary(model: nn.Module, group: LayerGroup) -> GroupSummary:
    """The row of one group."""
    parameters = list(group.parameters())
    buffers = [buffer for module in group.modules for buffer in module.buffers()]
    return GroupSummary(
        name=group.name,
        layers=layer_names(model, group),
        parameters=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        size=sum(tensor.numel() * tensor.element_size() for tensor in [*parameters, *buffers]),
    )


def layer_names(model: nn.Module, group: LayerGroup) -> tuple[str, ...]:
    """The names in `model` of a group's modules that have parameters, and of parameters listed without their module."""
    modules = {module: name for name, module in model.named_modules()}
    parameters = {id(parameter): name for name, parameter in model.named_parameters()}
    names: list[str] = []
    for module in group.modules:
        found = [parameters[id(parameter)] for parameter in module.parameters()]
        names += [modules[module]] if found and module in modules else found
    return tuple(names)
