"""From the arguments of a config function to an `Optimizer` with stock torch or an own rule inside."""

import inspect
from collections.abc import Callable, Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import torch

from expkit.errors import UserError
from expkit.optim.groups import Layered
from expkit.optim.optimizer import Group, Optimizer, Place
from expkit.optim.rules import Rule
from expkit.optim.values import TrainBN

Settings = Mapping[str, Any]

DECOUPLED = (torch.optim.AdamW, torch.optim.Adafactor, torch.optim.Muon)
"""Optimizers of torch whose weight decay is always decoupled."""
FORMS = {"fused", "foreach", "differentiable"}
"""Options of which each says in which form an optimizer computes."""


def at(key: str) -> Place:
    """A hyperparameter under a key of its own."""

    def write(group: Group, value: float) -> None:
        group[key] = value

    return Place(itemgetter(key), write)


def beta(slot: int) -> Place:
    """A hyperparameter that torch keeps as one of the two `betas`."""

    def read(group: Group) -> float:
        value: float = group["betas"][slot]
        return value

    def write(group: Group, value: float) -> None:
        first, second = group.get("betas", (0.0, 0.0))
        group["betas"] = (first, value) if slot else (value, second)

    return Place(read, write)


def adam_places() -> dict[str, Place]:
    """The hyperparameters of Adam and its kin but weight decay."""
    return {"lr": at("lr"), "mom": beta(0), "sqr_mom": beta(1), "eps": at("eps")}


def damped_momentum() -> Place:
    """The momentum of SGD whose dampening follows it, so that m = mom m + (1 - mom) g."""

    def write(group: Group, value: float) -> None:
        group["momentum"] = value
        group["dampening"] = value

    return Place(itemgetter("momentum"), write)


def stock(
    model: Layered,
    kind: Callable[..., torch.optim.Optimizer],
    places: Mapping[str, Place],
    options: Settings = MappingProxyType({}),
    *,
    decouple_wd: bool,
    wd_bn_bias: bool,
    train_bn: TrainBN,
    **values: Any,
) -> Optimizer:
    """An optimizer of torch in its fastest form; `places` are those of all hyperparameters but weight decay.

    `options` go to torch as they are, `values` are the hyperparameters for each layer group.
    Raises UserError where the optimizer cannot decay weights as asked.
    """
    wd, decay_options = weight_decay(kind, decouple_wd)
    known = arguments(kind)

    def build(groups: list[Group]) -> torch.optim.Optimizer:
        # The constructor checks defaults that no group keeps; the values of the first group are as good as any.
        defaults = {key: value for key, value in groups[0].items() if key in known and key != "params"}
        if options.get("nesterov"):
            defaults["momentum"] = 0.9  # which may be 0 in the groups, or begin there
        fast = {} if FORMS & options.keys() else fastest(model, kind)
        return made(kind, groups, {**defaults, **fast, **decay_options, **options})

    needed = {
        decay_weights: wd == "wd",
        match_layouts: "fused" in known,
        start_momentum_at_zero: kind in (torch.optim.SGD, torch.optim.RMSprop),
    }
    return Optimizer(
        model,
        build,
        {**places, "wd": at(wd)},
        values,
        before_step=[prepare for prepare, is_needed in needed.items() if is_needed],
        wd_bn_bias=wd_bn_bias,
        train_bn=train_bn,
    )


def made(kind: Callable[..., torch.optim.Optimizer], groups: list[Group], arguments: Settings) -> torch.optim.Optimizer:
    """The optimizer itself. Raises UserError where torch refuses the arguments, or parameters of the model."""
    try:
        return kind(groups, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        name = getattr(kind, "__name__", kind)
        raise UserError(
            f"torch.optim.{name} refused optim.options or the parameters of the model: {error}; change optim.options, "
            "or choose another optim"
        ) from error


def weight_decay(kind: Callable[..., torch.optim.Optimizer], decouple: bool) -> tuple[str, Settings]:
    """Under which key of its groups an optimizer keeps weight decay, and what its constructor needs for it.

    torch's own key is `weight_decay`; "wd" means that `decay_weights` does it in front of each step.
    """
    known = arguments(kind)
    if "decoupled_weight_decay" in known:
        return "weight_decay", {"decoupled_weight_decay": decouple}
    if kind in DECOUPLED and decouple:
        return "weight_decay", {}
    if kind in DECOUPLED or (not decouple and "weight_decay" not in known):
        name = getattr(kind, "__name__", kind)
        raise UserError(f"torch.optim.{name} has no L2 weight decay; set optim.decouple_wd=true")
    return ("wd", {"weight_decay": 0.0} if "weight_decay" in known else {}) if decouple else ("weight_decay", {})


def own(
    model: Layered, rule: type[Rule], *, decouple_wd: bool, wd_bn_bias: bool, train_bn: TrainBN, **values: Any
) -> Optimizer:
    """An optimizer with one of our own update rules, which keep each hyperparameter, of `values`, under its name."""

    def build(groups: list[Group]) -> torch.optim.Optimizer:
        return rule(groups, decouple_wd=decouple_wd)

    places = {name: at(name) for name in values}
    return Optimizer(model, build, places, values, wd_bn_bias=wd_bn_bias, train_bn=train_bn)


def fastest(model: Layered, kind: Callable[..., torch.optim.Optimizer]) -> dict[str, bool]:
    """The switch for one kernel a group where torch has it for the device at hand, else for multi-tensor operations.

    On the CPU fused AdamW takes a quarter of the time of its multi-tensor form, Adagrad a twentieth.
    """
    known = arguments(kind)
    fits = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for _, p in model.named_parameters())
    if "fused" in known and fits:
        return {"fused": True}
    return {"foreach": True} if "foreach" in known else {}


def arguments(kind: Callable[..., torch.optim.Optimizer]) -> Mapping[str, inspect.Parameter]:
    """What the constructor of a torch optimizer takes."""
    return inspect.signature(kind).parameters


@torch.no_grad()
def decay_weights(optimizer: torch.optim.Optimizer) -> None:
    """Shrink weights by lr wd before a step (Loshchilov and Hutter, Decoupled weight decay regularization, 2019)."""
    for group in optimizer.param_groups:
        params = [p for p in group["params"] if p.grad is not None] if group["wd"] else []
        if params:
            torch._foreach_mul_(params, 1 - group["lr"] * group["wd"])


def match_layouts(optimizer: torch.optim.Optimizer) -> None:
    """Give gradients the memory layout of their parameters: fused kernels on the CPU pair them number by number."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None and p.grad.stride() != p.stride():
                p.grad = torch.empty_like(p).copy_(p.grad)


def start_momentum_at_zero(optimizer: torch.optim.Optimizer) -> None:
    """Begin averages of gradients at 0 where momentum, which may have been 0, is not.

    torch's SGD begins with the first gradient, whatever the dampening, and its RMSprop begins at its first step alone.
    It also lets layers that were thawed since share a fused step with those that were not.
    """
    begins_by_itself = isinstance(optimizer, torch.optim.RMSprop)
    for group in optimizer.param_groups:
        for p in group["params"] if group["momentum"] else []:
            state = optimizer.state[p]
            if p.grad is not None and state.get("momentum_buffer") is None and (state or not begins_by_itself):
                state["momentum_buffer"] = torch.zeros_like(p)
