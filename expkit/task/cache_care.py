"""`task=cache`: what lies in the feature cache, and what of it can go."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from expkit.check import NotNegative, checked
from expkit.config.schema import Config
from expkit.run_folder import RunFolder
from expkit.screen import console
from expkit.words import many

if TYPE_CHECKING:
    from rich.table import Table

    from expkit.features.listing import Item

DAY = 86400.0
"""Seconds."""


@checked
def cache(config: Config, folder: RunFolder, *, older_than: NotNegative | None = None) -> list[dict[str, Any]]:
    """Print what the feature cache holds, how large it is and when it was last used, and remove what is old.

    Gives a row for each entry that is left. What killed builds left goes along. What another process builds or reads is
    left alone. The experiment does not matter.

    Args:
        config: the experiment.
        folder: its folder.
        older_than: days without use after which an entry is removed; 0: all that is not in use; None: nothing.

    Raises UserError where an entry cannot be removed.
    """

    from expkit.data.images.file_memory import cache_folder
    from expkit.features.entries import Entries
    from expkit.features.listing import items
    from expkit.features.room import in_words

    entries = Entries(cache_folder() / "features")
    where = console()
    if older_than is not None:
        before = time.time() - older_than * DAY
        freed = {one.key: one.size for one in items(entries) if entries.remove_unused(one.key, before)}
        where.print(f"removed {many(len(freed), 'entry', 'entries')}, {in_words(sum(freed.values()))}", highlight=False)
    found = items(entries)
    if found:
        where.print(table(found))
    total = in_words(sum(one.size for one in found))
    where.print(f"{many(len(found), 'entry', 'entries')}, {total} in {entries.folder}", highlight=False, soft_wrap=True)
    return [asdict(one) for one in found]


def table(found: "list[Item]") -> "Table":
    """The entries as a table."""
    from rich.table import Table

    from expkit.features.room import in_words

    made = Table(box=None, pad_edge=False)
    for column in ("model", "holds", "rows x width", "size", "last used"):
        made.add_column(column, justify="right" if column in ("rows x width", "size") else "left", overflow="fold")
    for one in found:
        last = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used)) if one.used else ""
        made.add_row(one.model, one.holds, one.shape, in_words(one.size), last)
    return made
