"""What a comparison says, in sentences."""

from collections.abc import Sequence

import numpy as np

from expkit.comparison.images import listed
from expkit.comparison.significance import ALPHA, spread_of
from expkit.comparison.standings import Comparison, Standing
from expkit.config.schema import BETTER
from expkit.words import figure, many


def answers_of(found: Comparison) -> list[str]:
    """What the comparison says, the most important first."""
    first, others = found.first, found.others
    lines = [over_repeats(found)] if found.repeated else []
    if set(found.keys) <= {"seed"}:
        lines.append(over_runs(found))
    if len(others) == 1:
        lines += between_two(first, others[0], found)
    else:
        lines += among_many(first, others, found)
    if found.shared is not None:
        none = int((found.shared.right.max(axis=0) == 0).sum())
        lines.append(
            f"Of {many(len(found.shared.files), 'validation image', 'validation images')}, the runs disagree on "
            f"{len(found.shared.changed)}; {none} {'is' if none == 1 else 'are'} told rightly by none."
        )
    return lines


def over_repeats(found: Comparison) -> str:
    """Mean and standard deviation over seeds."""
    told = [
        f"{one.setup.letter} {figure(one.mean)}"
        + (f" ± {one.spread:.4f} ({len(one.setup.runs)} seeds)" if one.spread is not None else "")
        for one in found.standings
    ]
    return f"Mean {found.metric} ± standard deviation over seeds: {', '.join(told)}."


def over_runs(found: Comparison) -> str:
    """Of runs that differ in nothing but the seed."""
    scores = [one.mean for one in found.standings if one.mean is not None]
    spread = spread_of(scores)
    told = f" ± {spread:.4f}" if spread is not None else ""
    what = "the seed" if found.keys else "nothing that matters"
    return f"The configs differ in {what} alone: {found.metric} {np.mean(scores):.4f}{told} over {len(scores)} runs."


def between_two(first: Standing, other: Standing, found: Comparison) -> list[str]:
    """How the second setup stands beside the first."""
    a, b = first.setup.letter, other.setup.letter
    lines = []
    if other.difference is not None and other.difference_interval is not None:
        low, high = other.difference_interval
        sign = int(np.sign(other.difference))
        better = {0: "as accurate as", 1: "more accurate than", -1: "less accurate than"}[sign]
        by = f" by {abs(other.difference):.4f} (95%: {low:+.4f} to {high:+.4f})" if other.difference else ""
        lines.append(
            f"{b} ({other.setup.short_label}) is {better} {a} ({first.setup.short_label}){by}: accuracy "
            f"{figure(other.accuracy)} against {figure(first.accuracy)}."
        )
    if other.chance is not None:
        what = (
            f"{b} alone tells {other.gains} rightly, {a} alone {other.losses}"
            if other.test == "McNemar"
            else f"{b} has a mean {found.metric} of {figure(other.mean)}, {a} of {figure(first.mean)}"
        )
        lines.append(f"{what}: {verdict(other.chance)} ({other.test}, p = {p_value(other.chance)}).")
    return lines


def verdict(chance: float) -> str:
    """What a p-value means."""
    return "more than chance" if chance < ALPHA else "chance alone may explain that"


def among_many(first: Standing, others: Sequence[Standing], found: Comparison) -> list[str]:
    """How all other setups stand beside the first."""
    lines = []
    if first.mean is not None:
        ranked = [one for one in found.standings if one.mean is not None]
        sign = 1 if BETTER[found.metric] == "max" else -1
        best = max(ranked, key=lambda one: sign * (one.mean or 0))
        lines.append(
            f"Best of {len(found.setups)}: {best.setup.letter} ({best.setup.short_label}), "
            f"{found.metric} {figure(best.mean)}."
        )
    tested = [one for one in others if one.chance is not None]
    if tested:
        groups = {
            "better": [one.setup.letter for one in tested if one.differs and is_better(one, first, found.metric)],
            "worse": [one.setup.letter for one in tested if one.differs and not is_better(one, first, found.metric)],
            "no different": [one.setup.letter for one in tested if not one.differs],
        }
        told = "; ".join(f"{how}: {listed(letters)}" for how, letters in groups.items() if letters)
        tests = " and ".join(dict.fromkeys(one.test for one in tested))
        lines.append(f"Beside {first.setup.letter}, beyond chance (p < {ALPHA}, {tests}, corrected by Holm): {told}.")
    return lines


def is_better(one: Standing, first: Standing, metric: str) -> bool:
    """Whether a setup is better than the first, by what its test is about."""
    if one.test == "McNemar":
        return one.gains > one.losses
    sign = 1 if BETTER[metric] == "max" else -1
    return sign * ((one.mean or 0) - (first.mean or 0)) > 0


def p_value(chance: float) -> str:
    """A p-value in few digits."""
    return f"{chance:.3f}" if chance >= 0.001 else "<0.001"
