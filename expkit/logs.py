"""What a run or a sweep says: to a file with times, and its warnings to the screen."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from expkit.secrets import HidingFormatter
from expkit.whole_files import writing

DATA = "expkit.data"
"""The logger of what data sources say."""

told: set[str] = set()
"""What this process has said of its data: the jobs of a grid need not repeat it."""


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Log what a run says to a file with times, and its warnings plainly to standard error."""
    with warning_on_screen(), logged(path, "expkit", "%(asctime)s %(levelname)s %(name)s: %(message)s"):
        yield


@contextmanager
def warning_on_screen() -> Iterator[None]:
    """Print warnings of all of expkit plainly to standard error."""
    screen = logging.StreamHandler()
    screen.addFilter(once)
    screen.setLevel(logging.WARNING)
    screen.setFormatter(HidingFormatter("%(levelname)s: %(message)s"))
    with handled("expkit", screen):
        yield


@contextmanager
def logged(path: Path, name: str, form: str) -> Iterator[None]:
    """Log what the logger `name` hears to a file. Raises UserError where the file cannot be begun."""
    file = LogFile(path, form)
    try:
        with handled(name, file):
            yield
    finally:
        file.close()


@contextmanager
def handled(name: str, handler: logging.Handler) -> Iterator[None]:
    """Give what the logger `name` hears to a handler; loggers above it hear nothing of it."""
    logger = logging.getLogger(name)
    level, propagates = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class LogFile(logging.FileHandler):
    """A log that says nothing of a disk that fills: the next file that matters does, in one sentence.

    Raises UserError where it cannot be begun.
    """

    def __init__(self, path: Path, form: str) -> None:
        with writing(path):
            super().__init__(path, encoding="utf-8")
        self.setFormatter(HidingFormatter(form))

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose the line."""

    def close(self) -> None:
        """Lose what cannot be written."""
        with suppress(OSError):
            super().close()


def once(record: logging.LogRecord) -> bool:
    """A filter for the screen: lets pass what a data source says for the first time in this process, and all others."""
    return not record.name.startswith(DATA) or is_news(record.getMessage())


def is_news(text: str) -> bool:
    """Whether this process has not said something of its data yet; from now on it has."""
    news = text not in told
    told.add(text)
    return news
