"""Policies: which schedule each hyperparameter follows over a whole training run.

Each takes the peak learning rates, one per layer group, and gives a dict from a hyperparameter to its schedule, or to
a list of schedules, one per group.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise, takewhile
from typing import Annotated

from annotated_types import Len

from expkit.check import Count, Fraction, Portion, Positive, checked
from expkit.errors import UserError
from expkit.sched.annealers import Schedule, combine, combined_cosine, constant, cosine, linear

Schedules = dict[str, Schedule | list[Schedule]]


class WrongEpochs(UserError):
    """A number of epochs that does not suit a schedule: what is wrong, those that would `fit`, or what else to do."""

    def __init__(self, wrong: str, fit: Sequence[int], otherwise: str = "") -> None:
        self.wrong, self.fit, self.otherwise = wrong, fit, otherwise
        super().__init__(f"{wrong}; give epochs={' or epochs='.join(map(str, fit))}{otherwise}")


@checked
def one_cycle(
    lr: Sequence[float],
    epochs: int = 1,
    *,
    pct_start: Fraction = 0.25,
    div: Positive = 25.0,
    div_final: Positive = 1e5,
    moms: Annotated[Sequence[Portion], Len(3, 3)] = (0.95, 0.85, 0.95),
    warmup: Portion = 0.0,
    warmup_div: Positive = 25.0,
) -> Schedules:
    """Raise lr by a cosine to its peak, then anneal it to almost nothing, and momentum the other way round.

    From L. Smith's 1cycle policy (2018) in the form of fastai's `fit_one_cycle`.

    Args:
        lr: peak of each layer group.
        epochs: length of training; the schedule depends on progress alone.
        pct_start: fraction of training spent rising.
        div: the first lr is peak / div.
        div_final: the last lr is peak / div_final.
        moms: momentum at the start, at the peak and at the end.
        warmup: fraction of training spent on a linear rise in front of the policy.
        warmup_div: the warm-up begins at the policy's first lr / warmup_div.
    """
    rates = [combined_cosine(pct_start, peak / div, peak, peak / div_final) for peak in lr]
    return with_warmup({"lr": [*rates], "mom": combined_cosine(pct_start, *moms)}, warmup, warmup_div)


@checked
def flat_cos(
    lr: Sequence[float],
    epochs: int = 1,
    *,
    pct_start: Fraction = 0.75,
    div_final: Positive = 1e5,
    warmup: Portion = 0.0,
    warmup_div: Positive = 25.0,
) -> Schedules:
    """Hold lr at its peak, then anneal it to almost nothing by a cosine (fastai's `fit_flat_cos`).

    Args:
        lr: peak of each layer group.
        epochs: length of training; the schedule depends on progress alone.
        pct_start: fraction of training spent at the peak.
        div_final: the last lr is peak / div_final.
        warmup: fraction of training spent on a linear rise in front of the policy.
        warmup_div: the warm-up begins at peak / warmup_div.
    """
    rates = [combined_cosine(pct_start, peak, peak, peak / div_final) for peak in lr]
    return with_warmup({"lr": [*rates]}, warmup, warmup_div)


@checked
def sgdr(
    lr: Sequence[float],
    epochs: int | None = None,
    *,
    cycle_len: Count = 1,
    cycle_mult: Count = 2,
    n_cycles: Count | None = None,
    warmup: Portion = 0.0,
    warmup_div: Positive = 25.0,
) -> Schedules:
    """Anneal lr from its peak to 0 by a cosine, and restart, each cycle `cycle_mult` times as long as the last.

    From Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts (2017).

    Args:
        lr: peak of each layer group.
        epochs: length of training; None: what `n_cycles` cycles take.
        cycle_len: length of the first cycle in epochs.
        cycle_mult: how many times as long each further cycle is.
        n_cycles: number of cycles; None: as many as fill `epochs`.
        warmup: fraction of training spent on a linear rise in front of the policy, which shortens all cycles alike.
        warmup_div: the warm-up begins at peak / warmup_div.

    Raises UserError, naming the nearest epochs that fit, where whole cycles do not fill `epochs`.
    """
    ends = cycle_ends(epochs, cycle_len, cycle_mult, n_cycles)
    pcts = [(end - start) / ends[-1] for start, end in pairwise([0, *ends])]
    rates = [combine(pcts, [cosine(peak, 0.0)] * len(pcts)) for peak in lr]
    return with_warmup({"lr": [*rates]}, warmup, warmup_div)


@checked
def constant_lr(
    lr: Sequence[float], epochs: int = 1, *, warmup: Portion = 0.0, warmup_div: Positive = 25.0
) -> Schedules:
    """Hold each lr where it is.

    Args:
        lr: rate of each layer group.
        epochs: length of training; the schedule depends on progress alone.
        warmup: fraction of training spent on a linear rise in front of the policy.
        warmup_div: the warm-up begins at lr / warmup_div.
    """
    return with_warmup({"lr": [constant(rate) for rate in lr]}, warmup, warmup_div)


def with_warmup(schedules: Schedules, pct: float, div: float) -> Schedules:
    """Put a linear rise of lr in front of any policy, which then runs over the rest of training.

    lr rises during the fraction `pct` from 1 / div of its first value to that value; the others wait at theirs.
    """
    if pct == 0:
        return schedules

    def delay(name: str, schedule: Schedule) -> Schedule:
        first = schedule(0.0)
        wait = linear(first / div, first) if name == "lr" else constant(first)
        return combine([pct, 1 - pct], [wait, schedule])

    return {
        name: [delay(name, one) for one in given] if isinstance(given, list) else delay(name, given)
        for name, given in schedules.items()
    }


def sgdr_epochs(cycle_len: int, cycle_mult: int, n_cycles: int) -> int:
    """How many epochs `n_cycles` cycles of sgdr take: 1 + 2 + 4 = 7 for three that begin with 1 and double."""
    return sum(cycle_len * cycle_mult**cycle for cycle in range(n_cycles))


def cycle_ends(epochs: int | None, cycle_len: int, cycle_mult: int, n_cycles: int | None) -> list[int]:
    """The epochs after which the cycles of sgdr end.

    Raises UserError where cycles and `epochs` do not fit each other, or where neither is given.
    """
    if n_cycles is not None:
        needed = sgdr_epochs(cycle_len, cycle_mult, n_cycles)
        if epochs not in (None, needed):
            raise WrongEpochs(
                f"sched.n_cycles={n_cycles} with cycle_len={cycle_len} and cycle_mult={cycle_mult} takes {needed} "
                f"epochs, got epochs={epochs}",
                [needed],
                " or leave sched.n_cycles out",
            )
        epochs = needed
    if epochs is None:
        raise UserError("sgdr needs epochs or sched.n_cycles; give one of them")
    lengths = (cycle_len * cycle_mult**cycle for cycle in range(epochs + 1))
    ends = list(takewhile(lambda end: end <= epochs, accumulate(lengths)))
    if not ends or ends[-1] != epochs:
        fits = [*ends[-1:], sgdr_epochs(cycle_len, cycle_mult, len(ends) + 1)]
        raise WrongEpochs(
            f"epochs={epochs} is no whole number of cycles with sched.cycle_len={cycle_len} and "
            f"sched.cycle_mult={cycle_mult}",
            fits,
        )
    return ends
