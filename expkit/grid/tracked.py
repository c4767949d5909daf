"""Hydra's own grid (`-m optim=sgd,adam`) as one tracked run with a nested run for each job."""

import csv
import io
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.conf import HydraConf
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from expkit.command import shown
from expkit.config.composed import experiment
from expkit.config.schema import check_node
from expkit.errors import UserError
from expkit.grid.again import asked, hold
from expkit.run_folder import RunFolder, hide_in_files
from expkit.screen import console, say
from expkit.secrets import as_written, resolved, typed_overrides
from expkit.task.next_steps import next_comparison, next_steps
from expkit.tracking import tracker_of
from expkit.tracking.best import BEST, Candidate, best_in
from expkit.tracking.naming import in_line, shortened, telling
from expkit.tracking.nested import end_of, is_tracked, make_parent, nested_in, path_to_parent
from expkit.tracking.notes import MLFLOW_RUN_NOTE, markdown
from expkit.tracking.registering import registered, send_model
from expkit.whole_files import read_json, write_whole

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 20
"""So many jobs are shown at the end, the best ones."""
OWN = ("expkit.", "hydra_plugins.expkit")
"""Where a sweeper comes from that makes the parent of its runs itself."""


class TrackGrid(Callback):
    """Opens the run of a grid before its jobs, and closes it after them with a table of what they came to.

    Where the grid ends otherwise, its sender closes the run as KILLED.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the grid's run, which is in the store from the first tracked job on."""
        self.grid: RunFolder | None = None
        if not str(config.hydra.sweeper._target_).startswith(OWN):
            with ending_the_grid():
                self.grid = make_grid(config)
                hold(self.grid.path)
                self.tracker = tracker_of(self.grid.path)
                self.tracker.start()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the table and close the grid's run."""
        if self.grid is None:
            return
        self.grid.note(ended=int(time.time() * 1000))  # the same command begins a new grid from now on
        hide_in_files(self.grid.path)
        with ending_the_grid():
            best = best_of(self.grid)
            if not any(map(is_tracked, nested_in(self.grid.path))):
                self.tracker.forget()
            else:
                if best and config.tracking.get("register"):
                    send_model(RunFolder(best.folder, ""), resolved(config.tracking))
                tags = summarize(self.grid, config.objective.mode)
                self.tracker.finish(status_of(self.grid), tags=tags)
            if best:
                tell(self.grid, best, config.objective.mode)


@contextmanager
def ending_the_grid() -> Iterator[None]:
    """End the process with a message for a user's mistake; Hydra only warns of a callback's exceptions."""
    try:
        yield
    except UserError as error:
        say(f"error: {error}", report=True, stderr=True)  # a call from Python raises it
        sys.exit(1)


def make_grid(config: DictConfig) -> RunFolder:
    """The parent of the jobs of a grid, in the sweep's folder. Raises UserError for a wrong tracking node."""
    tracking = resolved(config.tracking)
    check_node("tracking", tracking)
    path, overrides = Path(config.hydra.sweep.dir), typed_overrides(config.hydra)
    there = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    told = telling(overrides)
    return make_parent(
        path,
        experiment(config.hydra),
        kind="grid",
        name=str(config.name or in_line(shortened(told)) or path.name),
        tracking=as_written({"tracking": tracking}, config)["tracking"],
        params=by_key(told),
        found=read_json(path / "run.json").get("found", there),
        **asked(config),
    )


def by_key(overrides: Sequence[str]) -> dict[str, str]:
    """What overrides say of each key."""
    return {key: value for key, _, value in (one.partition("=") for one in overrides)}


def place_in_grid(hydra: HydraConf) -> dict[str, Any]:
    """The facts of a run that is a job of a grid, none for any other; `hydra` is the node of the job."""
    if hydra.mode != RunMode.MULTIRUN:
        return {}
    grid = Path(hydra.runtime.cwd, hydra.sweep.dir)
    if read_json(grid / "run.json").get("kind") != "grid":
        return {}
    return {
        "parent": path_to_parent(grid, Path(hydra.runtime.output_dir)),
        "params": {"job": hydra.job.num},
    }


def summarize(grid: RunFolder, mode: str) -> dict[str, str]:
    """Write jobs.csv, a row for each job, and the best objective as a metric; gives the same table as a tag.

    `mode` is the direction of the objective, min or max.
    """
    rows = rows_of(grid)
    if not rows:
        return {}
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(grid.path / "jobs.csv", lambda partial: partial.write_text(text.getvalue(), encoding="utf-8"))
    found = [read_json(job / "result.json").get("objective") for job in nested_in(grid.path)]
    if name := next((objective["name"] for objective in found if objective), None):
        rows.sort(key=lambda row: rank(row.get(name), mode))
        if (best := rows[0].get(name)) is not None:  # a loss that is no number is none in result.json
            point = {"name": f"best_{name}", "value": best, "step": 0, "timestamp": int(time.time() * 1000)}
            write_whole(grid.metrics, lambda partial: partial.write_text(json.dumps(point) + "\n", encoding="utf-8"))
    return {MLFLOW_RUN_NOTE: markdown(columns, rows)}


def best_of(grid: RunFolder) -> Candidate | None:
    """The best job; None where none came to a number, as of another task than a training, or they do not compare."""
    try:
        return best_in(grid.path)
    except UserError:
        return None


def tell(grid: RunFolder, best: Candidate, mode: str) -> None:
    """Print what the jobs of a grid that trained came to, the best first, and what can be done with its model next."""
    rows = sorted(rows_of(grid), key=lambda row: rank(row.get(best.metric), mode))
    console(report=True).print(table_of(rows[:SHOWN], best))
    if len(rows) > SHOWN:
        say(f"and {len(rows) - SHOWN} more in {shown(grid.path / 'jobs.csv')}", report=True)
    version = registered(RunFolder(best.folder, ""))
    finished = sum((job / "result.json").exists() for job in nested_in(grid.path))
    lines = [
        f"{best.metric} {best.value:.4f} in job {best.number}, the best of {grid.path.name}",
        f"  folder   {shown(best.folder)}",
        *([f"  model    registered as {version}"] if version else []),
        *([next_comparison(grid.path)] if finished > 1 else []),
        *next_steps(f"{BEST}{shown(grid.path)}", grid.experiment),
    ]
    say("\n".join(lines), report=True)


def status_of(grid: RunFolder) -> str:
    """How a grid ended: FAILED where no job of it came to its end."""
    ends = [(end_of(job) or {}).get("status") for job in nested_in(grid.path)]
    return "FINISHED" if "FINISHED" in ends else "FAILED"


def rank(value: float | None, mode: str) -> float:
    """Where a job stands in the table: the best first, those without a value last."""
    return math.inf if value is None else -value if mode == "max" else value


def table_of(rows: Sequence[Mapping[str, Any]], best: Candidate) -> "Table":
    """Jobs as a table: where each lies in the grid's folder, what differs, and what it came to."""
    from rich.table import Table

    keys = list(dict.fromkeys(key for row in rows for key in row))
    if all(row["status"] == "FINISHED" for row in rows):
        keys.remove("status")
    table = Table(box=None, pad_edge=False)
    for key in keys:
        justify: Literal["left", "right"] = "right" if key in (best.metric, "seconds") else "left"
        table.add_column("folder" if key == "job" else key, justify=justify, overflow="fold")
    table.add_column("")
    for row in rows:
        is_best, value = row["job"] == best.folder.name, row.get(best.metric)
        told = {**row, best.metric: "" if value is None else f"{value:.4f}"}
        cells = [str(told.get(key, "")) for key in keys]
        table.add_row(*cells, "<- best" if is_best else "", style="bold" if is_best else None)
    return table


def rows_of(grid: RunFolder) -> list[dict[str, Any]]:
    """The jobs of a grid in their order, as rows of its table."""
    common = set(read_json(grid.facts, "overrides")["overrides"])
    return [row_of(job, common) for job in nested_in(grid.path)]


def row_of(path: Path, common: set[str]) -> dict[str, Any]:
    """A job in the table: its number, what it overrides, how it ended, and what it came to."""
    own = [one for one in read_json(path / "run.json", "overrides")["overrides"] if one not in common]
    row: dict[str, Any] = {"job": path.name, **by_key(own)}
    row["status"] = (end_of(path) or {}).get("status", "")
    if (path / "result.json").exists():
        result = read_json(path / "result.json", "objective", "seconds")
        row |= {result["objective"]["name"]: result["objective"]["value"], "seconds": round(result["seconds"], 1)}
    return row
