"""Layer groups as an optimizer sees them: which parameters decay, which are spared, and which layers are norms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from torch import nn

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""torch's own layers whose scale and shift are no weights: neither decayed nor frozen by default."""


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
    spare = set() if wd_bn_bias else spared_names(model)
    # What a group has goes out of `names`: a weight that layers of two groups share is the first one's.
    return [split_group(group, names, spare, wd_bn_bias) for group in model.layer_groups]


def split_group(group: LayerGroup, names: dict[nn.Parameter, str], named: set[str], wd_bn_bias: bool) -> SplitGroup:
    """Take the parameters of `group` out of `names`, sorted into decayed ones and, unless `wd_bn_bias`, spared ones.

    Spared are those of norms, those of layers with one dimension or none, such as scales, biases of any shape, and
    those `named`: what timm's `param_groups_weight_decay` spares, but for vectors that are no layer's and lie in the
    model itself. Those decay, as in fastai.
    """
    norms = tuple(layer for module in group.modules for layer in module.modules() if is_norm(layer))
    of_norms = {p for norm in norms for p in norm.parameters()}
    parameters = {names.pop(p): p for module in group.modules for p in module.parameters() if p in names}
    spared = {
        name: p
        for name, p in parameters.items()
        if not wd_bn_bias and (p in of_norms or is_small(name, p) or name in named)
    }
    decayed = {name: p for name, p in parameters.items() if name not in spared}
    return SplitGroup(group.name, decayed, spared, norms)


def is_small(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a bias, or at most a row of numbers of some layer."""
    return name.rpartition(".")[2] == "bias" or (parameter.ndim <= 1 and "." in name)


def is_norm(layer: nn.Module) -> bool:
    """Whether a layer normalizes: one of torch's, or one that is called so and holds a number a channel and no more."""
    if isinstance(layer, NORMS):
        return True
    own = list(layer.parameters())
    alone = own and len(own) == len(list(layer.parameters(recurse=False)))
    return bool(alone) and "norm" in type(layer).__name__.lower() and all(map(is_vector, own))


def is_vector(parameter: nn.Parameter) -> bool:
    """Whether a parameter is a row of numbers, however many dimensions of size 1 go with it."""
    return sum(size > 1 for size in parameter.shape) <= 1


def spared_names(model: Layered) -> set[str]:
    """The parameters that a network's own authors spare from weight decay, by timm's method `no_weight_decay`."""
    if not isinstance(model, nn.Module):
        return set()
    for prefix, module in (("", model), *model.named_children()):  # timm asks no deeper, where names would be others
        if callable(say := getattr(module, "no_weight_decay", None)):
            patterns = [f"{prefix}.{pattern}" if prefix else pattern for pattern in say()]
            return {name for name, _ in model.named_parameters() if any(fnmatchcase(name, one) for one in patterns)}
    return set()
