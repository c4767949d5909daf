"""Links among images: followed wherever they lead, in tables and trees alike, but never twice to the same images."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from expkit.data.packed import Packed, below, shown
from expkit.errors import first_ten

log = logging.getLogger("expkit.data")

SLASH = ord("/")
LOOKED_AT = 1000
"""Images of a data set that are looked at for links."""
NAMED = 3
"""Links named in a note."""


class Links:
    """Decides which links to directories a walk follows.

    `read` are the folders that are read by themselves: a link to one, into one or above one is left out, since its
    images would count twice. So is one that leads back to where the walk has come from.
    """

    def __init__(self, read: Iterable[bytes] = ()) -> None:
        self.read = list(read)
        self.trail: list[bytes] = []
        """The real directories in which the links on the way to where the walk stands lie."""
        self.left_out: list[str] = []

    @contextmanager
    def entering(self, path: bytes) -> Iterator[bool]:
        """While the walk is in the directory `path`, or asks whether to go there."""
        if not os.path.islink(path):
            yield True
            return
        here, target = real(os.path.dirname(path)), real(path)
        if any(place.startswith(target) for place in (here, *self.trail)) or self.is_read(target):
            self.left_out.append(as_arrow(path))
            yield False
            return
        self.trail.append(here)
        yield True
        self.trail.pop()

    def is_read(self, target: bytes) -> bool:
        """Whether a directory lies in, is or holds one that is read by itself."""
        inside, above = self.places
        return target in above or any(
            target[: place + 1] in inside for place, sign in enumerate(target) if sign == SLASH
        )

    def leads_back(self, path: bytes) -> bool:
        """Whether a folder, to be read by itself, is a link to the one that holds it or to one above."""
        back = os.path.islink(path) and real(os.path.dirname(path)).startswith(real(path))
        if back:
            self.left_out.append(as_arrow(path))
        return back

    def report(self) -> None:
        """Log a warning that names the links left out."""
        if self.left_out:
            log.warning(
                "left out: links to folders that are read by themselves, or hold the link:\n%s",
                first_ten(self.left_out),
            )

    @cached_property
    def places(self) -> tuple[set[bytes], set[bytes]]:
        """The real paths of the folders that are read, and those of all folders above them."""
        inside = {real(path) for path in self.read}
        above = {path[: place + 1] for path in inside for place, sign in enumerate(path) if sign == SLASH}
        return inside, above


def real(path: bytes) -> bytes:
    """A directory with all links followed, ended by a slash."""
    return os.path.join(os.path.realpath(path), b"")


def as_arrow(path: bytes) -> str:
    """A link as a person reads it."""
    return f"{shown(path)} -> {shown(os.readlink(path))}"


def note_of_links(root: str, names: Packed) -> tuple[str, ...]:
    """A note, for `Data.notes`, that names links among the images or the folders that hold them, looking at some."""
    folder = below(root)
    rows = np.unique(np.linspace(0, len(names) - 1, LOOKED_AT).astype(int)).tolist() if len(names) else []
    known: dict[bytes, bool] = {}
    found: dict[bytes, None] = {}
    for row in rows:
        name = names[row]
        ends = [place for place, sign in enumerate(name) if sign == SLASH] + [len(name)]
        for end in ends:
            part = name[:end]
            if part not in known:
                known[part] = os.path.islink(folder + part)
            if known[part]:
                found[part] = None
                break
    if not found:
        return ()
    first = [as_arrow(folder + part)[len(shown(folder)) :] for part in list(found)[:NAMED]]
    more = ", ..." if len(found) > NAMED else ""
    return (f"links are followed: {', '.join(first)}{more}",)
