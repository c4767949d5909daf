"""Layer groups of a body: which of its layers train alike."""

from collections.abc import Mapping

from torch import nn

from expkit.model.classifier import LayerGroup
from expkit.model.named_groups import parts


def resnet_groups(body: nn.Sequential) -> list[LayerGroup]:
    """The two layer groups of a ResNet's body: the children up to layer2, and layer3 with layer4."""
    late = ("layer3", "layer4")
    layers = dict(body.named_children())
    return [
        LayerGroup("stem to layer2", tuple(layer for child, layer in layers.items() if child not in late)),
        LayerGroup("layer3 and layer4", tuple(layers[child] for child in late)),
    ]


def early_and_late(body: nn.Module, depth: Mapping[str, int]) -> list[LayerGroup]:
    """The body in two layer groups, given each parameter's depth: the first half of the depths, and the rest.

    An odd one is early, so that a ResNet of stem and four layers splits after layer2. Parameters that hang on a module
    with layers of both groups, such as the position embedding of a transformer, are gathered in a ParameterList.
    """
    depths = sorted(set(depth.values()))
    boundary = depths[(len(depths) + 1) // 2 - 1]
    members = {
        "early": {p for name, p in body.named_parameters() if depth[name] <= boundary},
        "late": {p for name, p in body.named_parameters() if depth[name] > boundary},
    }
    return [LayerGroup(name, tuple(parts(body, found))) for name, found in members.items() if found]
