"""`python -m expkit` in processes that need not import torch and the like first, which takes each of them seconds.

A server that has imported these forks for each command. All else is as ever: arguments, directory, environment, output,
signals, the interpreter's own end. A test of imports, or of what holds for any seed of Python's hashes (which commands
of one server share), starts a process of its own.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil

HEAVY = (
    "hydra.core.plugins",
    "jinja2",
    "matplotlib.figure",
    "optuna",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "sklearn.datasets",
    "sklearn.metrics",
    "timm",
    "torch",
    "torchvision.transforms.v2",
)
"""What most commands import of others' packages; each imports expkit itself anew."""
PATIENCE = 600
"""Seconds that something may take on a machine with much else to do before it is taken for hanging."""


class Forked:
    """A command, with as much of subprocess.Popen as tests ask for."""

    def __init__(self, *arguments: str, cwd: Path, environment: Mapping[str, str]) -> None:
        self.output = TemporaryFile("w+"), TemporaryFile("w+")
        reading, writing = os.pipe()
        self.told = os.fdopen(reading)
        request = {"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}
        _, requests = server(environment.get("OMP_NUM_THREADS"))
        ends = [*(file.fileno() for file in self.output), writing]
        socket.send_fds(requests, [f"{json.dumps(request)}\n".encode()], ends)
        os.close(writing)
        self.pid = int(self.told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        if self.returncode is None and select.select([self.told], [], [], 0)[0]:
            self.returncode = int(self.told.readline())
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """What it printed, once it has ended."""
        assert self.returncode is not None or select.select([self.told], [], [], PATIENCE)[0], "it goes on for ever"
        self.poll()
        for file in self.output:
            file.seek(0)
        out, err = (file.read() for file in self.output)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a word."""
        self.send_signal(signal.SIGKILL)


def start(*arguments: str, cwd: Path, environment: Mapping[str, str] = os.environ) -> Forked:
    """Begin `python -m expkit ARGUMENTS` in `cwd`."""
    return Forked(*arguments, cwd=cwd, environment=environment)


def expkit(*arguments: str, cwd: Path, environment: Mapping[str, str] = os.environ) -> tuple[int, str, str]:
    """Do `python -m expkit ARGUMENTS` in `cwd`; its exit status, and what it printed as output and as errors."""
    process = start(*arguments, cwd=cwd, environment=environment)
    out, err = process.communicate()
    assert process.returncode is not None
    return process.returncode, out, err


def wait_until(condition: Callable[[], object], process: Any) -> None:
    """Wait for what a process, which must go on meanwhile, is to bring about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def spawned_by(process: Any) -> list[psutil.Process]:
    """The living children of a process that Python's multiprocessing began anew: a sweep's workers, a feed's."""
    return [child for child in psutil.Process(process.pid).children() if is_spawned(child)]


def is_spawned(child: psutil.Process) -> bool:
    """Whether a process lives and was spawned."""
    try:
        return any("spawn_main" in word for word in child.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it ended meanwhile
        return False


@cache
def server(threads: str | None) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A server, and where it takes requests; its libraries have been told as they were imported to use `threads`."""
    here, there = socket.socketpair()
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = threads
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forked", str(there.fileno())],
        pass_fds=[there.fileno()],
        cwd=Path(__file__).parents[1],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    there.close()
    return process, here


def serve(requests: socket.socket) -> None:
    """Fork for each request, until the tests have ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in HEAVY:
        importlib.import_module(name)
    while True:
        request, ends, *_ = socket.recv_fds(requests, 1 << 16, 3)
        if not request:
            return
        while not request.endswith(b"\n"):
            request += requests.recv(1 << 16)
        if os.fork() == 0:
            requests.close()
            attend(json.loads(request), *ends)
            return
        for end in ends:
            os.close(end)


def attend(request: Mapping[str, Any], out: int, err: int, told: int) -> None:
    """Fork the command, and tell its number, and its exit status once it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        os.write(told, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    os.close(told)
    become(request, out, err)


def become(request: Mapping[str, Any], out: int, err: int) -> None:
    """Go on as the command; what leaves it as an exception ends this process, as it would end any."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for end, number in ((out, 1), (err, 2)):
        os.dup2(end, number)
        os.close(end)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]  # as `python -m` has it
    sys.argv[1:] = request["arguments"]
    runpy.run_module("expkit", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
