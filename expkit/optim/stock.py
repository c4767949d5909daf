"""Optimizers with stock torch inside, where its numbers are those of the literature."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from expkit.check import NotNegative, Portion, checked
from expkit.errors import UserError
from expkit.optim.values import Amounts, Moments, Rates, TrainBN

if TYPE_CHECKING:
    from expkit.optim.groups import Layered
    from expkit.optim.optimizer import Optimizer


@checked
def sgd(
    model: "Layered",
    *,
    lr: Rates = 1e-2,
    mom: Moments = 0.9,
    dampening: bool | Portion = False,
    nesterov: bool = False,
    wd: Amounts = 0.01,
    decouple_wd: bool = True,
    wd_bn_bias: bool = False,
    train_bn: TrainBN = True,
) -> "Optimizer":
    """Stochastic gradient descent with momentum: m = mom m + g; p -= lr m.

    Args:
        model: any `nn.Module` with `layer_groups`.
        lr: learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or
            {start: a, stop: b} (even multiples).
        mom: momentum.
        dampening: true: m = mom m + (1 - mom) g, also while mom changes; a number d: m = mom m + (1 - d) g.
        nesterov: step by g + mom m instead of m, with momentum and no dampening.
        wd: weight decay.
        decouple_wd: shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).
        wd_bn_bias: let biases and norm parameters decay too.
        train_bn: norms of frozen groups: true: they train; false: only their statistics move; eval: nothing moves.
    """
    from torch.optim import SGD

    from expkit.optim.building import at, damped_momentum, stock

    if nesterov and dampening:
        raise UserError("optim.nesterov is defined without dampening; set one of the two to false")
    places = {"lr": at("lr"), "mom": damped_momentum() if dampening is True else at("momentum")}
    options = {"nesterov": nesterov, "dampening": float(dampening)}
    values = {"lr": lr, "mom": mom, "wd": wd}
    return stock(
        model, SGD, places, values, decouple_wd=decouple_wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn, options=options
    )


@checked
def adam(
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
    """Adam (Kingma and Ba, 2015), by default with decoupled weight decay (AdamW; Loshchilov and Hutter, 2019).

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
    from torch.optim import Adam

    from expkit.optim.building import adam_places, stock

    values = {"lr": lr, "mom": mom, "sqr_mom": sqr_mom, "eps": eps, "wd": wd}
    return stock(
        model,
        Adam,
        adam_places(),
        values,
        decouple_wd=decouple_wd,
        wd_bn_bias=wd_bn_bias,
        train_bn=train_bn,
        options={},
    )


@checked
def adagrad(
    model: "Layered",
    *,
    lr: Rates = 1e-2,
    lr_decay: NotNegative = 0.0,
    eps: Amounts = 1e-10,
    wd: Amounts = 0.01,
    decouple_wd: bool = True,
    wd_bn_bias: bool = False,
    train_bn: TrainBN = True,
) -> "Optimizer":
    """Gradients over the root of the sum of all their squares (Duchi et al., 2011); eps as in torch.

    Args:
        model: any `nn.Module` with `layer_groups`.
        lr: learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or
            {start: a, stop: b} (even multiples).
        lr_decay: after n steps lr is divided by 1 + n lr_decay.
        eps: added to the root of the average of squared gradients.
        wd: weight decay.
        decouple_wd: shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).
        wd_bn_bias: let biases and norm parameters decay too.
        train_bn: norms of frozen groups: true: they train; false: only their statistics move; eval: nothing moves.
    """
    from torch.optim import Adagrad

    from expkit.optim.building import at, stock

    places = {"lr": at("lr"), "eps": at("eps")}
    values = {"lr": lr, "eps": eps, "wd": wd}
    options = {"lr_decay": lr_decay}
    return stock(
        model,
        Adagrad,
        places,
        values,
        decouple_wd=decouple_wd,
        wd_bn_bias=wd_bn_bias,
        train_bn=train_bn,
        options=options,
    )


@checked
def adadelta(
    model: "Layered",
    *,
    lr: Rates = 1.0,
    sqr_mom: Moments = 0.9,
    eps: Amounts = 1e-6,
    wd: Amounts = 1e-4,
    decouple_wd: bool = True,
    wd_bn_bias: bool = False,
    train_bn: TrainBN = True,
) -> "Optimizer":
    """Steps as large as the last ones were, over the gradients' size (Zeiler, 2012); sqr_mom and eps as in torch.

    Args:
        model: any `nn.Module` with `layer_groups`.
        lr: learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or
            {start: a, stop: b} (even multiples).
        sqr_mom: how much of the running average of squared gradients each step keeps.
        eps: added to the root of the average of squared gradients.
        wd: weight decay.
        decouple_wd: shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).
        wd_bn_bias: let biases and norm parameters decay too.
        train_bn: norms of frozen groups: true: they train; false: only their statistics move; eval: nothing moves.
    """
    from torch.optim import Adadelta

    from expkit.optim.building import at, stock

    places = {"lr": at("lr"), "sqr_mom": at("rho"), "eps": at("eps")}
    values = {"lr": lr, "sqr_mom": sqr_mom, "eps": eps, "wd": wd}
    return stock(
        model, Adadelta, places, values, decouple_wd=decouple_wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn, options={}
    )


@checked
def torch(
    model: "Layered",
    *,
    name: str,
    lr: Rates = 1e-3,
    mom: Moments | None = None,
    sqr_mom: Moments | None = None,
    eps: Amounts | None = None,
    wd: Amounts = 0.01,
    decouple_wd: bool = True,
    wd_bn_bias: bool = False,
    train_bn: TrainBN = True,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> "Optimizer":
    """Any optimizer of `torch.optim` that steps by gradients alone, by its name.

    Args:
        model: any `nn.Module` with `layer_groups`.
        name: class in `torch.optim`, such as AdamW.
        lr: learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or
            {start: a, stop: b} (even multiples).
        mom: its momentum or first beta; None: its own default.
        sqr_mom: its second beta, rho or (RMSprop) alpha; None: its own default.
        eps: its eps; None: its own default.
        wd: weight decay.
        decouple_wd: shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).
        wd_bn_bias: let biases and norm parameters decay too.
        train_bn: norms of frozen groups: true: they train; false: only their statistics move; eval: nothing moves.
        options: its further arguments by its own names, such as {amsgrad: true}.

    Raises UserError for a name that torch has not, a hyperparameter that the optimizer has not, or wrong options.
    """
    from expkit.optim.building import stock
    from expkit.optim.by_name import find_optimizer, own_defaults, own_places, refuse_owned

    kind = find_optimizer(name)
    places = own_places(kind)
    refuse_owned(options, kind, places)
    given = {key: value for key, value in {"mom": mom, "sqr_mom": sqr_mom, "eps": eps}.items() if value is not None}
    for key in given:
        if key not in places:
            raise UserError(f"optim.{key}: torch.optim.{name} has none; leave it out (null)")
    values = {**own_defaults(kind, places), **given, "lr": lr, "wd": wd}
    return stock(
        model,
        kind,
        places,
        values,
        decouple_wd=decouple_wd,
        wd_bn_bias=wd_bn_bias,
        train_bn=train_bn,
        options=options,
    )
