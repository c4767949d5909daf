"""Optimizers with stock torch inside, where its numbers are those of the literature."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

from expkit.check import NotNegative, Portion, checked
from expkit.errors import UserError
from expkit.optim.values import LR, WD, AdamKeys, Amounts, Eps, Model, Moments, Spared, SqrMom

if TYPE_CHECKING:
    from expkit.optim.optimizer import Optimizer


@checked
def sgd(
    model: Model,
    *,
    lr: LR = 1e-2,
    mom: Moments = 0.9,
    dampening: bool | Portion = False,
    nesterov: bool = False,
    wd: WD = 0.01,
    **spared: Unpack[Spared],
) -> "Optimizer":
    """Stochastic gradient descent with momentum: m = mom m + g; p -= lr m.

    Args:
        mom: momentum.
        dampening: true: m = mom m + (1 - mom) g, also while mom changes; a number d: m = mom m + (1 - d) g.
        nesterov: step by g + mom m instead of m, with momentum and no dampening.
    """
    from torch.optim import SGD

    from expkit.optim.building import at, damped_momentum, stock

    if nesterov and dampening:
        raise UserError("optim.nesterov is defined without dampening; set one of the two to false")
    places = {"lr": at("lr"), "mom": damped_momentum() if dampening is True else at("momentum")}
    options = {"nesterov": nesterov, "dampening": float(dampening)}
    return stock(model, SGD, places, options, lr=lr, mom=mom, wd=wd, **spared)


@checked
def adam(model: Model, *, lr: LR = 1e-3, **keys: Unpack[AdamKeys]) -> "Optimizer":
    """Adam (Kingma and Ba, 2015), by default with decoupled weight decay (AdamW; Loshchilov and Hutter, 2019)."""
    from torch.optim import Adam

    from expkit.optim.building import adam_places, stock

    return stock(model, Adam, adam_places(), lr=lr, **keys)


@checked
def adagrad(
    model: Model,
    *,
    lr: LR = 1e-2,
    lr_decay: NotNegative = 0.0,
    eps: Amounts = 1e-10,
    wd: WD = 0.01,
    **spared: Unpack[Spared],
) -> "Optimizer":
    """Gradients over the root of the sum of all their squares (Duchi et al., 2011); eps as in torch.

    Args:
        lr_decay: after n steps lr is divided by 1 + n lr_decay.
        eps: added to the root of the sum of squared gradients.
    """
    from torch.optim import Adagrad

    from expkit.optim.building import at, stock

    places = {"lr": at("lr"), "eps": at("eps")}
    return stock(model, Adagrad, places, {"lr_decay": lr_decay}, lr=lr, eps=eps, wd=wd, **spared)


@checked
def adadelta(
    model: Model,
    *,
    lr: LR = 1.0,
    sqr_mom: SqrMom = 0.9,
    eps: Eps = 1e-6,
    wd: WD = 1e-4,
    **spared: Unpack[Spared],
) -> "Optimizer":
    """Steps as large as the last ones were, over the gradients' size (Zeiler, 2012); sqr_mom and eps as in torch."""
    from torch.optim import Adadelta

    from expkit.optim.building import at, stock

    places = {"lr": at("lr"), "sqr_mom": at("rho"), "eps": at("eps")}
    return stock(model, Adadelta, places, lr=lr, sqr_mom=sqr_mom, eps=eps, wd=wd, **spared)


@checked
def torch(
    model: Model,
    *,
    name: str,
    lr: LR = 1e-3,
    mom: Moments | None = None,
    sqr_mom: Moments | None = None,
    eps: Amounts | None = None,
    wd: WD = 0.01,
    options: Mapping[str, Any] = MappingProxyType({}),
    **spared: Unpack[Spared],
) -> "Optimizer":
    """Any optimizer of `torch.optim` that steps by gradients alone, by its name.

    Args:
        name: class in `torch.optim`, such as AdamW.
        mom: its momentum or first beta; None: its own default.
        sqr_mom: its second beta, rho or (RMSprop) alpha; None: its own default.
        eps: its eps; None: its own default.
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
    return stock(model, kind, places, options, **values, **spared)
