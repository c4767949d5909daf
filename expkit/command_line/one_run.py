"""One run of a composed config, from the command line or from Python: in its folder, which goes where it is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.types import RunMode
from omegaconf import DictConfig

from expkit.build import build
from expkit.causes import is_refusal
from expkit.command_line.guard import Found, clear, found_by
from expkit.config.composed import choices, experiment, written
from expkit.errors import UserError
from expkit.grid.again import job_again
from expkit.grid.tracked import place_in_grid
from expkit.run_folder import RunFolder
from expkit.secrets import typed_overrides
from expkit.tracking.finding import config_of
from expkit.whole_files import read_json

REFUSED_FILES = {"expkit.log", ".lock", ".create.lock", ".tracking.lock", "end.json", "tracking.json", "tracking.log"}
"""What a run has left that was refused once its data or model were read."""


def run_composed(composed: DictConfig, hydra: HydraConf, path: Path, before: Found | None = None) -> Any:
    """Run the task of a composed config, of which Hydra's node is `hydra`, in the folder `path`; gives what it gives.

    A job of a grid that was begun before goes on. `before` is what there was of the folder; None: what `KeepRuns`
    found. Raises UserError for what can be mended; nothing is left of a run that was refused before it began.
    """
    place = place_in_grid(hydra)
    grid = path / place["parent"] if place else None
    before = before or found_by(path.resolve(), grid)
    only_begun = {"config.yaml", "run.json", str(hydra.output_subdir)}
    try:
        refuse_params(hydra)
        config = config_of(composed)
        values, overrides = written(config, composed), typed_overrides(hydra)
        if place and (path / "config.yaml").exists():
            run = job_again(RunFolder(path, experiment(hydra)), replace(config, **values), overrides)
        else:
            named = {"name": config.name} if config.name and has_own_name(overrides, grid) else {}
            facts = {"choices": choices(hydra), **named, **place}
            run = RunFolder.create(path, experiment(hydra), values, overrides, **facts)
    except UserError:
        clear(path, only_begun, before)
        raise
    try:
        done = build(config.task, config, run, group="task")
    except UserError as error:
        if grid is None and is_refusal(error) and not run.has_begun:
            clear(path, only_begun | REFUSED_FILES, before)
        raise
    clear(path, only_begun, before)
    return done


def has_own_name(overrides: Sequence[str], grid: Path | None) -> bool:
    """Whether the `name` of a run is its own, not that of the grid that it is a job of."""
    told = read_json(grid / "run.json", "overrides")["overrides"] if grid else None
    return told is None or any(one.startswith("name=") and one not in told for one in overrides)


def refuse_params(hydra: HydraConf) -> None:
    """Raise UserError where a single run would ignore what a sweep was to search."""
    if hydra.mode == RunMode.RUN and hydra.sweeper.get("params"):
        raise UserError(
            "hydra.sweeper.params are for a sweep, and one run would ignore them: add -m (in Python: call "
            "expkit.sweep), or leave +sweeps out"
        )
