"""What a person sees of features being computed: a bar on a terminal, else a line a minute; the log has it, too."""

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from expkit.bar import Bar
from expkit.words import duration

log = logging.getLogger("expkit.features")

EVERY = 60.0
"""Seconds between lines in the log."""


class Counter:
    """Counts images, and shows how many there are and how fast they come."""

    def __init__(self, what: str, total: int, bar: Bar) -> None:
        self.what, self.total, self.bar = what, total, bar
        self.done, self.began = 0, time.monotonic()
        self.logged = self.began

    def add(self, images: int) -> None:
        """Count images that are done."""
        self.done += images
        now = time.monotonic()
        speed = f"{self.speed(now):.0f} images/s"
        line = f"{self.what}: {self.done} of {self.total} images, {speed}"
        if now - self.logged > EVERY:
            self.logged = now
            log.info(line)
        if self.bar.is_due:
            self.bar.show(self.done, self.what, speed, line)

    def speed(self, now: float) -> float:
        """Images a second so far."""
        return self.done / max(now - self.began, 1e-9)


@contextmanager
def counting(what: str, total: int) -> Iterator[Counter]:
    """Show the progress of `total` images while the block runs, and log what it came to."""
    with closing(Bar(total)) as bar:
        counter = Counter(what, total, bar)
        yield counter
    now = time.monotonic()
    log.info("%s: %d images in %s, %.0f images/s", what, total, duration(now - counter.began), counter.speed(now))
