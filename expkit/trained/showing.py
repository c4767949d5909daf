"""What a person sees of predictions being made, on standard error: a bar on a terminal, a line a minute elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from expkit.words import duration

SILENCE = 60.0
"""Seconds between lines, where there is no bar."""


class Show:
    """Shows how many of `total` images (None: nobody knows) are done."""

    def __init__(self, total: int | None, done: int = 0) -> None:
        self.console = Console(stderr=True)
        self.total, self.first, self.done = total, done, done
        self.began = self.told = time.monotonic()
        self.bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
            refresh_per_second=4,
        )
        self.task = self.bar.add_task("", total=total, completed=done, speed="")

    def __enter__(self) -> "Show":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away."""
        self.bar.stop()

    def add(self, images: int) -> None:
        """Count images that are done."""
        self.done += images
        self.bar.update(self.task, completed=self.done, speed=f"{self.speed:.0f} images/s")
        now = time.monotonic()
        if not self.console.is_terminal and now - self.told > SILENCE:
            self.told = now
            self.console.print(self.line, highlight=False, soft_wrap=True)

    @property
    def line(self) -> str:
        """How far it is."""
        if self.total is None:
            return f"{self.done} images, {self.speed:.0f} images/s"
        left = duration((self.total - self.done) / max(self.speed, 1e-9))
        return f"{self.done} of {self.total} images, {self.speed:.0f} images/s, {left} left"

    @property
    def seconds(self) -> float:
        """The time so far."""
        return time.monotonic() - self.began

    @property
    def speed(self) -> float:
        """Images a second, of this process."""
        return (self.done - self.first) / max(self.seconds, 1e-9)
