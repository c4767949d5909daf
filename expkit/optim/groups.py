"""Layer groups as an optimizer sees them: which parameters decay, which are spared, and which layers are norms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Layers whose scale and shift are no weights: neither decayed nor frozen by default (batch and instance norms too)."""


class LayerGroup(Protocol):
    """Layers that share their hyperparameters."""

    @property
    def name(self) -> str:
        """What messages call the group."""

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Layers in no particular order, each parameter in one group only."""


class Layered(Protocol):
    """A model whose layers are sorted into groups, the earliest first and the head last."""

    @property
    def layer_groups(self) -> Sequence[LayerGroup]:
        """All groups; together they hold every parameter once."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As of any `nn.Module`."""


@dataclass(frozen=True)
class SplitGroup:
    """The parameters of one layer group by their names in the model, split by whether weight decay acts on them."""

    name: str
    decayed: dict[str, nn.Parameter]
    spared: dict[str, nn.Parameter]
    norms: tuple[nn.Module, ...]

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All parameters, in the order in which the optimizer holds them."""
        return self.decayed | self.spared


def split_groups(model: Layered, wd_bn_bias: bool) -> list[SplitGroup]:
    """Split each layer group of `model`; with `wd_bn_bias` everything decays."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [split_group(group, names, wd_bn_bias) for group in model.layer_groups]


def split_group(group: LayerGroup, names: dict[nn.Parameter, str], wd_bn_bias: bool) -> SplitGroup:
    """Sort the parameters of `group` into decayed ones and, unless `wd_bn_bias`, spared biases and norm parameters."""
    layers = [layer for module in group.modules for layer in module.modules()]
    norms = tuple(layer for layer in layers if isinstance(layer, NORMS))
    spare = set() if wd_bn_bias else {id(p) for layer in layers for p in bias_and_norm_parameters(layer)}
    parameters = {names[p]: p for module in group.modules for p in module.parameters()}
    return SplitGroup(
        name=group.name,
        decayed={name: p for name, p in parameters.items() if id(p) not in spare},
        spared={name: p for name, p in parameters.items() if id(p) in spare},
        norms=norms,
    )


def bias_and_norm_parameters(layer: nn.Module) -> list[nn.Parameter]:
    """What weight decay spares in one layer: all of a norm, the bias of any other."""
    if isinstance(layer, NORMS):
        return list(layer.parameters())
    bias = getattr(layer, "bias", None)
    return [bias] if isinstance(bias, nn.Parameter) else []
