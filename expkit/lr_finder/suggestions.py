"""Learning rates read off the curve of an LR finder, in which the rate grows step by step until the loss diverges.

The idea is Smith's, "Cyclical Learning Rates for Training Neural Networks" (2017). The four ways to read the curve are
those of fastai 2, and give its numbers; a user's own is any function `(lrs, losses) -> float`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expkit.config.lr_find import WAYS, suggest_of
from expkit.errors import UserError
from expkit.registry import entered

Values = NDArray[np.float64]

LEFT_OUT = 5
"""Points at the end of a curve that are not read: there the loss diverges."""
MEND = (
    "lower lr_find.start_lr or lr_find.end_lr, or look for what makes the loss so: trainer.precision=fp32, a larger "
    "batch_size and trainer.clip_norm=1 may help"
)


@dataclass(frozen=True)
class Curve:
    """What an LR finder saw, step by step: arrays of one length, at most `num_it`."""

    lrs: Values
    """Learning rates of the head."""
    losses: Values
    """Losses of the batches."""
    smoothed: Values
    """Their exponentially weighted mean up to each step, debiased."""
    num_it: int
    """Steps asked for; the search ends before them where the loss diverges."""

    @property
    def kept(self) -> slice:
        """The points that suggestions are read from: not the first tenth, nor the last five, nor what is no number."""
        # As in fastai, which goes on over NaN to the end: the last five are then none of the points before it.
        numbers = int(np.isfinite(self.smoothed).sum())
        end = min(numbers, self.num_it - LEFT_OUT) if self.is_broken else len(self.lrs) - LEFT_OUT
        return slice(self.num_it // 10, max(end, 0))

    @property
    def is_broken(self) -> bool:
        """Whether the loss became NaN."""
        return len(self.smoothed) > 0 and bool(np.isnan(self.smoothed[-1]))


def suggestions(curve: Curve, suggest: str) -> dict[str, float]:
    """What each of the four ways suggests for the head, and the way `suggest` where it is a user's own, by its name.

    Raises UserError where the curve has too few numbers, and for an own function that gives no learning rate.
    """
    lrs, losses = curve.lrs[curve.kept], curve.smoothed[curve.kept]
    if len(lrs) < 2:
        fate = "became NaN" if curve.is_broken else "exceeded four times its best"
        raise UserError(
            f"the LR finder has nothing to suggest from: the loss {fate} at step {len(curve.lrs)} of {curve.num_it}, "
            f"at the learning rate {curve.lrs[-1]:.2g}; {MEND}"
        )
    return {way: ask(way, lrs.tolist(), losses.tolist()) for way in dict.fromkeys((*WAYS, suggest))}


def ask(way: str, lrs: Sequence[float], losses: Sequence[float]) -> float:
    """The learning rate that one way suggests. Raises UserError where a user's function gives none."""
    function = suggest_of(way)
    try:
        lr: object = function(lrs, losses)
    except Exception as error:  # whatever a user's function may raise
        if way in WAYS:
            raise
        raise UserError(
            f"lr_find.suggest={way} is called with (lrs, losses), two lists of one length, and raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(lr, bool) or not isinstance(lr, int | float | np.number) or not 0 < lr < math.inf:
        raise UserError(f"lr_find.suggest={way} must give a learning rate above 0, got {lr!r}")
    return float(lr)


@entered
def valley(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """A point half way down the longest descent of the loss (its longest falling subsequence), as in fastai.

    `lrs` and `losses` are alike long, and what is no number among the losses is dropped; so in all functions here.
    Raises UserError where nothing is left.
    """
    rates, values = numbers_of(lrs, losses)
    length = [1] * len(values)
    for i, value in enumerate(values):
        length[i] += max((length[j] for j in range(i) if values[j] > value), default=0)
    longest = max(length)
    end = length.index(longest)
    start = end - longest if longest > 1 else 0
    third = (end - start) / 3
    return float(rates[start + int(third) + int(third / 2)])


@entered
def slide(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """The rate 15 points left of where the slope, looked at from the right, first hardly changes over 15 points.

    So does fastai. It is the first rate where the slope changes all along, and on a shorter curve. Raises UserError
    where fewer than two numbers are left.
    """
    rates, values = numbers_of(lrs, losses, least=2)
    slope = np.gradient(values)
    width, threshold = min(15, len(rates) - 1), 0.005
    right, found = len(rates) - 1, len(rates) - 1 - width
    while right >= width and abs(slope[right] - slope[right - width]) > threshold:
        found = right - width
        right -= 1
    return float(rates[found])


@entered
def minimum(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """A tenth of the rate at which the loss is smallest. Raises UserError where nothing is left."""
    rates, values = numbers_of(lrs, losses)
    return float(rates[values.argmin()]) / 10


@entered
def steep(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the loss falls most steeply over log lr. Raises UserError where under two are left."""
    rates, values = numbers_of(lrs, losses, least=2)
    slope = np.diff(values) / np.diff(np.log(rates.astype(np.float32)))
    return float(rates[slope.argmin()])


def numbers_of(
    lrs: Sequence[float], losses: Sequence[float], least: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The points whose loss is a number. Raises UserError where they are fewer than `least`."""
    values = np.asarray(losses, dtype=np.float32)  # as in fastai: noise below that would count as descent
    finite = np.isfinite(values)
    if finite.sum() < least:
        raise UserError(
            f"of {len(values)} losses {finite.sum()} are finite, too few to suggest a learning rate; {MEND}"
        )
    return np.asarray(lrs, dtype=np.float64)[finite], values[finite]
