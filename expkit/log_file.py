"""The log of a run or a sweep as a file."""

import logging
from contextlib import suppress
from pathlib import Path

from expkit.run_folder import writing
from expkit.secrets import HidingFormatter


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
