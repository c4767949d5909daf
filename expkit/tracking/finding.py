"""How an earlier run is found, by its folder or MLflow run id, and what to say where it is not."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from expkit.config.composed import plain
from expkit.config.schema import Config
from expkit.errors import Unavailable, UserError
from expkit.run_folder import RunFolder
from expkit.screen import say
from expkit.tracking.address import silence_of, store_of
from expkit.urls import hide, relative, sqlite_path

RUN_ID = re.compile("[0-9a-f]{32}")
"""What MLflow calls a run."""
BRIEF = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Somebody waits for the answer: a server has some seconds for it."""

LIBRARIES = ("mlflow", "alembic", "sqlalchemy")
"""Who logs when a store is opened."""


def config_of(composed: DictConfig | ListConfig) -> Config:
    """The composed config as checked plain values; where it takes the weights of an earlier run, that is found.

    Raises UserError for a missing or impossible value, naming its key.
    """
    config = plain(composed)
    weights = config.model.get("weights")
    if not isinstance(weights, str) or not RUN_ID.fullmatch(weights) or Path(weights).exists():
        return config
    try:
        folder = folder_of(weights, config.tracking.get("uri"))
    except UserError as error:
        raise UserError(f"model.weights: {error}") from error
    return replace(config, model={**config.model, "weights": str(folder)})


def find_run(run: str, uri: str | None = None) -> RunFolder:
    """The folder of an earlier run, named by its path or by its MLflow run id in the store that `uri` names.

    Raises UserError where there is no such run.
    """
    path = Path(run)
    return RunFolder.at(path if path.exists() else folder_of(run, uri))


@cache
def folder_of(run: str, uri: str | None = None) -> Path:
    """The folder of the run with an MLflow run id, by its tag in the store that `store_of(uri)` gives.

    Raises UserError where there is no such run, or its folder is not here, Unavailable where nobody answers.
    """
    uri = store_of(uri)
    store = hide(relative(uri))
    if not RUN_ID.fullmatch(run):
        raise UserError(f"{run} is neither a run folder nor the id of a run, as {store} has them")
    folder = ask(uri, run, store)
    if folder is None:
        raise UserError(
            f"{run} is neither a run folder nor the id of a run in {store}: give its folder, or name the store that "
            "has it in MLFLOW_TRACKING_URI"
        )
    if not folder.is_dir():
        raise UserError(f"the run {run} in {store} was sent from {folder}, which is not here: give its folder")
    return folder


def ask(uri: str, run: str, store: str) -> Path | None:
    """Ask a store for the folder of a run; a server within seconds."""

    def not_found_out(why: str) -> str:
        return f"cannot look up the run {run}: {store} {why}; give its folder below outputs/"

    if sqlite_path(uri) is None:
        say(f"looking for the run {run} in {store}", stderr=True)
        if silence := silence_of(uri, 5.0):
            raise Unavailable(not_found_out(f"does not answer ({silence})"))
    with quiet():
        from expkit.tracking.store import OutOfReach, sent_from

        try:
            return sent_from(uri, run)
        except OutOfReach as error:
            raise Unavailable(not_found_out(f"did not say ({error})")) from None


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
