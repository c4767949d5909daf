"""SIGINT and SIGTERM: a run ends after the step in hand, with a checkpoint, and says so in its exit status."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """A run was asked to stop; `status` is the exit status that shells expect for the signal (130 or 143)."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + number

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback."""
        return [str(self)]


class Stopped(BaseException):
    """Work ended early because a stop was asked for; no `Exception`, so that nobody takes it for what a file raised."""


class StopRequest:
    """Remembers the first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal = 0
        """Its number, 0 while there is none."""
        self.at_once = False
        """Whether a signal raises Stopped where it finds the main thread, so that nothing is waited for."""

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal, and let the next one through."""
        self.signal = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if self.at_once:
            self.at_once = False  # what cleans up is not disturbed
            raise Stopped

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Let a signal end the block at once, and before it begins where one has come already. Raises Stopped then."""
        before = self.at_once
        self.at_once = True
        try:
            if self.signal:
                raise Stopped
            yield
        finally:
            self.at_once = before


@contextmanager
def listen() -> Iterator[StopRequest]:
    """Collect stop requests while a run trains; the handlers from before come back afterwards.

    Whoever listened before hears of a signal for which the block did not end.
    Signals come to the main thread alone: a run in another one hears none.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if request.signal and not isinstance(sys.exception(), Interrupted | Stopped):
            handler = before[signal.Signals(request.signal)]
            if callable(handler) and handler is not signal.default_int_handler:
                handler(request.signal, None)


@contextmanager
def ending_with_parent() -> Iterator[None]:
    """Take it as a SIGTERM where the process that started this one dies in the block: nobody waits for it any more."""
    parent, done = os.getppid(), threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()
