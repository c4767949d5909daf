"""What a sweep came to, as a pandas frame and as a notebook shows it."""

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from expkit.api.model import Model, load
from expkit.command import shown
from expkit.tracking.best import best_in
from expkit.tracking.nested import nested_in
from expkit.whole_files import read_json

SHOWN = 10
"""So many of the best trials a notebook shows."""
PARAMS = "params."
"""What stands before the key of a param in the name of its column."""


class Best(NamedTuple):
    """The best trial of a study, or job of a grid."""

    number: int
    metric: str
    value: float
    params: dict[str, Any]
    """Key of the config -> value."""
    folder: Path
    """Of the run that has the weights."""


@dataclass(frozen=True, repr=False)
class Study:
    """A study or a grid in its folder; the trials of a grid are its jobs."""

    folder: Path
    failed: Mapping[int, str] = field(default_factory=dict)
    """Why each job of a grid failed that did, by number."""

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row for each trial: number, state, value, reason of a failure, seconds, and `params.KEY`."""
        table = self.folder / "trials.parquet"
        return pd.read_parquet(table) if table.exists() else jobs_in(self.folder, self.failed)

    @cached_property
    def best(self) -> Best:
        """The best trial, the earliest of equals. Raises UserError where none came to its end."""
        found = best_in(self.folder)
        row = self.trials.set_index("number").loc[found.number].dropna()
        names = [str(name) for name in row.index if str(name).startswith(PARAMS)]
        params = {name.removeprefix(PARAMS): plain(row[name]) for name in names}
        return Best(found.number, found.metric, found.value, params, found.folder)

    def load(self) -> Model:
        """The model of the best trial."""
        return load(self.best.folder)

    def __repr__(self) -> str:
        best = self.best
        return f"{best.metric} {best.value:.4f} in trial {best.number} of {len(self.trials)}, in {shown(self.folder)}"

    def _repr_html_(self) -> str:
        trials = self.trials.set_index("number")
        order = (trials["value"] - self.best.value).abs().sort_values(kind="stable").index  # the best comes first
        table = trials.loc[order].head(SHOWN).dropna(axis=1, how="all")
        told = [name for name in table if name in ("state", "value", "reason") or str(name).startswith(PARAMS)]
        return f"<p>{html.escape(repr(self))}</p>{table[told].to_html()}"


def jobs_in(grid: Path, failed: Mapping[int, str]) -> pd.DataFrame:
    """The jobs of a grid as trials."""
    from expkit.grid.tracked import by_key

    shared = read_json(grid / "run.json", "overrides")["overrides"]
    rows = {number: {"number": number, "state": "FAIL", "reason": why} for number, why in failed.items()}
    for path in nested_in(grid):
        facts, result = read_json(path / "run.json", "overrides", "params"), read_json(path / "result.json")
        number = facts["params"]["job"]
        own = by_key([one for one in facts["overrides"] if one not in shared])
        state = {"number": number, "state": "COMPLETE" if result else "FAIL"} | rows.get(number, {})
        came_to = {"value": result["objective"]["value"], "seconds": result["seconds"]} if result else {}
        rows[number] = state | came_to | {f"{PARAMS}{key}": read(value) for key, value in own.items()}
    return pd.DataFrame([rows[number] for number in sorted(rows)])


def read(text: str) -> Any:
    """The value that an override gives as text: a number where it is one."""
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text


def plain(value: Any) -> Any:
    """A cell of a frame as a value of Python."""
    return value.item() if hasattr(value, "item") else value
