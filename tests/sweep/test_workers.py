"""Several workers on one study, and what becomes of it where some are stopped or killed: real processes."""

import importlib.util
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import optuna
import psutil
import pytest
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from expkit.sweep.study import AGAIN, DIED, INTERRUPTED, WORKER, count, is_lost
from tests.forked import Forked, spawned_by, wait_until
from tests.sweep.conftest import expkit, start

LR = "optim.lr=tag(log, interval(1e-4, 1e-1))"
SWEEP = ("hydra/sweeper=expkit", LR, "hydra.sweeper.pruner=none", "hydra.sweeper.study_name=digits-search")


def trials_in(cwd: Path) -> list[FrozenTrial]:
    (database,) = cwd.glob("outputs/digits/*/study.db")
    return optuna.load_study(study_name="digits-search", storage=f"sqlite:///{database}").trials


def begun(cwd: Path, number: int) -> Callable[[], bool]:
    """Whether a trial has trained an epoch."""
    return lambda: any(path.stat().st_size for path in cwd.glob(f"outputs/digits/*/{number}/metrics.jsonl"))


def asleep(process: Forked, cwd: Path) -> psutil.Process:
    """A worker suspended in the middle of its trial, one of two that run."""
    worker = spawned_by(process)[0]

    def sleeps() -> bool:
        worker.suspend()
        if not (sound := hands_over(cwd)):
            worker.resume()
        return sound

    wait_until(sleeps, process)
    return worker


def hands_over(cwd: Path) -> bool:
    """Whether two trials run, and nobody keeps the study's lock or its database from others."""
    (database,) = cwd.glob("outputs/digits/*/study.db")
    try:
        with FileLock(f"{database}.lock", timeout=5), closing(sqlite3.connect(database, timeout=5)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except (Timeout, sqlite3.OperationalError):
        return False
    return count(trials_in(cwd)).running == 2


def check_complete(cwd: Path, n_trials: int) -> list[FrozenTrial]:
    """Exactly `n_trials` trials finished, each with its own number, params and folder; gives all."""
    trials = trials_in(cwd)
    counted = count(trials)
    assert (counted.complete, counted.failed, counted.running, counted.waiting) == (n_trials, 0, 0, 0)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    kept = [trial for trial in trials if not is_lost(trial)]
    assert len({str(trial.params) for trial in kept}) == n_trials
    for trial in kept:
        assert (cwd / "outputs/digits/sweep_digits-search" / str(trial.number) / "result.json").exists()
        for earlier in trial.user_attrs.get(AGAIN, ()):
            assert trials[earlier].params.items() <= trial.params.items()
    return trials


def test_two_workers_share_a_study_without_losing_doubling_or_failing_a_trial(directory):
    status, out, err = expkit(*SWEEP, "hydra.sweeper.n_trials=12", "hydra.sweeper.n_jobs=2", "epochs=1", cwd=directory)
    assert status == 0, err
    assert "locked" not in err
    trials = check_complete(directory, 12)
    assert len(trials) == 12
    assert len({trial.user_attrs[WORKER]["lock"] for trial in trials}) == 2
    assert "the best of 12" in out


def test_a_killed_workers_trial_is_run_again_by_the_others(directory):
    process = start(*SWEEP, "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "epochs=20", cwd=directory)
    wait_until(begun(directory, 1), process)
    asleep(process, directory).kill()
    out, err = process.communicate()
    assert process.returncode == 0, err
    trials = check_complete(directory, 4)
    (lost,) = [trial for trial in trials if is_lost(trial)]
    (again,) = [trial for trial in trials if trial.user_attrs.get(AGAIN) == [lost.number]]
    assert again.params == lost.params
    assert list(again.user_attrs[DIED].values()) == [1]
    assert again.system_attrs["retry_history"] == [lost.number]
    assert f"trial {lost.number}: lost with its worker, runs again" in out


def test_a_killed_driver_takes_its_workers_along_and_the_same_command_goes_on(directory):
    arguments = (*SWEEP, "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "epochs=20")
    process = start(*arguments, cwd=directory)
    wait_until(begun(directory, 1), process)
    workers = spawned_by(process)
    process.kill()
    process.communicate()
    psutil.wait_procs(workers, timeout=60)
    assert not any(worker.is_running() for worker in workers)
    assert count(trials_in(directory)).finished < 4
    status, out, err = expkit(*arguments, cwd=directory)
    assert status == 0, err
    assert "going on with the study digits-search" in out
    check_complete(directory, 4)


def test_a_worker_that_slept_leaves_its_trial_to_the_one_that_took_it_for_lost(directory):
    arguments = (*SWEEP, "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "hydra.sweeper.heartbeat=1", "epochs=20")
    process = start(*arguments, cwd=directory)
    wait_until(begun(directory, 1), process)
    sleeper = asleep(process, directory)
    wait_until(lambda: any(map(is_lost, trials_in(directory))), process)
    sleeper.resume()
    _, err = process.communicate()
    assert process.returncode == 0, err
    check_complete(directory, 4)


def test_kills_at_random_moments_end_with_exactly_the_trials_wanted(directory):
    draw = random.Random(0)
    arguments = (*SWEEP, "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2", "epochs=10")
    for has_come in (spawned_by, lambda _: begun(directory, 3)()):
        process = start(*arguments, cwd=directory)
        while process.poll() is None and not has_come(process):
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 2))
        if process.poll() is None:
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                victims = [psutil.Process(process.pid), *spawned_by(process)]
                for victim in draw.sample(victims, draw.randint(1, len(victims))):
                    victim.kill()
        process.communicate()
    while process.returncode != 0:
        process = start(*arguments, cwd=directory)
        process.communicate()
    check_complete(directory, 6)


@pytest.mark.parametrize(("number", "status", "jobs"), [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)])
def test_a_signal_ends_workers_after_the_step_in_hand(directory, number, status, jobs):
    arguments = (*SWEEP, "hydra.sweeper.n_trials=2", f"hydra.sweeper.n_jobs={jobs}", "epochs=30")
    process = start(*arguments, cwd=directory)
    wait_until(begun(directory, jobs - 1), process)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == status, err
    assert "stopped: " in err
    assert "trials have finished; run the same command again to go on" in err
    assert "Traceback" not in err
    stopped = [trial for trial in trials_in(directory) if INTERRUPTED in trial.user_attrs]
    assert stopped
    for trial in stopped:
        own = directory / "outputs/digits/sweep_digits-search" / str(trial.number)
        assert "stopped after step" in (own / "expkit.log").read_text()
        assert trial.state == TrialState.FAIL
    if jobs == 1:
        assert expkit(*arguments, cwd=directory)[0] == 0
        check_complete(directory, 2)


def test_workers_start_through_the_joblib_launcher(directory):
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("hydra-joblib-launcher is not installed")
    arguments = (*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2", "epochs=1")
    status, _, err = expkit(*arguments, "hydra.sweeper.n_trials=4", cwd=directory)
    assert status == 0, err
    trials = check_complete(directory, 4)
    assert len({trial.user_attrs[WORKER]["lock"] for trial in trials}) == 2
