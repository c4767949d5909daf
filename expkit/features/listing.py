"""What lies in the feature cache, for people."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.features.entries import MARKER, OLD, PARTIAL, Entries, opened


@dataclass(frozen=True)
class Item:
    """One entry: what it holds, how large it is and when it was last used."""

    key: str
    model: str
    holds: str
    """What was kept: the body itself, or features of which images."""
    shape: str
    """Rows x width of features."""
    size: int
    """Bytes on the disk."""
    used: float
    """When it was last opened, in seconds since 1970."""


def items(entries: Entries) -> list[Item]:
    """All entries, last used first; leftovers of killed builds, too."""
    found = [item(entries.folder, key) for key in entries.names()]
    return sorted(found, key=lambda one: one.used, reverse=True)


def item(folder: Path, key: str) -> Item:
    """One entry."""
    files = [fact for ending in ("", PARTIAL, OLD) for fact in facts_of_files(folder / (key + ending))]
    size = sum(fact.st_size for fact in files)
    entry = opened(folder / key)
    if entry is None:
        return Item(key, "", "being built, or left unfinished", "", size, max((f.st_mtime for f in files), default=0.0))
    entry.held.close()
    facts = entry.facts
    shape = f"{facts['rows']:,} x {facts['width']:,}" if facts["kind"] == "features" else ""
    return Item(key, facts["model"], holds(facts), shape, size, used(entry.folder))


def holds(facts: Mapping[str, Any]) -> str:
    """What an entry holds, from its marker."""
    if facts["kind"] == "body":
        return "the body's weights"
    if facts["kind"] == "looks":
        return f"what was measured of {facts['images']}"
    view = "" if facts["view"] is None else f", view {facts['view']}"
    return f"{facts['part'] or 'features'} of {facts['images']}{view}, {facts['precision']}"


def used(folder: Path) -> float:
    """When a complete entry was last opened; 0 where it is gone meanwhile."""
    with suppress(FileNotFoundError):
        return (folder / MARKER).stat().st_mtime
    return 0.0


def facts_of_files(folder: Path) -> list[os.stat_result]:
    """What the file system says of the files in a folder, which may go meanwhile."""
    found: list[os.stat_result] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        found.extend(path.stat() for path in os.scandir(folder))
    return found
