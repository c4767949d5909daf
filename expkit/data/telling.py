"""What every run begins with: how its data was read."""

import logging

from expkit.data.items import Data

log = logging.getLogger("expkit.data")

told: set[str] = set()
"""What this process has said: the jobs of a grid need not repeat it."""


def tell(data: Data) -> None:
    """Log what was read, assumed and left out, and print it where this process has not done so yet."""
    text = "\n  ".join([data.summary, *data.notes])
    log.info(text)
    if text not in told:
        told.add(text)
        print(text, flush=True)
