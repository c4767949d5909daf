"""A worker: one job of the launcher, which pulls trials from the study until there are enough."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from expkit import interrupt
from expkit.causes import Cause, cause_of
from expkit.config.composed import explain
from expkit.log_file import LogFile
from expkit.sweep.space.jobs import Sweep

log = logging.getLogger("expkit.sweep")


@dataclass(frozen=True)
class Ended:
    """How a worker ended."""

    signal: int = 0
    """The number of the signal that stopped it, 0 where it came to the end."""
    error: str | None = None
    """What the user has to mend before any trial can run."""
    killed: bool = False
    """Whether it ended without a word."""


@dataclass(frozen=True)
class Stop:
    """Whether a worker is to stop for a signal that its driver had, or for the driver's death."""

    mark: Path
    """The file in which the driver writes its signal."""
    driver: int
    """The driver's process id where it is the parent of this process, else 0."""

    def __call__(self) -> int:
        """The number of the signal, 0 while there is none."""
        if self.mark.exists():
            return int(self.mark.read_text())
        return signal.SIGTERM if self.driver and os.getppid() != self.driver else 0

    def ask(self, number: int) -> None:
        """Have all workers of the driver stop as by this signal, unless they are asked already or the disk is full."""
        partial = self.mark.with_name(f"{self.mark.name}.{os.getpid()}.partial")
        with suppress(OSError):
            if not self.mark.exists():
                self.mark.parent.mkdir(parents=True, exist_ok=True)
                partial.write_text(str(number))
                partial.replace(self.mark)


@dataclass(frozen=True)
class Worker:
    """The task that the launcher runs instead of the command line's own."""

    sweep: Sweep
    home: str
    """The folder of the driver's workers, below the sweep's."""
    driver: int
    """The driver's process id."""
    deadline: float | None
    """The time (as time.time() gives it) after which no trial is begun."""

    def __call__(self, composed: DictConfig) -> Ended:
        """Work until the study is complete, the deadline or a signal; `composed` is the base config of the trials."""
        home = self.sweep.folder / self.home
        lock = home / f"{HydraConfig.get().job.num}.lock"
        stop = Stop(home / "stop", self.driver if os.getppid() == self.driver else 0)
        try:
            with interrupting(), logging_to(self.sweep.folder), alive(lock):
                from expkit.sweep.work.pulling import Pulling

                Pulling(self.sweep, composed, lock, self.deadline, stop).pull()
        except interrupt.Interrupted as end:
            return Ended(signal=end.status - 128)
        except Exception as error:
            if cause_of(error) is Cause.UNFORESEEN:
                raise
            stop.ask(
                signal.SIGTERM
            )  # what ends one worker ends the others too: a mistake, a full disk, a lost database
            return Ended(error=explain(error) or type(error).__name__)
        return Ended(signal=stop())


@contextmanager
def interrupting() -> Iterator[None]:
    """End the block with Interrupted at SIGINT or SIGTERM; a training within has its own way, and ends its step first.

    What the exception may interrupt needs no care: a worker can be killed at any moment.
    """

    def receive(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        raise interrupt.Interrupted(number, "stopped")

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def alive(lock: Path) -> Iterator[None]:
    """Hold a lock file while the worker lives, by which the others on its machine know."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield


@contextmanager
def logging_to(folder: Path) -> Iterator[None]:
    """Log what all workers of a sweep do to its expkit.log."""
    file = LogFile(folder / "expkit.log", "%(asctime)s %(process)d %(message)s")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(file)
    try:
        yield
    finally:
        log.removeHandler(file)
        file.close()
