"""The config node `lr_find`: the settings of an LR finder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge

from expkit import trust
from expkit.check import Positive, check_arguments, nearest
from expkit.errors import UserError

Suggest = Callable[[Sequence[float], Sequence[float]], float]

WAYS = ("valley", "slide", "minimum", "steep")
"""The functions of `expkit.lr_finder` that suggest a learning rate."""


@dataclass(frozen=True, kw_only=True)
class LrFind:
    """The settings of an LR finder: the config node `lr_find`."""

    start_lr: Positive = 1e-7
    """Learning rate of the first step."""
    end_lr: Positive = 10.0
    """Learning rate that the last step nears."""
    num_it: Annotated[int, Ge(20)] = 100
    """Steps at most; the first tenth and the last five are not read."""
    suggest: str = "valley"
    """valley, slide, minimum, steep, or the dotted name of a function `(lrs, losses) -> float`."""
    scale: Positive = 1.0
    """What the suggestion is multiplied by."""


def check_lr_find(node: Mapping[str, Any]) -> LrFind:
    """The settings in the config node `lr_find`. Raises UserError that names the key at fault."""
    check_arguments(LrFind, node, "lr_find")
    settings = LrFind(**node)
    if settings.end_lr <= settings.start_lr:
        raise UserError(f"lr_find.end_lr={settings.end_lr:g} must be above lr_find.start_lr={settings.start_lr:g}")
    suggest_of(settings.suggest)
    return settings


def suggest_of(suggest: str) -> Suggest:
    """The function that `lr_find.suggest` names. Raises UserError for a name that is unknown or not trusted."""
    if "." not in suggest and suggest not in WAYS:
        raise UserError(
            f"lr_find.suggest must be one of {', '.join(WAYS)}, or the dotted name of a function, got {suggest!r}; "
            f"{nearest(suggest, WAYS)}"
        )
    dotted = suggest if "." in suggest else f"expkit.lr_finder.{suggest}"
    return trust.resolve(dotted, "lr_find.suggest", ["expkit.lr_finder"])
