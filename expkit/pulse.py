"""Long work says how far it is once a minute where there is no terminal, on which a bar or a line moves."""

import sys
import time
from collections.abc import Callable

from expkit.screen import say

EVERY = 60.0
"""Seconds between lines."""


class Pulse:
    """Prints a line a minute, but for a terminal."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def beat(self, line: Callable[[], str]) -> None:
        """Print what `line` gives if a minute has passed since the last one, or the beginning."""
        now = time.monotonic()
        if now - self.last >= EVERY and not sys.stdout.isatty():
            self.last = now
            say(line())
