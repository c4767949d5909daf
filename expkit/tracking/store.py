"""A store of MLflow, and the runs in it: found, or made where they are new."""

import errno
import getpass
import logging
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_USER
from sqlalchemy.pool import NullPool

from expkit.errors import UserError
from expkit.project import kept_url
from expkit.tracking.address import silence_of
from expkit.tracking.moved import MARK, location_of, take_along
from expkit.tracking.naming import LONGEST, run_name
from expkit.tracking.nested import is_in, parent_of, tag_of, tagged_folder
from expkit.tracking.notes import MLFLOW_RUN_NOTE, began_by
from expkit.urls import hide, sqlite_path, sqlite_url
from expkit.whole_files import read_json, write_json

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

PARAMS = 100
"""MLflow's limit of params in one call."""
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""The tag of an experiment that MLflow's UI opens on model training, not on GenAI."""
SETTLING = 2.0
"""Seconds within which all machines that begin the same study at once see the runs that the others made for it."""


SILENCE = 10.0
"""Seconds that a server has to accept a connection."""


class OutOfReach(Exception):
    """A store does not answer."""


class Store:
    """Finds and makes runs in one store."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.parents: dict[Path, str] = {}
        self.is_open = False

    def open(self) -> None:
        """Make sure that it has answered since the last failure; raises OutOfReach."""
        if not self.is_open:
            mlflow.set_tracking_uri(self.uri)  # where models are logged
            try:
                self.client = open_store(self.uri)
            except OutOfReach:
                raise
            except Exception as error:  # whatever a store may raise
                raise OutOfReach(reason_of(error)) from error
            self.is_open = True

    def failed(self) -> None:
        """Look again whether it answers, and what it holds, before the next use."""
        self.is_open = False
        self.parents.clear()

    def run_of(self, folder: Path) -> Run:
        """The run of a folder, made where it is new, and its parent's before it.

        Several processes may ask at the same time: one of them makes it.
        """
        parent = parent_of(folder)
        with FileLock(folder / ".create.lock"):
            run = self.known_run(folder)
            if run is None:
                progress = {"uri": kept_url(self.uri, folder), "sent": 0}
                write_json(folder / "tracking.json", progress)
                run = self.make_run(folder, {MLFLOW_PARENT_RUN_ID: self.parent_id(parent)} if parent else {})
                write_json(folder / "tracking.json", progress | ids_of(run))
        return run

    def known_run(self, folder: Path) -> Run | None:
        """The run that an earlier sender made for a folder in this store, unless somebody deleted it."""
        progress = read_json(folder / "tracking.json")
        if not is_in(progress, self.uri, folder):
            return None
        if "run_id" in progress:
            run = find_run(self.client, progress["run_id"])
            return self.own(run, folder) if run else None
        # That sender died as it made the run, or it could not write down which.
        facts, tag = read_json(folder / "run.json", "experiment", "started"), tag_of(folder, self.uri)
        found = self.client.get_experiment_by_name(facts["experiment"])
        started = f"attributes.start_time = {facts['started']}"
        runs = self.client.search_runs([found.experiment_id], started) if found else []
        own = next((run for run in runs if run.data.tags.get("folder") == tag), None)
        if own:
            write_json(folder / "tracking.json", progress | ids_of(own))
        return own

    def own(self, run: Run, folder: Path) -> Run | None:
        """The run of a folder's tracking.json, unless the folder is a copy of the one that it is sent from.

        A study has a run for all its folders, and so has what was fetched from the store.
        """
        told, tag = run.data.tags.get("folder", ""), tag_of(folder, self.uri)
        if told == tag or run.data.tags.get("kind") == "study" or read_json(folder / "tracking.json").get("fetched"):
            return run
        before = read_json(tagged_folder(told, self.uri) / "tracking.json")
        if before.get("run_id") == run.info.run_id:
            log.warning("%s is a copy of %s, and is tracked as a run of its own", folder, told)
            return None
        self.set_tags(run.info.run_id, {"folder": tag})
        return run

    def parent_id(self, folder: Path) -> str:
        """The id of the run of a parent's folder."""
        if folder not in self.parents:
            self.parents[folder] = str(self.run_of(folder).info.run_id)
        return self.parents[folder]

    def make_run(self, folder: Path, tags: dict[str, str]) -> Run:
        """Make the run of a folder; that of a study may have been made on another machine."""
        facts = read_json(folder / "run.json", "experiment", "overrides")
        experiment = experiment_id(self.client, facts["experiment"], self.uri)
        tags = {"folder": tag_of(folder, self.uri), MLFLOW_RUN_NOTE: hide(began_by(facts)), **versions(), **tags}
        if "kind" in facts:
            tags["kind"] = facts["kind"]

        def create() -> Run:
            return self.client.create_run(experiment, facts.get("started"), tags, hide(run_name(folder)))

        if facts.get("kind") != "study":
            return create()
        name: str = read_json(folder / "run.json", "name")["name"]
        tags["study"] = name
        path = sqlite_path(self.uri)
        with FileLock(f"{path}.lock") if path else nullcontext():
            known = studies(self.client, experiment, name)
            return known[0] if known else create() if path else self.make_study(create, experiment, name)

    def make_study(self, create: Callable[[], Run], experiment: str, name: str) -> Run:
        """Make the run of a study in a store without a lock: of those that begin together, the first by id remains."""
        run = create()
        # Nobody begins once a run is there to be seen, so after this time every run that counts is.
        time.sleep(SETTLING)
        first = studies(self.client, experiment, name)[0]
        if first.info.run_id != run.info.run_id:
            self.client.delete_run(run.info.run_id)
        return first

    def log_params(self, run: Run, params: Iterable[tuple[str, object]]) -> None:
        """Send the params that the run does not have; one that has changed since stays, as MLflow demands."""
        named = {re.sub(r"[^\w.: -]", "_", key)[:LONGEST]: hide(str(value)) for key, value in params}
        new = [Param(key, value) for key, value in named.items() if key not in run.data.params]
        for start in range(0, len(new), PARAMS):
            self.client.log_batch(run.info.run_id, params=new[start : start + PARAMS])

    def set_tags(self, run_id: str, tags: dict[str, str]) -> None:
        """Set tags of a run."""
        self.client.log_batch(run_id, tags=[RunTag(key, hide(value)) for key, value in tags.items()])


def reason_of(error: Exception) -> str:
    """An error in one line, without passwords."""
    return hide(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")


def open_store(uri: str) -> MlflowClient:
    """A client of a store that answers; a sqlite file is made, with its tables, by one process at a time."""
    path = sqlite_path(uri)
    if path is None:
        # What does not answer is found at once here; MLflow would try it again and again for minutes.
        if silence := silence_of(uri, SILENCE):
            raise OutOfReach(silence)
        if not uri.startswith(("http", "databricks")):
            connect(uri)
        return answering(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            make_sqlite(path)
        # What is no database is found at once here; MLflow would try it again and again for minutes.
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
        client = answering(uri)
        take_along(path)
        return client


def connect(uri: str) -> None:
    """Connect to a database server once; raises what its module does, such as for a wrong password."""
    limit = {"connect_timeout": int(SILENCE)} if uri.startswith(("postgresql", "mysql")) else {}
    sqlalchemy.create_engine(uri, poolclass=NullPool, connect_args=limit).connect().close()


ROOM = 4 << 20
"""Bytes below which an empty store does not fit for want of them."""


def make_sqlite(path: Path) -> None:
    """Make a sqlite store beside its place, and put it there in one move: MLflow cannot open one that is half made."""
    partial = path.with_name(f".{path.name}.partial")
    for left in path.parent.glob(f"{partial.name}*"):  # with the journal of a process that was killed
        left.unlink()
    try:
        answering(sqlite_url(partial))
    except Exception as error:  # MLflow tries again in what it has half made, and tells what comes of that
        if shutil.disk_usage(path.parent).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    # MLflow's own experiment, too, has its files beside the store, not where it happened to be made.
    with closing(sqlite3.connect(partial)) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ?", (location_of(path, "Default"),))
    os.replace(partial, path)


def answering(uri: str) -> MlflowClient:
    """A client of a store that has just answered."""
    client = MlflowClient(uri)
    client.search_experiments(max_results=1)
    return client


def ids_of(run: Run) -> dict[str, str]:
    """What tracking.json says of where a run is in its store."""
    return {"run_id": str(run.info.run_id), "experiment_id": str(run.info.experiment_id)}


def experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    """The id of the experiment `name`, made where it is new; two processes may make it at the same time."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        path = sqlite_path(uri)
        try:
            if uri.startswith(("http", "databricks")):  # a server says itself where its artifacts are
                return str(client.create_experiment(name, tags=KIND))
            beside = path or Path("outputs/database").resolve()
            return str(client.create_experiment(name, location_of(beside, name), MARK | KIND))
        except MlflowException:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    for key, value in KIND.items():
        if key not in experiment.tags:  # made by an earlier version, or by a person, who has not said
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def studies(client: MlflowClient, experiment: str, name: str) -> list[Run]:
    """The runs of a study, by id."""
    found = client.search_runs([experiment], "tags.kind = 'study'")
    return sorted((run for run in found if run.data.tags.get("study") == name), key=lambda run: str(run.info.run_id))


def answer(uri: str, question: Callable[[MlflowClient], Answer]) -> Answer | None:
    """What a store says to a question; None where its file is not there yet.

    Raises OutOfReach where it does not answer.
    """
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        return None
    try:
        return question(open_store(uri))
    except (OutOfReach, UserError):
        raise
    except Exception as error:  # whatever a store may raise
        raise OutOfReach(reason_of(error)) from error


def sent_from(client: MlflowClient, run_id: str, uri: str) -> Path | None:
    """The run folder that a run in the store at `uri` was sent from, None where there is no such run."""
    run = find_run(client, run_id)
    folder = run.data.tags.get("folder") if run else None
    return tagged_folder(folder, uri) if folder else None


def find_run(client: MlflowClient, run_id: str) -> Run | None:
    """A run of the store, None where it holds none of that id or somebody deleted it."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


@cache
def versions() -> dict[str, str]:
    """What this process makes runs with: user, git commit of the working directory, and package versions."""
    tags = {name: version(name) for name in ("expkit", "torch", "torchvision", "mlflow")} | {
        "python": platform.python_version(),
        MLFLOW_USER: user(),
        MLFLOW_SOURCE_TYPE: "LOCAL",
        MLFLOW_SOURCE_NAME: "expkit",
    }
    if commit := git("rev-parse", "HEAD"):
        tags["mlflow.source.git.commit"] = commit
        tags["git_changes"] = "yes" if git("status", "--porcelain") else "no"
    return tags


def user() -> str:
    """Who runs this; the number of a user without a name, as containers have."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def git(*arguments: str) -> str:
    """What git says of the working directory, nothing where there is no git or no repository."""
    if shutil.which("git") is None:
        return ""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
