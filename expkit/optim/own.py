"""Optimizers with update rules of our own, where torch has none with these numbers."""

from typing import TYPE_CHECKING, Unpack

from expkit.check import checked
from expkit.optim.values import LR, AdamKeys, Model

if TYPE_CHECKING:
    from expkit.optim.optimizer import Optimizer


@checked
def nadam(model: Model, *, lr: LR = 1e-3, **keys: Unpack[AdamKeys]) -> "Optimizer":
    """Adam with Nesterov momentum, in the form of S. Ruder's overview (2016)."""
    from expkit.optim.building import own
    from expkit.optim.rules import NAdam

    return own(model, NAdam, lr=lr, **keys)


@checked
def radam(model: Model, *, lr: LR = 1e-3, **keys: Unpack[AdamKeys]) -> "Optimizer":
    """Adam that begins as plain momentum until its average is long enough (Liu et al., 2020)."""
    from expkit.optim.building import own
    from expkit.optim.rules import RAdam

    return own(model, RAdam, lr=lr, **keys)


@checked
def lamb(model: Model, *, lr: LR = 1e-2, **keys: Unpack[AdamKeys]) -> "Optimizer":
    """Adam with each tensor's step scaled to the size of the tensor (You et al., 2020)."""
    from expkit.optim.building import own
    from expkit.optim.rules import Lamb

    return own(model, Lamb, lr=lr, **keys)


@checked
def rmsprop(model: Model, *, lr: LR = 1e-3, **keys: Unpack[AdamKeys]) -> "Optimizer":
    """Gradients, or with momentum their decaying sum, over the root of their squared average."""
    from expkit.optim.building import own
    from expkit.optim.rules import RMSprop

    return own(model, RMSprop, lr=lr, **keys)
