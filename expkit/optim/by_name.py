"""Optimizers of `torch.optim` found by name, and what they call the hyperparameters that all optimizers share."""

from collections.abc import Mapping
from typing import Any

import torch

from expkit.check import nearest
from expkit.errors import UserError
from expkit.optim.building import Settings, arguments, at, beta
from expkit.optim.optimizer import Place

UNFIT = {
    "Optimizer": "is the base of all",
    "LBFGS": "needs the loss again and again",
    "SparseAdam": "takes sparse gradients only",
    "Muon": "takes matrices only, and a model has biases, norms and convolutions",
}
"""What is no optimizer for these models, and why."""

OWNERS = {
    "lr": "optim.lr",
    "momentum": "optim.mom",
    "betas": "optim.mom and optim.sqr_mom",
    "rho": "optim.sqr_mom",
    "alpha": "optim.sqr_mom",
    "eps": "optim.eps",
    "weight_decay": "optim.wd",
    "decoupled_weight_decay": "optim.decouple_wd",
}
"""What an optimizer calls a value -> the key that gives it here."""


def find_optimizer(name: str) -> type[torch.optim.Optimizer]:
    """The class of that name in `torch.optim`; raises UserError, with the nearest name, where there is none."""
    known: dict[str, type[torch.optim.Optimizer]] = {
        key: kind for key, kind in vars(torch.optim).items() if is_optimizer(kind) and key not in UNFIT
    }
    if name in UNFIT:
        raise UserError(f"optim.name={name} is no optimizer of torch.optim that can be used here: it {UNFIT[name]}")
    if name not in known:
        raise UserError(
            f"optim.name={name} is no optimizer of torch.optim that can be used here; {nearest(name, known)}"
        )
    return known[name]


def refuse_owned(options: Settings, kind: type[torch.optim.Optimizer], places: Mapping[str, Place]) -> None:
    """Raise UserError for options that the optimizer has not, or that a key of expkit's own would overwrite."""
    known = [key for key in arguments(kind) if key != "params"]
    for key in options:
        where = f"optim.options.{key}"
        if key not in known:
            name = f"torch.optim.{kind.__name__}"
            raise UserError(f"{name} refused optim.options: it has no argument {key!r}; {nearest(key, known)}")
        if key in ("foreach", "fused"):
            raise UserError(f"{where} has no place here: the fastest form is taken by itself; leave it out")
        is_free = (key == "alpha" and "sqr_mom" not in places) or (key == "eps" and "eps" not in places)
        if key in OWNERS and not is_free:
            raise UserError(f"{where} would be overwritten; give {OWNERS[key]}")


def is_optimizer(found: object) -> bool:
    """Whether an entry of `torch.optim` is an optimizer class."""
    return isinstance(found, type) and issubclass(found, torch.optim.Optimizer)


def own_places(kind: type[torch.optim.Optimizer]) -> dict[str, Place]:
    """Where that optimizer keeps lr, mom, sqr_mom and eps, as far as it has them."""
    known = arguments(kind)
    places = {"lr": at("lr")}
    if "betas" in known:
        places |= {"mom": beta(0), "sqr_mom": beta(1)}
    for name, key in (("mom", "momentum"), ("sqr_mom", "rho")):
        if key in known:
            places[name] = at(key)
    if kind is torch.optim.RMSprop:
        # The alpha of ASGD, alone in having one as well, is another thing.
        places["sqr_mom"] = at("alpha")
    if "eps" in known and isinstance(known["eps"].default, float):
        places["eps"] = at("eps")
    return places


def own_defaults(kind: type[torch.optim.Optimizer], places: Mapping[str, Place]) -> Settings:
    """The optimizer's own defaults of the hyperparameters in `places`."""
    group: dict[str, Any] = {key: parameter.default for key, parameter in arguments(kind).items()}
    return {name: place.read(group) for name, place in places.items()}
