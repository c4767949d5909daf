"""Layer groups that a config names."""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from expkit.check import nearest
from expkit.errors import UserError, first_ten
from expkit.model.classifier import LayerGroup
from expkit.words import many


def named_groups(body: nn.Module, named: Mapping[str, Sequence[str]]) -> list[LayerGroup]:
    """Layer groups by name, earliest first, each given as names of layers of `body`, with all that lies below them.

    So layer1 has layer1.0, but not layer10. Parameters may be named as well, such as the cls_token of a transformer.

    Raises UserError for names of nothing, for parameters in no group or in two, and for a group called "head".
    """
    if "head" in named:
        raise UserError("model.groups has a group called head, which is what the classifier's own last group is called")
    check_layers(body, named)
    owners = {name: owners_of(name, named) for name, _ in body.named_parameters()}
    problems = [f"{name} is in {' and '.join(found) or 'none'}" for name, found in owners.items() if len(found) != 1]
    if problems:
        raise UserError(
            f"model.groups must have each layer in one group, but "
            f"{many(len(problems), 'parameter of the body is', 'parameters of the body are')} in none or in "
            f"several:\n{first_ten(problems)}"
        )
    members = {group: {p for name, p in body.named_parameters() if owners[name] == [group]} for group in named}
    return [LayerGroup(group, tuple(parts(body, found))) for group, found in members.items()]


def check_layers(body: nn.Module, named: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError for names that are no layer and no parameter of `body`, and for groups without parameters."""
    layers = [name for name, _ in [*body.named_modules(), *body.named_parameters()] if name]
    wrong = [
        f"{layer} of {group}: {nearest(layer, layers if '.' in layer else top_layers(body))}"
        for group, prefixes in named.items()
        for layer in prefixes
        if layer not in layers
    ]
    if wrong:
        raise UserError(
            f"model.groups names {many(len(wrong), 'layer', 'layers')} that the body has not:\n{first_ten(wrong)}"
        )
    trained = {group for name, _ in body.named_parameters() for group in owners_of(name, named)}
    idle = [group for group in named if group not in trained]
    if idle:
        raise UserError(f"model.groups: {', '.join(idle)} has no layer with parameters; leave it out or add layers")


def owners_of(parameter: str, named: Mapping[str, Sequence[str]]) -> list[str]:
    """The groups that have a parameter: by its own name or that of a layer above it."""
    return [
        group
        for group, prefixes in named.items()
        if any(parameter == prefix or parameter.startswith(f"{prefix}.") for prefix in prefixes)
    ]


def top_layers(body: nn.Module) -> list[str]:
    """The outermost layers and parameters of `body`, as far as there is anything to train in them."""
    return list(dict.fromkeys(name.split(".")[0] for name, _ in body.named_parameters()))


def parts(module: nn.Module, wanted: set[nn.Parameter]) -> Iterator[nn.Module]:
    """The largest modules at or below `module` of whose parameters all are wanted; single ones in a ParameterList.

    What is found is taken out of `wanted`, so that layers which two modules share are found once.
    """
    found = set(module.parameters())
    if found and found <= wanted:
        wanted -= found
        yield module
    elif found & wanted:
        own = [parameter for parameter in module.parameters(recurse=False) if parameter in wanted]
        if own:
            wanted -= set(own)
            yield nn.ParameterList(own)
        for child in module.children():
            yield from parts(child, wanted)
