"""What a worker does: pull trials from the study, one after the other, until it holds enough finished ones."""

import gc
import logging
import socket
import time
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from hydra.errors import HydraException
from omegaconf import DictConfig
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from expkit.causes import OWN, Cause, cause_of
from expkit.config.composed import explain
from expkit.config.plan import epochs_of
from expkit.errors import Unavailable, UserError
from expkit.interrupt import Interrupted
from expkit.sweep.space.composing import Composer
from expkit.sweep.space.jobs import Sweep
from expkit.sweep.space.samplers import make_pruner, make_sampler
from expkit.sweep.storage import Store
from expkit.sweep.study import (
    BEFORE,
    FAILED,
    INTERRUPTED,
    ORIGIN,
    STOPPED,
    WORKER,
    count,
    enqueue_grid,
    home_of,
    id_of,
    join_study,
    recover,
    refuse_killers,
    wanted,
)
from expkit.sweep.work.seeding import find_lr, first_params
from expkit.sweep.work.stop import Stop
from expkit.sweep.work.trial import run_trial
from expkit.tracking.finding import config_of
from expkit.wiring import Kept

log = logging.getLogger("expkit.sweep")

WAIT = 0.3
"""Seconds between looks at the trials of others, when there is none left to begin."""


class TrialFailed(Exception):
    """A trial that went wrong by itself; the study goes on."""


class Pulling:
    """One worker's connection to the study, and what it keeps between trials."""

    def __init__(self, sweep: Sweep, composed: DictConfig, lock: Path, deadline: float | None, stop: Stop) -> None:
        settings = sweep.settings
        self.sweep = sweep
        self.composed = composed
        self.config = config_of(composed)
        self.me = {"host": socket.gethostname(), "lock": str(lock), "threads": torch.get_num_threads()}
        self.deadline = deadline
        self.stop = stop
        self.store = Store(sweep.storage, settings.heartbeat)
        self.store.patience.stopped = stop
        sampler = make_sampler(settings, sweep.search)
        pruner = make_pruner(settings, epochs_of(self.config))
        self.study = join_study(self.store, settings.study_name, sampler, pruner)
        self.composer = Composer(sweep.context, sweep.config)
        self.kept = Kept()
        self.lr: float | None = None
        self.number = -1
        """The trial at hand."""
        self.froze = False
        """Whether what trials import is out of the garbage collector's sight."""

    def pull(self) -> None:
        """Run trials until there are enough.

        Raises Interrupted for a signal, UserError where no trial can run or the database is out of reach.
        """
        try:
            with self.store.answering():
                self.pull_trials()
        finally:
            if self.froze:
                gc.unfreeze()  # a notebook goes on after a sweep

    def pull_trials(self) -> None:
        """Take trials, one after the other."""
        while self.store.lock.acquire(self.stop):
            try:
                todo = self.look()
                if todo == "run":
                    self.run_one()
            finally:
                self.store.lock.release()
            if todo == "leave":
                return
            if todo == "wait":
                time.sleep(WAIT)

    def run_one(self) -> None:
        """Take a trial, under the lock that `objective` lets go, and run it."""
        try:
            self.study.optimize(self.objective, n_trials=1, catch=(TrialFailed,))
        except (UpdateFinishedTrialError, ValueError):  # Optuna has both for it
            if self.study.trials[self.number].state != TrialState.FAIL:
                raise
            # This machine slept, or its clock was set: another worker has the trial now.
            log.info("trial %d was taken for lost, and runs again elsewhere", self.number)
        if not self.froze:  # gc.get_freeze_count() tells it too, but counts object by object
            gc.freeze()  # what a first trial imports stays; to look for garbage in it takes as long as a trial
            self.froze = True

    def look(self) -> Literal["run", "wait", "leave"]:
        """What to do next, under the study's lock: first of all what any worker may have left undone."""
        settings = self.sweep.settings
        recover(self.store, self.study)
        refuse_killers(self.study, home_of(self.me))
        if self.sweep.search.searches_lr and self.lr is None:
            self.lr = self.seed()
        if settings.sampler == "grid":
            enqueue_grid(self.study, self.sweep.search, settings.n_trials)
        n_trials, counted = wanted(settings, self.sweep.search), count(self.study.get_trials(deepcopy=False))
        late = self.deadline is not None and time.time() > self.deadline
        if counted.finished >= n_trials or late:
            return "leave"
        return "run" if counted.finished + counted.running < n_trials else "wait"

    def objective(self, trial: optuna.Trial) -> float:
        """Run one trial; what goes wrong with it is kept with it."""
        self.number = trial.number
        trial.set_user_attr(WORKER, self.me)
        # Optuna's thread does it too, but a worker killed before that would never be missed on another machine.
        self.store.storage.record_heartbeat(id_of(self.store, self.study, self.number))
        self.store.lock.release()
        try:
            return run_trial(self.sweep, trial, self.lr, self.composer, self.kept, self.stop)
        except (optuna.TrialPruned, UpdateFinishedTrialError):
            raise
        except Interrupted as stop:
            trial.set_user_attr(INTERRUPTED, stop.status - 128)
            raise
        except Exception as error:
            reason = reason_of(error)
            log.info("trial %d failed: %s", self.number, reason, exc_info=not isinstance(error, UserError))
            if not is_own(trial, cause_of(error), reason):
                trial.set_user_attr(STOPPED, reason)
                raise Unavailable(
                    f"trial {self.number} was stopped, and with it the study, by what is not its own doing: {reason}\n"
                    "Mend that and run the same command again: the trial runs again, and the study goes on"
                ) from error
            trial.set_user_attr(FAILED, reason)
            raise TrialFailed(reason) from error

    def seed(self) -> float:
        """What the LR finder suggests on the base config, asked once for the study, and the first trial of it."""
        found: dict[str, Any] | None = self.study.user_attrs.get("lr_find")
        if found is None:
            found = find_lr(self.sweep.folder, self.config, self.composed, self.kept, self.stop)
            self.study.set_user_attr("lr_find", found)
        trials = self.study.get_trials(deepcopy=False)
        if not any(ORIGIN in trial.user_attrs for trial in trials):
            params = first_params(self.sweep.search, self.composed, found["lr"])
            self.study.enqueue_trial(params, user_attrs={ORIGIN: "lr_find"})
        return float(found["lr"])


def is_own(trial: optuna.Trial, cause: Cause, reason: str) -> bool:
    """Whether a trial has only itself to blame, so that it counts as failed and the study goes on.

    An error that nobody foresaw is its own where it comes a second time.
    """
    if cause is Cause.DATA:
        return any(key.split(".")[0] == "data" for key in trial.params)
    return cause in OWN or (cause is Cause.UNFORESEEN and trial.user_attrs.get(BEFORE) == reason)


def reason_of(error: Exception) -> str:
    """Why a trial failed, as it is kept with it."""
    if isinstance(error, UserError | HydraException):
        return explain(error)
    return f"{type(error).__name__}: {error}"
