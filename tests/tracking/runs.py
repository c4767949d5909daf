"""Run folders as training leaves them, without the training."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from expkit.run_folder import RunFolder
from expkit.tracking import make_parent, path_to_parent
from expkit.whole_files import read_json, write_json

HEAD = """
import sys, time
from pathlib import Path
from expkit.tracking import mlflow
from tests.tracking.runs import new_study, new_trial, write_metrics
"""
CONFIG = {
    "epochs": 2,
    "image_size": 64,
    "augment": {"_target_": "expkit.augment.none"},
    "model": {"_target_": "expkit.model.resnet18"},
    "optim": {"_target_": "expkit.optim.adam", "lr": 0.003},
}


def new_run(path: Path, experiment: str, **facts: Any) -> RunFolder:
    return RunFolder.create(path, experiment, CONFIG, [f"+experiment={experiment}", "optim.lr=0.003"], **facts)


def new_study(path: Path, experiment: str, name: str = "lr") -> RunFolder:
    return make_parent(path, experiment, kind="study", name=name, tracking={}, overrides=[f"+experiment={experiment}"])


def new_trial(study: RunFolder, number: int, **facts: Any) -> RunFolder:
    path = study.path / str(number)
    own = {"parent": path_to_parent(study.path, path), "params": {"trial": number}, "model": False}
    return new_run(path, study.experiment, **own, **facts)


def write_metrics(folder: RunFolder, steps: Iterable[int], name: str = "hp/lr_0") -> None:
    with open(folder.metrics, "a", encoding="utf-8") as file:
        for step in steps:
            file.write(json.dumps({"name": name, "value": step / 7, "step": step, "timestamp": 1000 + step}) + "\n")


def write_weights(folder: RunFolder) -> None:
    """The weights of a finished run and what goes with them; nobody loads these."""
    folder.exported_weights.parent.mkdir(exist_ok=True)
    folder.exported_weights.write_text("x")
    folder.metrics.touch()
    how = {"classes": ["cat", "dog"], "reading": {}, "precision": "fp32"}
    write_json(folder.result, how | {"steps": 3, "epochs": 1, "best_epoch": 1})


def runs_of(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """The runs of an experiment, by the names of their folders."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    return {Path(run.data.tags["folder"]).name: run for run in runs}


def steps_of(client: MlflowClient, folder: RunFolder, name: str = "hp/lr_0") -> list[int]:
    run_id = read_json(folder.tracking)["run_id"]
    return [point.step for point in client.get_metric_history(run_id, name)]


def artifacts_of(client: MlflowClient, folder: RunFolder) -> set[str]:
    run_id = read_json(folder.tracking)["run_id"]
    top = client.list_artifacts(run_id)
    below = [entry for one in top if one.is_dir for entry in client.list_artifacts(run_id, one.path)]
    return {entry.path for entry in [*top, *below] if not entry.is_dir}


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs `code`, with what this module has at hand."""
    head = (
        "import sys, time\nfrom pathlib import Path\nfrom expkit.tracking import *\nfrom tests.tracking.runs import *\n"
    )
    return subprocess.Popen([sys.executable, "-c", head + code, *map(str, arguments)], cwd=Path(__file__).parents[2])
