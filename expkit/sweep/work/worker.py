"""A worker: one job of the launcher, which pulls trials from the study until there are enough."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from expkit import interrupt
from expkit.causes import Cause, cause_of
from expkit.config.composed import explain
from expkit.logs import logged
from expkit.sweep.space.jobs import Sweep
from expkit.sweep.work.stop import Stop

FORM = "%(asctime)s %(process)d %(message)s"
"""A line of the log that all workers of a sweep share."""


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
            with interrupting(), logged(self.sweep.folder / "expkit.log", "expkit.sweep", FORM), alive(lock):
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

    What the exception may interrupt needs no care: a worker can be killed at any moment. Signals come to the main
    thread alone: a worker in another one hears none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

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
