"""Care for what lies where a run is to be: no run is written over, and nothing that this process did not make goes.

Hydra fills a run's folder before any job sees it, so a callback looks first.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from expkit.errors import UserError
from expkit.grid import again as grid_again
from expkit.run_folder import refuse_others, refuse_run
from expkit.screen import say
from expkit.sweep.space.settings import TARGET
from expkit.whole_files import read_json

GRID_FILES = ("end.json", "jobs.csv", "metrics.jsonl", "multirun.yaml", "run.json", "tracking.json")
"""What a grid writes in its folder."""


@dataclass(frozen=True)
class Found:
    """What there was of a folder before Hydra made it."""

    entries: frozenset[str] = frozenset()
    missing: tuple[Path, ...] = ()
    """The folders on the way that were not there, the innermost first."""


BEFORE: dict[Path, Found] = {}
"""What this process found where its run is."""


class KeepRuns(Callback):
    """Refuses a folder that holds a run, or another grid, already; a study or a grid is gone on with in its folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at the folder of a single run."""
        folder = Path(config.hydra.run.dir)
        with ending():
            refuse_run(folder)
        BEFORE[folder.resolve()] = look(folder)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at the folder of a grid, and at those of its jobs."""
        if config.hydra.sweeper._target_ == TARGET:
            return
        with ending():
            if grid_again.take_up(config):
                return
            folder = Path(config.hydra.sweep.dir)
            refuse_others(folder, GRID_FILES, "hydra.sweep.dir")
            for path in folder.glob("*"):
                refuse_run(path, "hydra.sweep.dir")


@contextmanager
def ending() -> Iterator[None]:
    """End the process with a message for a user's mistake; Hydra only warns of a callback's exceptions."""
    try:
        yield
    except UserError as error:
        say(f"error: {error}", report=True, stderr=True)  # a call from Python raises it
        sys.exit(1)


def look(folder: Path) -> Found:
    """What there is of a folder now."""
    folder = folder.resolve()
    entries = frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset[str]()
    return Found(entries, tuple(path for path in (folder, *folder.parents) if not path.exists()))


def clear(folder: Path, names: set[str], found: Found) -> None:
    """Remove what this process made in a run's folder, if that is only `names`, and folders that it made for them.

    `found` is what there was before.
    """
    if not folder.is_dir():
        return
    made = {path.name for path in folder.iterdir()} - found.entries
    if not made <= names:
        return
    for name in made:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink()
    with suppress(OSError):  # somebody else has put something there
        for path in found.missing:
            path.rmdir()


def found_by(folder: Path, grid: Path | None) -> Found:
    """What there was of a run's folder: this process looked, or for a job, the one that began the grid.

    `grid` is the folder of the grid that the run is a job of.
    """
    if grid is None:
        return BEFORE.get(folder, Found(frozenset(path.name for path in folder.iterdir())))
    first = folder.relative_to(grid.resolve()).parts[0]
    was_there = first in read_json(grid / "run.json").get("found", [first])
    return Found() if was_there else Found(missing=(folder,))
