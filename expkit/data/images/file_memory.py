"""What is known of files, kept in the cache folder from one process to the next: one file of it for each root."""

import logging
import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from expkit.data.images.reading import DEFAULT, Reading
from expkit.data.images.verify import RULES
from expkit.data.packed import Packed
from expkit.errors import UserError
from expkit.whole_files import write_whole

log = logging.getLogger("expkit.data")

HASH = 16
"""Bytes of a hash."""
DOUBTFUL = -1
"""Stands for the time of a file that may have changed without showing it."""


def cache_folder() -> Path:
    """Where expkit keeps what it can compute again: `EXPKIT_CACHE`, or `~/.cache/expkit`."""
    return Path(os.environ.get("EXPKIT_CACHE") or "~/.cache/expkit").expanduser()


@dataclass(frozen=True)
class Memory:
    """What earlier looks at files below a root found, a row for each file."""

    names: Packed
    sizes: NDArray[np.int64]
    mtimes: NDArray[np.int64]
    hashes: NDArray[np.uint8]
    whole: NDArray[np.bool_]
    """Whether the file is an image that can be read to its end; unknown where False."""

    @classmethod
    def of(cls, names: Packed) -> "Memory":
        """A memory of files of which nothing is known."""
        count = len(names)
        sizes, mtimes = np.full(count, -1, np.int64), np.full(count, DOUBTFUL, np.int64)
        return cls(names, sizes, mtimes, np.zeros((count, HASH), np.uint8), np.zeros(count, np.bool_))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """All but the names."""
        return self.sizes, self.mtimes, self.hashes, self.whole

    def write(self, path: Path) -> None:
        """Write all to a file."""
        sizes, mtimes, hashes, whole = self.columns
        names = np.frombuffer(self.names.text, np.uint8)
        with open(path, "wb") as file:
            np.savez(file, names=names, sizes=sizes, mtimes=mtimes, hashes=hashes, whole=whole, rules=RULES)

    def ordered(self, names: Packed) -> "Memory":
        """The same with a row for each of `names`, in their order, before those of all other files."""
        if self.names.text.startswith(names.text):
            return self
        place = {name: row for row, name in enumerate(self.names)}
        found = np.array([place.pop(name, -1) for name in names], np.int64)
        rest = np.fromiter(place.values(), np.int64, len(place))
        made = Memory.of(Packed.from_text(names.text + self.names.take(rest).text))
        known = np.flatnonzero(found >= 0)
        for new, old in zip(made.columns, self.columns, strict=True):
            new[known] = old[found[known]]
            new[len(found) :] = old[rest]
        return made


def memory_of(root: str, reading: Reading = DEFAULT) -> Path:
    """Where the facts of files below a root are kept; those that are read in another way than usual may not fit it."""
    how = b"" if reading == DEFAULT else b"\0" + repr(reading).encode()
    name = blake2b(os.fsencode(os.path.realpath(root)) + how, digest_size=16).hexdigest()
    return cache_folder() / "files" / f"{name}.npz"


def remembered(place: Path) -> Memory:
    """What was kept there; nothing where that is missing, damaged or of other rules."""
    try:
        with np.load(place, allow_pickle=False) as kept:
            names = Packed.from_text(kept["names"].tobytes())
            found = Memory(names, kept["sizes"], kept["mtimes"], kept["hashes"], kept["whole"])
            complete = all(len(column) == len(names) for column in found.columns)
            if kept["rules"] == RULES and complete and found.hashes.shape[1:] == (HASH,):
                return found
    except Exception as error:  # a damaged file fails in any way it likes
        log.debug("nothing is remembered in %s: %r", place, error)
    return Memory.of(Packed.from_names([]))


def remember(place: Path, fresh: Memory, rows: NDArray[np.int64]) -> None:
    """Add facts, of the files at `rows` of `fresh.names`, to what is kept; where that fails, they are found again."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):
            kept = remembered(place).ordered(fresh.names)
            for old, new in zip(kept.columns, fresh.columns, strict=True):
                old[rows] = new
            write_whole(place, kept.write)
    except (OSError, UserError) as error:
        log.debug("cannot remember what was found in files: %s", error)
