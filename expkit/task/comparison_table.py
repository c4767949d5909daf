"""What a person sees of a comparison."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from expkit.command import shown
from expkit.comparison.answers import p_value
from expkit.comparison.standings import Comparison
from expkit.comparison.tables import SCORES
from expkit.screen import console
from expkit.words import duration, figure

SHOWN = 8
"""Classes that are shown; classes.csv has them all."""
FEW = 3
"""Of so many setups each has a column, of more a row."""


def show(found: Comparison, answers: Sequence[str], page: Path) -> None:
    """Print what differs, what each came to, and what that says."""
    where = console(report=True)
    where.print(by_column(found) if len(found.setups) <= FEW else by_row(found), markup=False)
    if found.shared is not None and found.shared.differing and len(found.setups) <= FEW:
        where.print(classes_of(found), markup=False)
    where.print("\n".join(["", *answers, *(f"note: {note}" for note in found.notes)]), highlight=False, markup=False)
    where.print(
        f"  folder   {shown(page.parent)}\n  page     {shown(page)}", highlight=False, soft_wrap=True, markup=False
    )


def by_column(found: Comparison) -> Table:
    """A column for each setup: what differs, and then the scores."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for setup in found.setups:
        table.add_column(setup.letter, justify="right", overflow="fold")
    for name, cells in rows_of(found):
        if any(cells):
            table.add_row(name, *cells)
    return table


def rows_of(found: Comparison) -> Iterator[tuple[str, list[str]]]:
    """What is told of each setup, with a cell for each; empty where there is nothing to tell."""
    setups, standings = found.setups, found.standings
    yield "run", [one.runs[0].name if len(one.runs) == 1 else f"{len(one.runs)} seeds" for one in setups]
    for key in found.keys:
        yield key, [one.settings.get(key, "") for one in setups]
    for metric in dict.fromkeys([found.metric, *SCORES]):
        yield metric, [mean_of([run.score(metric) for run in one.runs]) for one in setups]
    yield f"{found.metric}, std", ["" if one.spread is None else f"{one.spread:.4f}" for one in standings]
    yield "test_accuracy", [mean_of([run.test_accuracy for run in one.runs]) for one in setups]
    if "epochs" not in found.keys:
        yield "epochs", ["/".join(dict.fromkeys(str(len(run.history)) for run in one.runs)) for one in setups]
    seconds = [[float(run.result.get("seconds", 0)) for run in one.runs] for one in setups]
    yield "time", [duration(sum(one) / len(one)) if all(one) else "" for one in seconds]
    if found.shared is not None:
        count = len(found.shared.files)
        yield (
            f"accuracy on {count}",
            [
                ""
                if one.accuracy is None
                else figure(one.accuracy) + (f" on {one.images}" if one.images != count else "")
                for one in standings
            ],
        )
        yield "  95% interval", [limits(one.interval, "") for one in standings]
        yield (
            f"  beside {found.first.setup.letter}",
            ["" if one.difference is None else f"{one.difference:+.4f}" for one in standings],
        )
        yield "  95% interval", [limits(one.difference_interval, "+") for one in standings]
    yield "  p", ["" if one.chance is None else p_value(one.chance) for one in standings]


def by_row(found: Comparison) -> Table:
    """A row for each setup."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("differs in", overflow="fold")
    table.add_column(found.metric.removeprefix("valid_"), justify="right")
    if found.repeated:
        table.add_column("std", justify="right")
    if found.shared is not None:
        table.add_column("95%", justify="right")
        table.add_column(f"beside {found.first.setup.letter}, 95%", justify="right")
    table.add_column("p", justify="right")
    for one in found.standings:
        cells = [one.setup.letter, one.setup.label, "" if one.mean is None else figure(one.mean)]
        if found.repeated:
            cells.append("" if one.spread is None else f"{one.spread:.4f}")
        if found.shared is not None:
            cells += [limits(one.interval, ""), limits(one.difference_interval, "+")]
        table.add_row(*cells, "" if one.chance is None else p_value(one.chance))
    return table


def classes_of(found: Comparison) -> Table:
    """The classes that differ most between setups."""
    table = Table(box=None, pad_edge=False)
    table.add_column("\nclasses, differing most first", overflow="fold")
    table.add_column("\nimages", justify="right")
    shared = found.shared
    assert shared is not None
    for setup in shared.setups:
        table.add_column(f"\n{setup.letter}", justify="right")
    for label, values in list(shared.differing.items())[:SHOWN]:
        table.add_row(
            shared.classes[label], str(int((shared.labels == label).sum())), *(f"{value:.3f}" for value in values)
        )
    return table


def mean_of(values: Sequence[float | None]) -> str:
    """The mean of some scores, empty where one is lacking."""
    known = [value for value in values if value is not None]
    return figure(sum(known) / len(known)) if len(known) == len(values) else ""


def limits(interval: tuple[float, float] | None, sign: str) -> str:
    """An interval in few digits, with a `sign` where one is wanted."""
    return "" if interval is None else f"{interval[0]:{sign}.3f} to {interval[1]:{sign}.3f}"
