"""A Hydra callback that keeps runs from being written over: Hydra fills the folder before any job sees it."""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from expkit.errors import UserError
from expkit.run_folder import refuse_run
from expkit.sweep.settings import TARGET


class KeepRuns(Callback):
    """Refuses a folder that holds a run, or a grid, already; a study is gone on with in its folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at the folder of a single run."""
        refuse(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at the folders of a grid's jobs."""
        if config.hydra.sweeper._target_ == TARGET:
            return
        for folder in Path(config.hydra.sweep.dir).glob("*"):
            refuse(folder)


def refuse(folder: Path) -> None:
    """End the process with a message where `folder` holds a run; Hydra only warns of a callback's exceptions."""
    try:
        refuse_run(folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
