"""Processes that read images: none outlives what started it, none holds it up."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from expkit import interrupt
from expkit.data.files import ImageFiles
from expkit.errors import UserError
from expkit.feed.sending import explaining
from tests.feed.photos import drawn, loader_of, same
from tests.trainer.test_loop import small_trainer


def workers_now():
    """The processes that load for this one, which may have children of other kinds."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if child.name() == "pt_data_worker"]


def test_closing_ends_the_workers_in_the_middle_of_a_stream(images):
    loader = loader_of(images, num_workers=2)
    running = loader.stream(0, 0, 1000)
    next(running)
    workers = workers_now()
    assert len(workers) == 2
    loader.close()
    assert not any(worker.is_running() for worker in workers)
    loader.close()


def test_workers_leave_interrupts_to_the_parent(images):
    with loader_of(images, num_workers=2) as loader:
        stream = loader.stream(0, 0, 2)
        found = drawn([next(stream)])
        for worker in workers_now():
            worker.send_signal(signal.SIGINT)
            worker.send_signal(signal.SIGTERM)
        found += drawn(stream)
    assert same(found, drawn(loader_of(images).stream(0, 0, 2)))


@dataclass(frozen=True)
class Logged:
    """Images that note in a file how often one is read, in whichever process."""

    images: ImageFiles
    log: Path

    @property
    def labels(self):
        return self.images.labels

    def __len__(self):
        return len(self.images)

    def name(self, index):
        return self.images.name(index)

    def read(self, index, size=None):
        with self.log.open("a") as log:
            log.write(".")
        return self.images.read(index, size)


def test_workers_run_on_into_the_next_epoch(images, tmp_path):
    """After the last batch of an epoch nobody has asked for another, as while a model is validated."""
    logged = Logged(images, tmp_path / "reads")
    with loader_of(logged, num_workers=1, batch_size=11) as loader:
        stream = loader.stream(0, 0, 1000)
        for _ in range(loader.batches):
            next(stream)
        deadline = time.monotonic() + 20
        while logged.log.stat().st_size < 33 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert logged.log.stat().st_size >= 33


def test_a_killed_worker_is_told_with_how_many_to_try(images):
    with loader_of(images, num_workers=2) as loader:
        stream = loader.stream(0, 0, 1000)
        next(stream)
        workers_now()[0].kill()
        with pytest.raises(UserError, match=r"a data worker died .*memory.*num_workers=1 in place of 2"):
            drawn(stream)


def test_a_death_is_told_once_where_the_connection_breaks_before_the_system_tells(images):
    with loader_of(images, num_workers=2) as loader:
        next(loader.stream(0, 0, 1000))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            workers_now()[0].kill()
            with pytest.raises(UserError, match=r"a data worker died .*killed by signal"), explaining(2):
                raise ConnectionResetError("Connection reset by peer")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)  # where torch hears of it, and would raise


def test_a_lost_connection_is_blamed_on_workers_only_where_there_are_some():
    with pytest.raises(ConnectionError, match="server"), explaining(0):
        raise ConnectionError("a server went away")
    with pytest.raises(UserError, match="a data worker died"), explaining(2):
        raise ConnectionError("Connection reset by peer")


@pytest.mark.parametrize("spare", [8, 30])
def test_batches_come_the_same_where_few_files_may_be_open(images, spare):
    expected = drawn(loader_of(images).stream(0, 0, 2))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    with loader_of(images, num_workers=2) as loader:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 16 + spare, limits[1]))
        try:
            found = drawn(loader.stream(0, 0, 2))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert same(found, expected)


@dataclass(frozen=True)
class Slow:
    """Images on a disk that does not answer."""

    images: ImageFiles

    @property
    def labels(self):
        return self.images.labels

    def __len__(self):
        return len(self.images)

    def read(self, index, size=None):
        time.sleep(30)
        return self.images.read(index, size)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_signal_ends_the_wait_for_a_batch(images, num_workers):
    trainer = small_trainer()
    with loader_of(Slow(images.subset(np.arange(1))), num_workers=num_workers) as loader:
        stream = loader.stream(0, 0, 1)
        with interrupt.listen() as trainer.stop:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
            began = time.monotonic()
            with pytest.raises(interrupt.Stopped):
                trainer.next_of(stream)
        assert time.monotonic() - began < 20


@dataclass(frozen=True)
class Stuck(Slow):
    """Images that lie on a disk which is gone."""

    def read(self, index, size=None):
        while True:
            time.sleep(60)


def test_workers_that_a_read_holds_up_are_not_waited_for(images):
    loader = loader_of(Stuck(images), num_workers=2)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with interrupt.listen() as stop, pytest.raises(interrupt.Stopped), stop.heeded():
        next(loader.stream(0, 0, 1))
    workers, began = workers_now(), time.monotonic()
    assert len(workers) == 2
    loader.close()
    assert not any(worker.is_running() for worker in workers)
    assert time.monotonic() - began < 8  # torch waits for ten seconds for each


KILLED = """
import sys, time
from pathlib import Path
from tests.feed.photos import files_in, loader_of
from tests.feed.test_workers import workers_now
stream = loader_of(files_in(Path(sys.argv[1])), num_workers=2).stream(0, 0, 1000)
next(stream)
print(*(worker.pid for worker in workers_now()), flush=True)
time.sleep(60)
"""


def test_no_worker_outlives_a_killed_parent(folder):
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], cwd=root, stdout=subprocess.PIPE, text=True)
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    assert not alive


LEFT_OPEN = """
import sys
from pathlib import Path
from tests.feed.photos import files_in, loader_of
loader = loader_of(files_in(Path(sys.argv[1])), num_workers=2)
stream = loader.stream(0, 0, 1000)
next(stream)
sys.held = (loader, stream)  # lives until the interpreter is taken down
"""


def test_a_process_that_leaves_a_loader_open_ends(folder):
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", LEFT_OPEN, str(folder)], cwd=root, check=True, timeout=300)


SMALL_SHM = """
import subprocess, sys
import torch
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "/dev/shm"], check=True)
from expkit.augment import none
from expkit.data import folders
from expkit.feed.loading import make_loader
with make_loader(
    folders(root=sys.argv[1]).train, none(64), batch_size=16, seed=0, train=False, num_workers=2
) as loader:
    print(sum(batch.images.long().sum().item() for batch in loader))
with make_loader(
    folders(root=sys.argv[1]).train, none(64), batch_size=16, seed=0, train=False, num_workers=0
) as loader:
    print(sum(batch.images.long().sum().item() for batch in loader))
"""


def test_batches_come_the_same_where_shared_memory_is_small(colour_folders):
    """As in a container: here a mount of the test's own, which needs the right to make one."""
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small /dev/shm")
    command = [*alone, sys.executable, "-c", SMALL_SHM, str(colour_folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with_workers, without = done.stdout.split()[-2:]
    assert with_workers == without
    assert "travel through pipes" in done.stderr
