"""`resume=RUN`: an interrupted run goes on in its folder, and what of a sweep is not in the store yet is sent."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.build import build
from expkit.config.edited import heed_edits
from expkit.config.files import load_yaml
from expkit.errors import named
from expkit.project import project_of
from expkit.run_folder import RunFolder
from expkit.screen import say
from expkit.tracking import send_rest
from expkit.tracking.finding import config_of, find_run
from expkit.whole_files import read_json


def is_sweep(run: str) -> bool:
    """Whether RUN is the folder of a study or a grid."""
    return "kind" in read_json(Path(run) / "run.json")


def resume_sweep(folder: Path) -> None:
    """Send what the store does not have yet of a study or a grid; the working directory becomes that of its start."""
    go_back(folder)
    send_rest(folder)


def resume_run(run: str, allowed: Sequence[str]) -> tuple[RunFolder, Any]:
    """Go on with a run, in its folder and with its config; gives the folder, and what its task gives.

    `allowed` names changes of config.yaml that are meant: keys, and `data` for its keys below data and the images
    themselves, which are taken as they are now. The working directory becomes that of the run's start.
    """
    folder = find_run(run)
    with folder.held():
        edits = heed_edits(folder, allowed)
        if "data" in allowed:
            folder.note(accept_data=True)
    for line in edits:
        say(f"going on with a change: {line}")
    go_back(folder.path)
    with named(str(folder.config)):
        config = config_of(load_yaml(folder.config))
    return folder, build(config.task, config, folder, group="task")


def go_back(folder: Path) -> None:
    """Change to the directory that the run's relative paths lead from."""
    facts = read_json(folder / "run.json")
    os.chdir(project_of(folder, facts if facts.get("place") else read_json(folder / "run.json", "started_in")))
