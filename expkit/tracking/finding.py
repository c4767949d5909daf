"""How an earlier run is found, and what to say where it is not.

RUN is a run folder, an MLflow run id, best:FOLDER for the best run of a study or a grid, or a version of a registered
model: models:/NAME/VERSION, models:/NAME/latest, models:/NAME@ALIAS.
"""

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from omegaconf import DictConfig, ListConfig

from expkit.command import shown
from expkit.config.composed import plain
from expkit.config.schema import Config
from expkit.errors import Unavailable, UserError
from expkit.run_folder import RunFolder
from expkit.screen import say
from expkit.tracking.address import silence_of, store_of
from expkit.tracking.best import BEST, best_in
from expkit.urls import hide, relative, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

Answer = TypeVar("Answer")

RUN_ID = re.compile("[0-9a-f]{32}")
"""What MLflow calls a run."""
MODELS = "models:/"
VERSION = re.compile(r"models:/([^/:]+)(?:/(\d+|latest)|@([\w.-]+))")
"""A version of a registered model, as MLflow writes it."""
NO_PATH = re.compile(f"{RUN_ID.pattern}$|{BEST}|{MODELS}")
"""A RUN that is no path."""
BRIEF = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Somebody waits for the answer: a server has some seconds for it."""

LIBRARIES = ("mlflow", "alembic", "sqlalchemy")
"""Who logs when a store is opened."""


def config_of(composed: DictConfig | ListConfig) -> Config:
    """The composed config as checked plain values; where it takes the weights of an earlier run, that is found.

    Raises UserError for a missing or impossible value, naming its key.
    """
    config = plain(composed)
    weights = config.model.get("weights")
    if not isinstance(weights, str) or not NO_PATH.match(weights) or os.path.exists(weights):
        return config
    try:
        folder = path_of(weights, config.tracking.get("uri"))
    except UserError as error:
        raise UserError(f"model.weights: {error}") from error
    return replace(config, model={**config.model, "weights": str(folder)})


def find_run(run: str, uri: str | None = None) -> RunFolder:
    """The folder of an earlier run; `uri` names the store that has it, where the run is not named by a path.

    Raises UserError where there is no such run, Unavailable where a store does not answer.
    """
    return RunFolder.at(path_of(run, uri))


def path_of(run: str, uri: str | None) -> Path:
    """The folder that RUN means, which may be none of a run where RUN is a path."""
    path = Path(run)
    if os.path.exists(path):  # also asked of what is too long for a path
        return path
    if run.startswith(BEST):
        sweep = path_of(run.removeprefix(BEST), uri) if RUN_ID.fullmatch(run.removeprefix(BEST)) else run[len(BEST) :]
        best = best_in(Path(sweep).expanduser())
        tell(f"{run}: {shown(best.folder.absolute())} ({best.metric} {best.value:.4f})")
        return best.folder
    if run.startswith(MODELS):
        return folder_of(run_of_model(run, uri), uri)
    return folder_of(run, uri)


def run_of_model(model: str, uri: str | None) -> str:
    """The id of the run that a version of a registered model is of."""
    uri = store_of(uri)
    store, parts = hide(relative(uri)), VERSION.fullmatch(model)
    if parts is None:
        raise UserError(f"{model} names no version of a model: write models:/NAME/VERSION, /latest or @ALIAS after it")

    def look(client: "MlflowClient") -> str:
        from expkit.tracking.registry import run_of_version

        return run_of_version(client, parts[1], parts[2] or f"@{parts[3]}", store)

    run = ask(uri, model, look)
    if run is None:
        raise UserError(f"{model}: there is no {store}; name the store that has the model in MLFLOW_TRACKING_URI")
    return run


def folder_of(run: str, uri: str | None = None) -> Path:
    """The folder of the run with an MLflow run id, by its tag in the store that `store_of(uri)` gives.

    Where that folder is not here, one is made of the files that the store has of the run. Raises UserError where there
    is no such run, or no such files, Unavailable where nobody answers.
    """
    uri = store_of(uri)
    store = hide(relative(uri))
    if not RUN_ID.fullmatch(run):
        raise UserError(
            f"{run} is neither a run folder nor the id of a run, as {store} has them; other ways to name one are "
            f"{BEST}FOLDER of a study, and {MODELS}NAME/VERSION"
        )
    folder = told_folder(run, uri)
    return folder if folder.is_dir() else fetched(run, folder, uri)


@cache
def told_folder(run: str, uri: str) -> Path:
    """The folder that the run with an id in a store was sent from, asked once; it may not be here."""
    store = hide(relative(uri))

    def look(client: "MlflowClient") -> Path | None:
        from expkit.tracking.store import sent_from

        return sent_from(client, run, uri)

    folder = ask(uri, f"the run {run}", look)
    if folder is None:
        raise UserError(
            f"{run} is neither a run folder nor the id of a run in {store}: give its folder, or name the store that "
            "has it in MLFLOW_TRACKING_URI"
        )
    return folder


def fetched(run: str, folder: Path, uri: str) -> Path:
    """A folder of what the store has of a run, whose own `folder` is not here."""
    store = hide(relative(uri))
    tell(f"the run {run} in {store} was sent from {folder}, which is not here: taking its files from the store")

    def look(client: "MlflowClient") -> Path | None:
        from expkit.tracking.fetching import fetch

        return fetch(client, run, uri)

    found = ask(uri, f"the run {run}", look)
    if found is None:
        raise UserError(
            f"the run {run} in {store} was sent from {folder}, which is not here, and the store has no model of it, as "
            "of a run that is not finished: give its folder"
        )
    return found


def ask(uri: str, what: str, question: "Callable[[MlflowClient], Answer]") -> "Answer | None":
    """What a store says of `what`, None where its file is not there; a server within seconds.

    Raises Unavailable where it says nothing.
    """
    store = hide(relative(uri))

    def not_found_out(why: str) -> str:
        return f"cannot look up {what}: {store} {why}; give its folder below outputs/"

    if sqlite_path(uri) is None:
        tell(f"looking for {what} in {store}")
        if silence := silence_of(uri, 5.0):
            raise Unavailable(not_found_out(f"does not answer ({silence})"))
    with quiet():
        from expkit.tracking.store import OutOfReach, answer

        try:
            return answer(uri, question)
        except OutOfReach as error:
            raise Unavailable(not_found_out(f"did not say ({error})")) from None


@cache
def tell(line: str) -> None:
    """Say which run is meant, once; standard output may be a table."""
    say(line, stderr=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what MLflow and its libraries log or warn of from the screen, and its waiting short."""
    before = dict(os.environ)
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    os.environ.update(BRIEF)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name in BRIEF:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]
