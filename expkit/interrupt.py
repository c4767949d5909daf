"""SIGINT and SIGTERM: a run ends after the step in hand, with a checkpoint, and says so in its exit status."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """A run was asked to stop; `status` is the exit status that shells expect for the signal (130 or 143)."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + number


class StopRequest:
    """Remembers the first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal = 0
        """Its number, 0 while there is none."""

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal, and let the next one through."""
        self.signal = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@contextmanager
def listen() -> Iterator[StopRequest]:
    """Collect stop requests while a run trains; the handlers from before come back afterwards."""
    request = StopRequest()
    before = {number: signal.signal(number, request.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
