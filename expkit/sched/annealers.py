"""Annealers: functions of t in [0, 1] from a first to a last value, and their combination into longer schedules.

The formulas are those of fastai 2 (`fastai.callback.schedule`).
"""

import functools
import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec

from expkit.errors import UserError

P = ParamSpec("P")

Schedule = Callable[[float], float]

SNAP = 1e-9
"""How far before a join t counts as beyond it: progress and joins are sums of fractions, each with its own rounding."""


def annealer(function: Callable[Concatenate[float, float, float, P], float]) -> Callable[..., Schedule]:
    """Turn `function(start, end, t, ...)` into an annealer `(start, end, ...) -> schedule` (fastai's `@annealer`)."""

    @functools.wraps(function)
    def build(start: float, end: float, *args: P.args, **kwargs: P.kwargs) -> Schedule:
        return lambda t: function(start, end, t, *args, **kwargs)

    return build


def constant(start: float, end: float | None = None) -> Schedule:
    """Stay at `start`; `end` is taken so that all annealers are called alike, and not used."""
    return lambda t: start


def linear(start: float, end: float) -> Schedule:
    """Go from `start` to `end` on a straight line."""
    rise = end - start
    return lambda t: start + t * rise


def cosine(start: float, end: float) -> Schedule:
    """Go from `start` to `end` along half a cosine wave, level at both ends (Loshchilov and Hutter, SGDR, 2017)."""
    half, pi, cos = (end - start) / 2, math.pi, math.cos
    return lambda t: start + (1 + cos(pi * (1 - t))) * half


def exponential(start: float, end: float) -> Schedule:
    """Go from `start` to `end` by a constant factor.

    Raises UserError unless both have the same sign and neither is 0.
    """
    if start * end <= 0:
        raise UserError(f"exponential needs start and end of one sign and not 0, got start={start}, end={end}")
    ratio = end / start
    return lambda t: float(start * ratio**t)


def polynomial(start: float, end: float, power: float) -> Schedule:
    """Go from `start` to `end` by t to the `power`: slow at first for a power above 1.

    Raises UserError unless `power` is above 0.
    """
    if power <= 0:
        raise UserError(f"polynomial needs a power above 0, got power={power}")
    rise = end - start
    return lambda t: float(start + rise * t**power)


def combine(pcts: Sequence[float], schedules: Sequence[Schedule]) -> Schedule:
    """Run `schedules` one after the other, the i-th for the fraction `pcts[i]`, each over its own t from 0 to 1.

    At a join the later one holds. Raises UserError unless there is one positive fraction a schedule and they sum to 1.
    """
    if len(pcts) != len(schedules) or not pcts:
        raise UserError(f"combine needs one fraction for each schedule, got {len(pcts)} for {len(schedules)}")
    if min(pcts) <= 0 or abs(math.fsum(pcts) - 1) > 1e-6:
        raise UserError(f"pcts must be above 0 and sum to 1, got {list(pcts)}, which sum to {math.fsum(pcts):g}")
    starts = [0.0, *itertools.accumulate(pcts[:-1])]
    widths = [*pcts[:-1], 1 - starts[-1]]
    pieces = list(zip(starts, widths, schedules, strict=True))
    joins = [start - SNAP for start in starts[1:]]

    def schedule(t: float) -> float:
        start, width, piece = pieces[bisect_right(joins, t)]
        position = (t - start) / width
        return piece(position if position > 0 else 0.0)

    return schedule


def combined_cosine(pct: float, start: float, middle: float, end: float) -> Schedule:
    """Go by a cosine from `start` to `middle` during the fraction `pct`, then by another to `end`.

    Raises UserError unless `pct` lies between 0 and 1.
    """
    if not 0 < pct < 1:
        raise UserError(f"pct must lie between 0 and 1, got {pct}")
    return combine([pct, 1 - pct], [cosine(start, middle), cosine(middle, end)])
