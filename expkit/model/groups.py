"""Layer groups of a body: which of its layers train alike."""

from collections.abc import Callable, Iterator, Mapping

from torch import nn

from expkit.model.classifier import LayerGroup


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
    middle = (len(set(depth.values())) + 1) // 2
    boundary = sorted(set(depth.values()))[middle - 1]
    early = tuple(parts(body, "", lambda name: depth[name] <= boundary))
    late = tuple(parts(body, "", lambda name: depth[name] > boundary))
    return [LayerGroup(name, modules) for name, modules in (("early", early), ("late", late)) if modules]


def parts(module: nn.Module, prefix: str, wanted: Callable[[str], bool]) -> Iterator[nn.Module]:
    """The largest modules at or below `module` whose parameters are all wanted, by their name from the top."""
    found = [wanted(prefix + name) for name, _ in module.named_parameters()]
    if found and all(found):
        yield module
    elif any(found):
        own = [parameter for name, parameter in module.named_parameters(recurse=False) if wanted(prefix + name)]
        if own:
            yield nn.ParameterList(own)
        for name, child in module.named_children():
            yield from parts(child, f"{prefix}{name}.", wanted)
