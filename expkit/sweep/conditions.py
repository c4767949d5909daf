"""Conditions that the sweeps of expkit use: what else varies in a trial, given what was drawn.

A condition is any function of the params drawn so far (key -> value, as the config holds it) that gives further ones:
key -> space in the override grammar, or a plain value. `hydra.sweeper.conditions` names it; one of your own needs
`EXPKIT_TRUST=package` in the environment.
"""

from collections.abc import Mapping
from typing import Any

from expkit.registry import entered

RATES = {
    "sgd": "tag(log, interval(1e-2, 1.0))",
    "rmsprop": "tag(log, interval(1e-5, 1e-2))",
}
"""The learning rates of an optimizer that steps otherwise than Adam."""


@entered
def by_optimizer(params: Mapping[str, Any]) -> dict[str, Any]:
    """The learning rate, and for SGD the momentum, that suit the optimizer in `optim`.

    Adaptive optimizers divide by the size of the gradients, so their rates lie far below those of plain SGD.
    """
    added: dict[str, Any] = {"optim.lr": RATES.get(params["optim"], "tag(log, interval(1e-4, 1e-1))")}
    if params["optim"] == "sgd":
        added["optim.mom"] = "interval(0.8, 0.99)"
    return added
