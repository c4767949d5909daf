"""An optimizer's state as tensors and plain values by the names of parameters, and back again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from expkit.errors import UserError, first_ten
from expkit.optim.groups import SplitGroup

SHAPED = ("torch.optim.", "expkit.")
"""Where optimizers come from that are known to keep averages of their parameters' shapes, but for Adafactor's."""


def saved_state(optimizer: torch.optim.Optimizer, split: Sequence[SplitGroup]) -> dict[str, Any]:
    """Kind of optimizer, parameters of each layer group, and the state of each parameter, by name."""
    parameters = all_parameters(split)
    return {
        "kind": type(optimizer).__name__,
        "groups": {group.name: list(group.parameters) for group in split},
        "state": {name: dict(optimizer.state[p]) for name, p in parameters.items() if p in optimizer.state},
    }


def load_state(optimizer: torch.optim.Optimizer, split: Sequence[SplitGroup], saved: Mapping[str, Any]) -> None:
    """Put back what `saved_state` gave, on the device of each parameter, each tensor in the memory layout that it had.

    Raises UserError, listing the differences, where the optimizer or its groups are others than those saved.
    """
    kind = type(optimizer).__name__
    if saved["kind"] != kind:
        raise UserError(f"the saved state is of the optimizer {saved['kind']}, not {kind}; set optim to what it was")
    if changes := differences(saved["groups"], split):
        raise UserError("the layer groups changed since the optimizer's state was saved:\n" + first_ten(changes))
    parameters = all_parameters(split)
    check_shapes(optimizer, parameters, saved["state"])
    numbers = {id(p): number for number, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    state = {numbers[id(parameters[name])]: values for name, values in saved["state"].items()}
    groups = list(optimizer.param_groups)
    # torch puts `step` where the optimizer wants it, but replaces the dicts of the groups that others hold on to.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    optimizer.param_groups[:] = groups
    if optimizer.defaults.get("fused"):
        match_layouts(optimizer, parameters.values())


def check_shapes(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], state: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise UserError for averages that are not of the shape of their parameters, where the optimizer is known."""
    if isinstance(optimizer, torch.optim.Adafactor) or not type(optimizer).__module__.startswith(SHAPED):
        return
    for name, values in state.items():
        for key, value in values.items():
            wanted = parameters[name].shape
            if isinstance(value, Tensor) and value.ndim and value.shape != wanted:
                raise UserError(f"{key} of {name} is of the shape {tuple(value.shape)}, not {tuple(wanted)}")


def match_layouts(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Give averages the memory layout of their parameters, which may be another than when they were saved.

    Fused kernels on the CPU pair them number by number. For others a change of layout would change the last bits.
    """
    for parameter in parameters:
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                optimizer.state[parameter][key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def all_parameters(split: Sequence[SplitGroup]) -> dict[str, nn.Parameter]:
    """The parameters of all groups by name."""
    return {name: p for group in split for name, p in group.parameters.items()}


def differences(saved: Mapping[str, Sequence[str]], split: Sequence[SplitGroup]) -> list[str]:
    """How the groups at hand differ from the saved ones, one line each."""
    now = {group.name: list(group.parameters) for group in split}
    if list(saved) != list(now):
        return [f"saved groups: {', '.join(saved)}; groups now: {', '.join(now)}"]
    changes = []
    for name, before in saved.items():
        changes += [f"{name} had {gone}, which it has no more" for gone in before if gone not in now[name]]
        changes += [f"{name} has {new}, which it had not" for new in now[name] if new not in before]
    return changes
