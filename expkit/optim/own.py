"""Optimizers with update rules of our own, where torch has none with these numbers."""

from typing import TYPE_CHECKING

from expkit.check import checked
from expkit.optim.values import Amounts, Moments, Rates, TrainBN

if TYPE_CHECKING:
    from expkit.optim.groups import Layered
    from expkit.optim.optimizer import Optimizer


@checked
def nadam(
    model: "Layered",
    *,
    lr: Rates = 1e-3,
    mom: Moments = 0.9,
    sqr_mom: Moments = 0.99,
    eps: Amounts = 1e-5,
    wd: Amounts = 0.01,
    decouple_wd: bool = True,
    wd_bn_bias: bool = False,
    train_bn: TrainBN = True,
) -> "Optimizer":
    """Adam with Nesterov momentum, in the form of S. Ruder's overview (2016).

    Args:
        model: any `nn.Module` with `layer_groups`.
        lr: learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or
            {start: a, stop: b} (even multiples).
        mom: how much of the running average of gradients each step keeps.
        sqr_mom: how much of the running average of squared gradients each step keeps.
        eps: added to the root of the average of squared gradients.
        wd: weight decay.
        decouple_wd: shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).
        wd_bn_bias: let biases and norm parameters decay too.
        train_bn: norms of frozen groups: true: they train; false: only their statistics move; eval: nothing moves.
    """
    from expkit.optim.building import own
    from expkit.optim.rules import NAdam

    values = {"lr": lr, "mom": mom, "sqr_mom": sqr_mom, "eps": eps, "wd": wd}
    return own(model, NAdam, values, decouple_wd=decouple_wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn)


@checked
def radam(
    model: "Layered",
    *,
    lr: Rates = 1e-3,
    mom: Moments = 0.9,
    sqr_mom: Moments = 0.99,
    eps: Amounts = 1e-5,
    wd: Amounts = 0.01,
    decouple_wd: bool = True,
    wd_bn_bias: bool = False,
    train_bn: TrainBN = True,
) -> "Optimizer":
    """Adam that begins as plain momentum until its average is long enough (Liu et al., 2020).

    Args:
        model: any `nn.Module` with `layer_groups`.
        lr: learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or
            {start: a, stop: b} (even multiples).
        mom: how much of the running average of gradients each step keeps.
        sqr_mom: how much of the running average of squared gradients each step keeps.
        eps: added to the root of the average of squared gradients.
        wd: weight decay.
        decouple_wd: shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).
        wd_bn_bias: let biases and norm parameters decay too.
        train_bn: norms of frozen groups: true: they train; false: only their statistics move; eval: nothing moves.
    """
    from expkit.optim.building import own
    from expkit.optim.rules import RAdam

    values = {"lr": lr, "mom": mom, "sqr_mom": sqr_mom, "eps": eps, "wd": wd}
    return own(model, RAdam, values, decouple_wd=decouple_wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn)


@checked
def lamb(
    model: "Layered",
    *,
    lr: Rates = 1e-2,
    mom: Moments = 0.9,
    sqr_mom: Moments = 0.99,
    eps: Amounts = 1e-5,
    wd: Amounts = 0.01,
    decouple_wd: bool = True,
    wd_bn_bias: bool = False,
    train_bn: TrainBN = True,
) -> "Optimizer":
    """Adam with each tensor's step scaled to the size of the tensor (You et al., 2020).

    Args:
        model: any `nn.Module` with `layer_groups`.
        lr: learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or
            {start: a, stop: b} (even multiples).
        mom: how much of the running average of gradients each step keeps.
        sqr_mom: how much of the running average of squared gradients each step keeps.
        eps: added to the root of the average of squared gradients.
        wd: weight decay.
        decouple_wd: shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).
        wd_bn_bias: let biases and norm parameters decay too.
        train_bn: norms of frozen groups: true: they train; false: only their statistics move; eval: nothing moves.
    """
    from expkit.optim.building import own
    from expkit.optim.rules import Lamb

    values = {"lr": lr, "mom": mom, "sqr_mom": sqr_mom, "eps": eps, "wd": wd}
    return own(model, Lamb, values, decouple_wd=decouple_wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn)


@checked
def rmsprop(
    model: "Layered",
    *,
    lr: Rates = 1e-3,
    mom: Moments = 0.9,
    sqr_mom: Moments = 0.99,
    eps: Amounts = 1e-5,
    wd: Amounts = 0.01,
    decouple_wd: bool = True,
    wd_bn_bias: bool = False,
    train_bn: TrainBN = True,
) -> "Optimizer":
    """Gradients, or with momentum their decaying sum, over the root of their squared average.

    Args:
        model: any `nn.Module` with `layer_groups`.
        lr: learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or
            {start: a, stop: b} (even multiples).
        mom: how much of the running average of gradients each step keeps.
        sqr_mom: how much of the running average of squared gradients each step keeps.
        eps: added to the root of the average of squared gradients.
        wd: weight decay.
        decouple_wd: shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).
        wd_bn_bias: let biases and norm parameters decay too.
        train_bn: norms of frozen groups: true: they train; false: only their statistics move; eval: nothing moves.
    """
    from expkit.optim.building import own
    from expkit.optim.rules import RMSprop

    values = {"lr": lr, "mom": mom, "sqr_mom": sqr_mom, "eps": eps, "wd": wd}
    return own(model, RMSprop, values, decouple_wd=decouple_wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn)
