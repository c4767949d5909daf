"""What a person sees of features being computed: a bar on a terminal, else a line a minute; the log has it, too."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from expkit.words import duration

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger("expkit.features")

EVERY = 60.0
"""Seconds between lines in the log."""


class Counter:
    """Counts images, and shows how many there are and how fast they come."""

    def __init__(self, what: str, total: int, bar: "Progress") -> None:
        self.what, self.total, self.bar = what, total, bar
        self.task = bar.add_task(what, total=total, speed="")
        self.done, self.began = 0, time.monotonic()
        self.logged = self.began

    def add(self, images: int) -> None:
        """Count images that are done."""
        self.done += images
        now = time.monotonic()
        self.bar.update(self.task, completed=self.done, speed=f"{self.speed(now):.0f} images/s")
        if now - self.logged > EVERY:
            self.logged = now
            line = f"{self.what}: {self.done} of {self.total} images, {self.speed(now):.0f} images/s"
            log.info(line)
            if not self.bar.console.is_terminal:
                self.bar.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def speed(self, now: float) -> float:
        """Images a second so far."""
        return self.done / max(now - self.began, 1e-9)


@contextmanager
def counting(what: str, total: int) -> Iterator[Counter]:
    """Show the progress of `total` images while the block runs, and log what it came to."""
    from rich.console import Console  # a served model, which is built of this package, does without
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}")
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal, refresh_per_second=4)
    with bar:
        counter = Counter(what, total, bar)
        yield counter
    now = time.monotonic()
    log.info("%s: %d images in %s, %.0f images/s", what, total, duration(now - counter.began), counter.speed(now))
