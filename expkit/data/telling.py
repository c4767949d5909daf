"""What every run begins with: how its data was read."""

import logging

from expkit.data.items import Data
from expkit.logs import DATA, is_news
from expkit.screen import say

log = logging.getLogger(DATA)


def tell(data: Data) -> None:
    """Log what was read, assumed and left out, and print it where this process has not done so yet."""
    text = "\n  ".join([data.summary, *data.notes])
    log.info(text)
    if is_news(text):
        say(text)
