"""Values of hyperparameters, one per layer group, in all the forms that a config may give them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from expkit.check import NotNegative, Portion, Positive
from expkit.errors import UserError

if TYPE_CHECKING:
    from expkit.optim.groups import Layered


@with_config(ConfigDict(extra="forbid", strict=True))
class Stop(TypedDict):
    """`{stop: b}`: b for the head, b / 10 for all other groups."""

    stop: Positive


@with_config(ConfigDict(extra="forbid", strict=True))
class Span(TypedDict):
    """`{start: a, stop: b}`: even multiples from a for the first group to b for the head."""

    start: Positive
    stop: Positive


Rates = Positive | Sequence[Positive] | Span | Stop | Literal["auto"]
Moments = Portion | Sequence[Portion] | Span | Stop
Amounts = NotNegative | Sequence[NotNegative] | Span | Stop
TrainBN = bool | Literal["eval"]

Model = Annotated["Layered", Field(description="any `nn.Module` with `layer_groups`.")]
LR = Annotated[
    Rates,
    Field(
        description="learning rate: a number, a list with one per layer group, {stop: b} (b / 10 before the head) or "
        "{start: a, stop: b} (even multiples)."
    ),
]
SqrMom = Annotated[Moments, Field(description="how much of the running average of squared gradients each step keeps.")]
Eps = Annotated[Amounts, Field(description="added to the root of the average of squared gradients.")]
WD = Annotated[Amounts, Field(description="weight decay.")]


class Averages(TypedDict, total=False):
    """The hyperparameters of Adam and its kin, besides lr."""

    mom: Annotated[Moments, Field(0.9, description="how much of the running average of gradients each step keeps.")]
    sqr_mom: Annotated[SqrMom, Field(0.99)]
    eps: Annotated[Eps, Field(1e-5)]
    wd: Annotated[WD, Field(0.01)]


class Spared(TypedDict, total=False):
    """The keys that all optimizers share: how weights decay, and what of it and of training is spared."""

    decouple_wd: Annotated[
        bool,
        Field(
            True,
            description="shrink weights by lr wd before the step; false: add wd times the weight to its gradient (L2).",
        ),
    ]
    wd_bn_bias: Annotated[bool, Field(False, description="let biases and norm parameters decay too.")]
    train_bn: Annotated[
        TrainBN,
        Field(
            True,
            description="norms of frozen groups: true: they train; false: only their statistics move; eval: nothing "
            "moves.",
        ),
    ]


class AdamKeys(Averages, Spared):
    """All keys of Adam and its kin but lr."""


def group_values(value: Any, groups: Sequence[str], key: str) -> list[float]:
    """One number for each of the layer groups named by `groups`, earliest first.

    `value` is a number for all groups, a list with one per group, `{stop: b}` (b for the last group, b / 10 for the
    others) or `{start: a, stop: b}` (even multiples from a to b), as in fastai's `slice`. `key` is named in errors.

    Raises UserError for a list of another length, a mapping with other keys, and for "auto", which only a learning
    rate finder could answer.
    """
    match value:
        case "auto":
            raise UserError(f"{key}=auto is for runs that search a learning rate first; give a number here")
        case {"start": start, "stop": stop} if len(value) == 2:
            return even_multiples(float(start), float(stop), len(groups))
        case {"stop": stop} if len(value) == 1:
            return [float(stop) / 10] * (len(groups) - 1) + [float(stop)]
        case Mapping():
            raise UserError(
                f"{key} must be {{stop: b}} or {{start: a, stop: b}}, got keys {', '.join(map(str, value))}"
            )
        case int() | float():
            return [float(value)] * len(groups)
    if len(value) != len(groups):
        raise UserError(
            f"{key} must have one value for each of the {len(groups)} layer groups ({', '.join(groups)}), "
            f"got {len(value)}: {list(value)}"
        )
    return [float(one) for one in value]


def even_multiples(start: float, stop: float, count: int) -> list[float]:
    """`count` numbers from `start` to `stop`, each the same multiple of the one before; for one group, `stop`."""
    if count == 1:
        return [stop]
    step = (stop / start) ** (1 / (count - 1))
    return [start * step**i for i in range(count)]
