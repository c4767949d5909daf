"""A study in a real PostgreSQL, started for the test from Debian's packages (install_postgresql.sh installs them)."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import psutil
import pytest

from expkit.errors import UserError
from expkit.sweep.storage import Store
from expkit.sweep.study import count, is_lost
from tests.forked import spawned_by, wait_until
from tests.sweep.conftest import expkit, start
from tests.sweep.test_workers import SWEEP, begun


def programs() -> Path | None:
    """Where initdb and pg_ctl lie: Debian keeps them off the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "pg_ctl").exists()), None)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Callable[[], object]]]:
    """The URL of an empty database in a server of its own, with a password, and how to start that server anew."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed; tests/sweep/install_postgresql.sh installs it from Debian's packages")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed; it comes with expkit[postgresql]")
    # A server refuses to run as root, and its folder must be its own.
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    as_user = ["runuser", "-u", user, "--"] if os.getuid() == 0 else []
    home = Path(subprocess.run([*as_user, "mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    port = free_port()
    password = home / "password"
    subprocess.run([*as_user, "sh", "-c", f"echo secret > {password}"], check=True)
    initdb = [folder / "initdb", "-D", home / "data", "-U", "expkit", "-A", "md5", f"--pwfile={password}", "-E", "UTF8"]
    subprocess.run([*as_user, *initdb], check=True, capture_output=True)
    control = [*as_user, folder / "pg_ctl", "-D", home / "data", "-w"]
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1"
    start_it = [*control, "-l", home / "log", "-o", options]
    subprocess.run([*start_it, "start"], check=True, capture_output=True)
    try:
        url = f"postgresql+psycopg://expkit:secret@127.0.0.1:{port}/postgres"
        yield url, lambda: subprocess.run([*start_it, "-m", "fast", "restart"], check=True, capture_output=True)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def postgresql(server: tuple[str, Callable[[], object]]) -> str:
    """The URL alone."""
    return server[0]


def trials_in(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="digits-search", storage=url).trials


def test_two_machines_work_at_one_study_and_a_killed_ones_trial_is_found_by_its_heartbeat(postgresql, directory):
    """Two commands in two directories, as on two machines that share only the server."""
    arguments = (*SWEEP, f"hydra.sweeper.storage={postgresql}", "hydra.sweeper.n_trials=4", "epochs=20")
    here, there = directory / "here", directory / "there"
    for cwd in (here, there):
        cwd.mkdir()
    jobs = ("hydra.sweeper.heartbeat=1", "hydra.sweeper.n_jobs=2")
    process = start(*arguments, *jobs, cwd=there)
    wait_until(begun(there, 1), process)
    victim = spawned_by(process)[0]
    for one in (psutil.Process(process.pid), victim):
        one.kill()
    process.communicate()
    shutil.rmtree(next(there.glob("outputs/digits/*/.workers")))  # no lock can be seen from another machine
    status, out, err = expkit(*arguments, *jobs, cwd=here)
    assert status == 0, err
    trials = trials_in(postgresql)
    counted = count(trials)
    assert (counted.complete, counted.failed, counted.running, counted.waiting) == (4, 0, 0, 0)
    assert any(map(is_lost, trials))
    assert "secret" not in out + err
    for path in here.rglob("*"):
        assert path.is_dir() or b":secret@" not in path.read_bytes(), path


def test_a_server_that_is_started_anew_is_waited_for(server, directory):
    url, restart = server
    arguments = (f"hydra.sweeper.storage={url}", "hydra.sweeper.study_name=restarted", "hydra.sweeper.n_jobs=2")
    process = start(*SWEEP, *arguments, "hydra.sweeper.n_trials=4", "epochs=20", cwd=directory)
    wait_until(begun(directory, 1), process)
    for _ in range(2):
        restart()
        time.sleep(1)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    counted = count(optuna.load_study(study_name="restarted", storage=url).trials)
    assert (counted.complete, counted.failed, counted.running, counted.waiting) == (4, 0, 0, 0)
    (log,) = directory.glob("outputs/digits/*/expkit.log")
    assert "asking again" in log.read_text()


def test_a_lock_in_a_server_is_held_by_one_and_goes_with_its_connection(postgresql):
    one, two = Store(postgresql, 10), Store(postgresql, 10)
    with one.lock.held():
        assert not two.lock.acquire(stopped=lambda: True)
    with two.lock.held():
        assert not one.lock.acquire(stopped=lambda: True)


def test_a_server_that_does_not_answer_is_named_without_its_password(postgresql, directory):
    wrong = postgresql.replace("secret", "guess").replace("expkit:", "nobody:")
    with pytest.raises(
        UserError, match=r"hydra.sweeper.storage=postgresql\+psycopg://nobody:\*\*\*@.* is out of reach"
    ):
        Store(wrong, 10)
    with pytest.raises(UserError, match=r"is out of reach: .*refused"):
        Store(f"postgresql+psycopg://expkit:secret@127.0.0.1:{free_port()}/postgres", 10)


def test_a_missing_driver_is_named_with_how_to_install_it():
    with pytest.raises(UserError, match=r"pip install psycopg, and write postgresql\+psycopg://"):
        Store("postgresql+pg8000://expkit@127.0.0.1/postgres", 10)
