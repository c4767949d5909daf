"""The description of a run, which the MLflow UI shows: its command, its report and a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.command import command

if TYPE_CHECKING:
    from mlflow.entities import Run

MLFLOW_RUN_NOTE = "mlflow.note.content"
"""The tag that the MLflow UI shows as a run's description."""


def began_by(facts: Mapping[str, Any]) -> str:
    """The command that began a run, by its run.json, as a block of markdown."""
    return f"```sh\n{command(*(['-m'] if 'kind' in facts else []), *facts['overrides'])}\n```"


def description(path: Path, facts: Mapping[str, Any], run: "Run", table: str) -> str:
    """What is said of a run in the folder `path`: its command, a link to its report once there is one, a `table`."""
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/report.html"
    report = f"[report.html]({page})" if (path / "report.html").exists() else ""
    return "\n\n".join(filter(None, (began_by(facts), report, table)))


def is_own(told: str, facts: Mapping[str, Any]) -> bool:
    """Whether a description may be written over: there is none, or it was made here, not by a person."""
    return not told or "kind" in facts or told.startswith(began_by(facts))


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
