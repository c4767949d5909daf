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
    if is_news(text):
        print(text, flush=True)


def once(record: logging.LogRecord) -> bool:
    """A filter for the screen: lets pass what a data source says for the first time in this process, and all others."""
    return not record.name.startswith(log.name) or is_news(record.getMessage())


def is_news(text: str) -> bool:
    """Whether this process has not said something yet; from now on it has."""
    news = text not in told
    told.add(text)
    return news
