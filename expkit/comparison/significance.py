"""Whether a difference between runs is more than chance."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALPHA = 0.05
"""A difference counts where chance alone would bring one as large about in a smaller share of cases."""


def mcnemar(one: Floats, other: Floats) -> float:
    """The exact p-value of McNemar's test (1947) on which of N images two runs tell rightly, 0 or 1 each.

    Only images count that one of both alone tells rightly: were the runs alike, each would do so for half of them.
    """
    from scipy.stats import binomtest

    alone, other_alone = int((one > other).sum()), int((other > one).sum())
    if not alone + other_alone:
        return 1.0
    return float(binomtest(alone, alone + other_alone, 0.5).pvalue)


def paired_t(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The p-value of the paired t-test (Student, 1908) on the scores of two setups, seed by seed.

    None of fewer than two seeds, and where each gives the same difference, so that nothing is known of its spread.
    """
    from scipy.stats import ttest_rel

    gaps = np.subtract(one, other)
    if len(gaps) < 2 or not np.isfinite(gaps).all():
        return None
    if np.allclose(gaps, gaps[0], rtol=0, atol=1e-12):
        return None if gaps[0] else 1.0
    return float(ttest_rel(one, other).pvalue)


def mean_interval(values: Floats, resamples: int, seed: int = 0) -> tuple[float, float]:
    """The 2.5% and 97.5% quantiles of a mean over bootstrap samples of the N values (Efron, 1979).

    There are few different values, such as -1, 0 and 1, so that a sample is a multinomial draw of how often each comes.
    """
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), resamples)
    low, high = np.quantile(drawn @ distinct / len(values), (0.025, 0.975)).tolist()
    return low, high


def holm(chances: Sequence[float | None]) -> list[float | None]:
    """p-values of several tests as they count together (Holm, 1979); None stays None."""
    known = sorted((chance, place) for place, chance in enumerate(chances) if chance is not None)
    found: list[float | None] = [None] * len(chances)
    highest = 0.0
    for rank, (chance, place) in enumerate(known):
        highest = max(highest, min(1.0, chance * (len(known) - rank)))
        found[place] = highest
    return found


def spread_of(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample; None of one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 and all(map(math.isfinite, values)) else None
