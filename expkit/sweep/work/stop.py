"""How a sweep stops: what its driver tells its workers, and they look for between two steps."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stop:
    """Whether a worker is to stop for a signal that its driver had, or for the driver's death."""

    mark: Path
    """The file in which the driver writes its signal."""
    driver: int
    """The driver's process id where it is the parent of this process, else 0."""

    def __call__(self) -> int:
        """The number of the signal, 0 while there is none."""
        if self.mark.exists():
            return int(self.mark.read_text())
        return signal.SIGTERM if self.driver and os.getppid() != self.driver else 0

    def ask(self, number: int) -> None:
        """Have all workers of the driver stop as by this signal, unless they are asked already or the disk is full."""
        partial = self.mark.with_name(f"{self.mark.name}.{os.getpid()}.partial")
        with suppress(OSError):
            if not self.mark.exists():
                self.mark.parent.mkdir(parents=True, exist_ok=True)
                partial.write_text(str(number))
                partial.replace(self.mark)
