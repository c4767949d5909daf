"""Batch norms folded into the convolutions before them: in eval mode both are one linear map.

torch does the sums (Jacob et al. 2018, arXiv:1712.05877, section 3.2). Its own search for pairs knows the layers of
torch alone, and fails where a network cannot be traced; here only what a trace shows to be a pair is folded.
"""

from collections import Counter
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

PLAIN = ("torch.nn.modules.conv.Conv2d", "timm.layers.conv2d_same.Conv2dSame")
"""Convolutions that are linear in their weight and bias; others, as timm's standardized ones, are not."""
NORM = "torch.nn.modules.batchnorm.BatchNorm2d"
NORM_ACT = "timm.layers.norm_act.BatchNormAct2d"


class Tracer(fx.Tracer):
    """Looks into every module but convolutions and batch norms, whatever library they come from."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step of the trace."""
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


def fold(network: nn.Module) -> int:
    """Fold batch norms of a network, in place, and say how many; it is in eval mode from then on.

    None is folded where the network cannot be traced, because its steps depend on its input.
    """
    network.eval()
    pairs = foldable(network)
    for conv_name, norm_name in pairs:
        norm = network.get_submodule(norm_name)
        absorb(network.get_submodule(conv_name), norm)
        replace(network, norm_name, what_follows(norm))
    return len(pairs)


def foldable(network: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution and batch norm where all that leaves the one enters the other, and nothing else does.

    Both are called once, under one name, and nothing else reads or shares their parameters.
    """
    try:
        graph = Tracer().trace(network)
    except Exception:  # the network's own code is run on symbols, and fails in any way it likes
        return []
    called = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    shared = Counter(id(one) for _, one in network.named_parameters(remove_duplicate=False))
    found = []
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if isinstance(source, fx.Node) and source.op == "call_module" and list(source.users) == [node]:
            names = str(source.target), str(node.target)
            alone = all(called[name] == 1 and name not in read for name in names)
            pair = network.get_submodule(names[0]), network.get_submodule(names[1])
            tied = any(shared[id(one)] > 1 for module in pair for one in module.parameters())
            if alone and not tied and folds(*pair):
                found.append(names)
    return found


def folds(conv: nn.Module, norm: nn.Module) -> bool:
    """Whether these are modules of the known kinds, and the norm uses running statistics."""
    kinds = kind(conv) in PLAIN and kind(norm) in (NORM, NORM_ACT)
    return kinds and norm.running_mean is not None and norm.running_var is not None


def kind(module: nn.Module) -> str:
    """The dotted name of a module's class."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


@torch.no_grad()
def absorb(conv: Any, norm: Any) -> None:
    """Give a convolution the effect of the batch norm after it."""
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


def what_follows(norm: Any) -> nn.Module:
    """What a batch norm does after normalizing: timm's kind drops and activates."""
    return nn.Sequential(norm.drop, norm.act) if kind(norm) == NORM_ACT else nn.Identity()


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of another."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
