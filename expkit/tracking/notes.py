"""Tables in the description of a run, which the MLflow UI shows."""

from collections.abc import Mapping, Sequence
from typing import Any

MLFLOW_RUN_NOTE = "mlflow.note.content"
"""The tag that the MLflow UI shows as a run's description."""


def markdown(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table as the MLflow UI shows it in a run's description, which leaves no space between columns itself."""
    lines = [
        map(cell, columns),
        ["---"] * len(columns),
        *([cell(row.get(name, "")) for name in columns] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """A value in a table of markdown."""
    told = "" if value is None else str(value)
    text = f"{value:.4g}" if isinstance(value, float) else told.replace("|", "\\|")
    return f"{text}&emsp;"
