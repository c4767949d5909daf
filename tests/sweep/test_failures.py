"""What ends a trial, or a study, and whose doing it is: only a trial that has itself to blame counts as failed."""

import resource
import shutil
import signal
import socket
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState

from expkit.causes import OWN, Cause
from expkit.errors import Unavailable, UserError
from expkit.interrupt import StopRequest
from expkit.sweep.show.line import SweepLine
from expkit.sweep.storage import Store
from expkit.sweep.study import BEFORE, STOPPED, WORKER, best_so_far, count, recover, refuse_killers
from expkit.sweep.work.pulling import is_own
from expkit.sweep.work.stop import Stop
from expkit.sweep.work.trial import leads
from tests.conftest import SMALL_MODEL
from tests.sweep.conftest import trials_of

LR = "optim.lr=tag(log, interval(1e-4, 1e-1))"

SMALL = (*SMALL_MODEL, "epochs=1", "image_size=16", "transfer=scratch", "tracking=none")


@contextmanager
def small_files(size: int):
    """Let no file of this process grow beyond `size` bytes, as a disk that fills."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def failed_trials(sweep) -> int:
    return count(trials_of(sweep)).failed


@pytest.mark.parametrize(("direction", "worse"), [("maximize", 0.25), ("minimize", 0.75)])
def test_the_model_kept_is_that_of_the_best_trial_whichever_ends_first(direction, worse):
    study = optuna.create_study(direction=direction)
    for _ in range(4):
        study.ask()
    study.tell(2, 0.5)
    study.tell(1, worse)
    assert [leads(study, number, [], 0.5) for number in (0, 3)] == [True, False]
    assert leads(study, 0, [0.25], 0.75)  # the mean of two runs
    study.tell(0, 0.5)
    assert best_so_far(study, study.trials).number == 0


def test_a_disk_that_fills_stops_the_study_and_fails_no_trial(swept):
    sweep = (LR, "hydra.sweeper.n_trials=1", *SMALL)
    with small_files(1_000_000), pytest.raises(UserError, match=r"not its own doing: .*(File too large|space)"):
        swept(*sweep)  # the weights have 2 MB
    done = swept(*sweep)
    stopped, *others = trials_of(done)
    assert STOPPED in stopped.user_attrs
    assert failed_trials(done) == 0
    assert [trial.state for trial in others] == [TrialState.COMPLETE]
    assert stopped.params in [trial.params for trial in others]


def test_images_that_are_gone_stop_the_study_and_fail_no_trial(swept, colour_folders):
    base = ("data=folders", f"data.root={colour_folders}", *SMALL, "batch_size=8")
    away = colour_folders.with_name("away")
    shutil.move(colour_folders, away)
    with pytest.raises(UserError, match="not its own doing"):
        swept(LR, "hydra.sweeper.n_trials=1", base=base)
    shutil.move(away, colour_folders)
    done = swept(LR, "hydra.sweeper.n_trials=1", base=base)
    assert failed_trials(done) == 0
    assert [trial.state for trial in trials_of(done)] == [TrialState.FAIL, TrialState.COMPLETE]


def test_an_error_nobody_foresaw_is_a_trials_own_when_it_comes_again():
    study = optuna.create_study()
    trial = study.ask()
    assert [is_own(trial, cause, "oh") for cause in Cause] == [cause in OWN for cause in Cause]
    trial.set_user_attr(BEFORE, "oh")
    assert is_own(trial, Cause.UNFORESEEN, "oh")
    assert not is_own(trial, Cause.UNFORESEEN, "another")
    assert not is_own(trial, Cause.DISK, "oh")


def test_data_that_cannot_be_read_is_the_doing_of_a_trial_that_chose_it():
    trial = optuna.create_study().ask()
    trial.suggest_float("data.valid_pct", 0, 1)
    assert is_own(trial, Cause.DATA, "the split is empty")


def store_in(folder: Path) -> Store:
    return Store(f"sqlite:///{folder}/study.db", 10)


def lose(store: Store, study: optuna.Study, lock: Path) -> None:
    """Begin a trial in a worker that then dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        study.ask().set_user_attr(WORKER, {"host": socket.gethostname(), "lock": str(lock)})
    recover(store, study)


def test_a_trial_whose_command_was_killed_again_and_again_runs_once_more(directory):
    store = store_in(directory)
    study = optuna.create_study(storage=store.storage)
    for command in range(7):
        lose(store, study, directory / f"command{command}" / "0.lock")
        refuse_killers(study, f"command{command}")
    counted = count(study.trials)
    assert (counted.failed, counted.waiting) == (0, 1)


def test_a_trial_that_takes_worker_after_worker_along_ends_the_command_and_not_the_trial(directory):
    store = store_in(directory)
    study = optuna.create_study(storage=store.storage)
    for _ in range(3):
        refuse_killers(study, "command")
        lose(store, study, directory / "command" / "0.lock")
    with pytest.raises(Unavailable, match=r"3 workers were killed over trial 2 .* fewer hydra.sweeper.n_jobs"):
        refuse_killers(study, "command")
    refuse_killers(study, "another")
    assert count(study.trials).failed == 0


def test_a_lost_answer_of_the_database_neither_ends_the_watch_nor_keeps_a_signal_back(prepared, directory, capsys):
    sweep, base = prepared("hydra/sweeper=expkit", LR)
    store = store_in(directory)
    study = optuna.create_study(storage=store.storage, direction="maximize")
    stop = Stop(directory / "home" / "stop", 0)
    request = StopRequest()
    with SweepLine(study, sweep, base, request, stop) as line:
        study.add_trial(optuna.trial.create_trial(value=0.5))
        with sqlite3.connect(directory / "study.db") as database:
            database.execute("ALTER TABLE trials RENAME TO away")
        line.look()
        line.look()
        request.signal = signal.SIGTERM
        line.ending.wait(1.5)
        assert stop() == signal.SIGTERM
        with sqlite3.connect(directory / "study.db") as database:
            database.execute("ALTER TABLE away RENAME TO trials")
    out = capsys.readouterr().out
    assert out.count("cannot be looked at: the database failed (no such table: trials") == 1
    assert "trial 0: valid_accuracy 0.5000" in out
