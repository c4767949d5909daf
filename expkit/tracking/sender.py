"""The process that sends a run folder to MLflow: `python -m expkit.tracking.sender FOLDER EXPERIMENT URI`.

It follows metrics.jsonl while the run trains and remembers in tracking.json how far it came, so that it can be killed
and started again: MLflow keeps one of two equal points. Its parent writes how the run ended into its standard input;
where the parent dies without a word, the run is closed as KILLED.
"""

import json
import logging
import os
import platform
import re
import select
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from omegaconf import OmegaConf

from expkit.run_folder import RunFolder, read_json, write_json

BATCH = 1000
"""MLflow's limit of metrics in one call."""
PARAMS = 100
"""MLflow's limit of params in one call."""
INTERNAL = (".lock", ".tracking.lock", "tracking.json", "tracking.log", "traces.bin")
"""Files of a run folder that stay there."""
PAUSE = 1.0
"""Seconds between looks at metrics.jsonl."""

# What MLflow prints must not come between the lines for the parent: from here on it goes to the log.
PARENT = os.dup(1)

log = logging.getLogger(__name__)


def main(folder: RunFolder, uri: str) -> None:
    """Follow a run to its end, telling the parent by lines of JSON how it goes.

    While the run trains, a store that fails is tried again at each look; what it missed stays in the folder.
    """
    # The sender of a killed process of the run may still be at work.
    with FileLock(folder.path / ".tracking.lock"):
        follow(Sender(folder, uri))


def follow(sender: "Sender") -> None:
    """Send a run until its parent says how it ended, then the rest."""
    trouble = ""
    while True:
        try:
            if sender.start():
                tell({"done": "started"})
            sender.send_metrics()
            trouble = ""
        except Exception as error:  # whatever a store may raise
            if trouble != (trouble := reason_of(error)):
                log.exception("the store failed and will be tried again")
                tell({"trouble": trouble})
        if select.select([sys.stdin], [], [], PAUSE)[0]:
            status = sys.stdin.readline().strip() or "KILLED"
            break
    try:
        sender.start()
        for step in sender.finish(status):
            tell({"done": step})
        tell({"done": "finished"})
    except Exception as error:  # likewise; the parent decides what it means for the run
        log.exception("the store did not take the whole run")
        tell({"error": reason_of(error)})
        sys.exit(1)


def reason_of(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


class Sender:
    """Sends one run folder to one MLflow store."""

    def __init__(self, folder: RunFolder, uri: str) -> None:
        self.folder = folder
        self.uri = uri
        self.client: MlflowClient | None = None
        saved = read_json(folder.tracking)
        # Progress counts only for the store that it was made with.
        self.progress: dict[str, Any] = saved if saved.get("uri") == uri else {"uri": uri, "sent": 0}

    def start(self) -> bool:
        """Open the store, and make the MLflow run with its params or open it again; False where that is done."""
        if self.client is not None:
            return False
        client = open_store(self.uri)
        if "run_id" in self.progress and not has_run(client, self.run_id):
            self.progress = {"uri": self.uri, "sent": 0}  # somebody deleted it, or the whole store
        if "run_id" not in self.progress:
            self.progress["run_id"] = self.create_run(client)
            self.save()
        elif self.progress.get("status") != "FINISHED":
            client.update_run(self.run_id, "RUNNING")
        self.log_params(client)
        self.client = client
        return True

    @property
    def run_id(self) -> str:
        """The MLflow run id."""
        return str(self.progress["run_id"])

    def create_run(self, client: MlflowClient) -> str:
        """Make the MLflow run, with its tags."""
        experiment = experiment_id(client, self.folder.experiment, self.uri)
        tags = {"folder": str(self.folder.path.resolve()), **versions()}
        run = client.create_run(experiment, tags=tags, run_name=run_name(self.folder))
        return str(run.info.run_id)

    def log_params(self, client: MlflowClient) -> None:
        """Send the composed config, flattened with dots."""
        config = OmegaConf.to_container(OmegaConf.load(self.folder.config), resolve=True)
        params = [Param(re.sub(r"[^\w.: -]", "_", key)[:250], str(value)) for key, value in flatten(config)]
        for start in range(0, len(params), PARAMS):
            client.log_batch(self.run_id, params=params[start : start + PARAMS])

    def send_metrics(self) -> None:
        """Send the lines of metrics.jsonl that are new and whole."""
        assert self.client is not None
        if not self.folder.metrics.exists():
            return
        with open(self.folder.metrics, "rb") as file:
            file.seek(self.progress["sent"])
            while lines := [line for line in take(file, BATCH) if line.endswith(b"\n")]:
                points = [json.loads(line) for line in lines]
                metrics = [Metric(p["name"], p["value"], p["timestamp"], p["step"]) for p in points]
                self.client.log_batch(self.run_id, metrics=metrics)
                self.progress["sent"] += sum(map(len, lines))
                self.save()

    def finish(self, status: str) -> Iterator[str]:
        """Send the rest, then the files and the model, and close the run; a word after each step."""
        assert self.client is not None
        if self.progress.get("status") == "FINISHED":
            return
        self.send_metrics()
        yield "metrics"
        result = read_json(self.folder.result)
        tags = {"fingerprint": result["fingerprint"]} if result else {}
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        for path in sorted(self.folder.path.rglob("*")):
            if path.is_file() and is_record(path) and (status == "FINISHED" or path.parent.name != "checkpoints"):
                where = str(path.relative_to(self.folder.path).parent)
                self.client.log_artifact(self.run_id, str(path), None if where == "." else where)
                yield path.name
        if result and status == "FINISHED":
            from expkit.tracking.model import log_model

            log_model(self.folder, self.run_id)
            yield "model"
        self.client.set_terminated(self.run_id, status)
        self.progress["status"] = status
        self.save()

    def save(self) -> None:
        """Remember how far the sending came."""
        write_json(self.folder.tracking, self.progress)


def open_store(uri: str) -> MlflowClient:
    """A client of the store; a sqlite file is made, with its tables, by one process at a time."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    path = sqlite_path(uri)
    if path is None:
        return MlflowClient(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        # What is no database is found at once here; MLflow would try it again and again for minutes.
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    """The id of the experiment `name`, made where it is new; two processes may make it at the same time."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        path = sqlite_path(uri)
        try:
            return str(client.create_experiment(name, f"{path.parent}/mlartifacts/{name}" if path else None))
        except MlflowException:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return str(experiment.experiment_id)


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite store, None for any other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def folder_tag(uri: str, run_id: str) -> str | None:
    """The run folder that a run in the store was sent from, None where there is no such run."""
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        return None
    try:
        tags = open_store(uri).get_run(run_id).data.tags
    except MlflowException:
        return None
    folder: str | None = tags.get("folder")
    return folder


def has_run(client: MlflowClient, run_id: str) -> bool:
    """Whether the store holds a run."""
    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def run_name(folder: RunFolder) -> str:
    """What tells the run from its neighbours in a list: the overrides it was started with, else its folder's name."""
    overrides = read_json(folder.facts)["overrides"]
    told = " ".join(one for one in overrides if not one.startswith(("+experiment=", "data.root=")))
    return told[:80] or folder.path.name


def flatten(node: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of nested mappings, each with its dotted path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def versions() -> dict[str, str]:
    """What the run was made with: the git commit of the working directory, and package versions."""
    tags = {name: version(name) for name in ("expkit", "torch", "torchvision", "mlflow")} | {
        "python": platform.python_version()
    }
    if commit := git("rev-parse", "HEAD"):
        tags["mlflow.source.git.commit"] = commit
        tags["git_changes"] = "yes" if git("status", "--porcelain") else "no"
    return tags


def git(*arguments: str) -> str:
    """What git says of the working directory, nothing where there is no git or no repository."""
    if shutil.which("git") is None:
        return ""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def take(file: Any, count: int) -> Iterator[bytes]:
    """The next `count` lines of a file."""
    for _ in range(count):
        line = file.readline()
        if not line:
            return
        yield line


def is_record(path: Path) -> bool:
    """Whether a file of the run folder says something of the run, and is not of use to a running process only."""
    return path.name not in INTERNAL and path.suffix != ".partial"


def tell(message: dict[str, Any]) -> None:
    """Write a line to the parent, which may be gone."""
    try:
        os.write(PARENT, f"{json.dumps(message)}\n".encode())
    except BrokenPipeError:
        log.info("the parent process is gone")


if __name__ == "__main__":
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO)
    main(RunFolder(Path(sys.argv[1]), sys.argv[2]), sys.argv[3])
