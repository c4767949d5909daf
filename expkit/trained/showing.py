"""What a person sees of predictions being made, on standard error: a bar on a terminal, a line a minute elsewhere."""

import time

from expkit.bar import Bar
from expkit.words import duration


class Show:
    """Shows how many of `total` images (None: nobody knows) are done."""

    def __init__(self, total: int | None, done: int = 0) -> None:
        self.bar = Bar(total, stderr=True)
        self.total, self.first, self.done = total, done, done
        self.began = time.monotonic()

    def __enter__(self) -> "Show":
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away."""
        self.bar.close()

    def add(self, images: int) -> None:
        """Count images that are done."""
        self.done += images
        if self.bar.is_due:
            self.bar.show(self.done, "", f"{self.speed:.0f} images/s{self.left}", self.line)

    @property
    def line(self) -> str:
        """How far it is."""
        count = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        return f"{count} images, {self.speed:.0f} images/s{self.left}"

    @property
    def left(self) -> str:
        """How long it will take, where that can be told."""
        if self.total is None:
            return ""
        return f", {duration((self.total - self.done) / max(self.speed, 1e-9))} left"

    @property
    def seconds(self) -> float:
        """The time so far."""
        return time.monotonic() - self.began

    @property
    def speed(self) -> float:
        """Images a second, of this process."""
        return (self.done - self.first) / max(self.seconds, 1e-9)
