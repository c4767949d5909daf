"""What is known of files: size, time of change, hash of the content, and whether an image can be read to its end.

One memory for all who ask (the check before training, the data's fingerprint, the features' keys, files of weights): a
file is opened once, and again only when its size or time changes.
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expkit.data.images.decode import reason_of
from expkit.data.images.file_memory import DOUBTFUL, HASH, Memory, memory_of, remember, remembered
from expkit.data.images.pace import looked_at
from expkit.data.images.reading import DEFAULT, Reading
from expkit.data.images.verify import problem_of
from expkit.data.packed import Packed, below, shown
from expkit.errors import UserError

SETTLED = 2.0
"""Seconds after which a changed file has another time of change on any file system."""
LARGE = 1 << 26
"""Most bytes of a file that is read as a whole."""


@dataclass(frozen=True)
class FileFacts:
    """What is known of some files, in their order."""

    sizes: NDArray[np.int64]
    """In bytes; -1: no such file."""
    mtimes: NDArray[np.int64]
    """Times of change in nanoseconds."""
    hashes: NDArray[np.uint8]
    """A row of HASH bytes for the content of each; zeros where a file cannot be opened."""
    problems: dict[int, str]
    """What is wrong with files that were asked to be whole images and are not."""

    def keep(self, kept: NDArray[np.int64]) -> "FileFacts":
        """The facts of the files at `kept`, which have no problems."""
        return FileFacts(self.sizes[kept], self.mtimes[kept], self.hashes[kept], {})


def sizes_and_times(root: str, names: Iterable[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ask the file system about files; the size -1 says that there is none."""
    folder, stat = below(root), os.stat
    sizes, mtimes = [], []
    for name in names:
        try:
            facts = stat(folder + name)
        except OSError:  # `problem_of` says why
            sizes.append(-1)
            mtimes.append(0)
        else:
            sizes.append(facts.st_size)
            mtimes.append(facts.st_mtime_ns)
    return np.array(sizes, np.int64), np.array(mtimes, np.int64)


def facts_of(
    root: str, names: Packed, rows: NDArray[np.int64] | None = None, *, images: bool, reading: Reading = DEFAULT
) -> FileFacts:
    """What the files at `rows` of `names` hold now (None: all), opening those alone that are not known as they are.

    With `images`, each that is not known to be a whole image is decoded as `reading` says, and `problems` says what is
    wrong with others.
    Raises UserError, without `images`, for a file that cannot be read.
    """
    looked = time.time()
    sizes, mtimes = sizes_and_times(root, names if rows is None else (names[row] for row in rows.tolist()))
    rows = np.arange(len(names)) if rows is None else rows
    place = memory_of(root, reading)
    memory = remembered(place).ordered(names)
    same = (memory.sizes[rows] == sizes) & (memory.mtimes[rows] == mtimes)
    known = Known(memory.hashes[rows], memory.whole[rows], reading)
    todo = np.flatnonzero(~(same & known.whole) if images else ~same)
    settled = np.where(mtimes <= int((looked - SETTLED) * 1e9), mtimes, DOUBTFUL)
    problems: dict[int, str] = {}
    seen: list[NDArray[np.int64]] = []
    try:
        for indices, wrong in examined(below(root), names, rows, todo, known, images):
            if wrong and not images:
                index, why = next(iter(wrong.items()))
                raise UserError(f"cannot read {os.fsdecode(below(root) + names[rows[index]])!r}: it {why}")
            problems |= wrong
            seen.append(np.setdiff1d(indices, np.fromiter(wrong, np.int64, len(wrong))))
    finally:  # what an interrupted look has found is kept as well
        new = np.concatenate([np.empty(0, np.int64), *seen])
        if len(new):
            fresh = Memory(names, sizes[new], settled[new], known.hashes[new], known.whole[new])
            remember(place, fresh, rows[new])
    return FileFacts(sizes, mtimes, known.hashes, problems)


@dataclass(frozen=True)
class Known:
    """Hashes of files, and whether they are whole images; brought up to date while they are looked at."""

    hashes: NDArray[np.uint8]
    whole: NDArray[np.bool_]
    reading: Reading

    def look(self, path: bytes, index: int, images: bool) -> str | None:
        """Look at a file, and say what is wrong with it; an image known to be whole is decoded if its hash is new."""
        before, good = self.hashes[index].tobytes(), bool(self.whole[index])
        try:
            digest, content = read(path)
            good = good and digest == before
            why = problem_of(path, content, self.reading) if images and not good else None
        except OSError as error:
            digest, why = bytes(HASH), missing(path) if isinstance(error, FileNotFoundError) else reason_of(error)
        self.hashes[index] = np.frombuffer(digest, np.uint8)
        self.whole[index] = why is None and (images or good)
        return why


def examined(
    folder: bytes, names: Packed, rows: NDArray[np.int64], todo: NDArray[np.int64], known: Known, images: bool
) -> Iterator[tuple[NDArray[np.int64], dict[int, str]]]:
    """Look at the files at `todo`, some at a time: indices, and what is wrong with some of these."""

    def look(indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[int, str]]:
        found = ((index, known.look(folder + names[rows[index]], index, images)) for index in indices.tolist())
        return indices, {index: why for index, why in found if why is not None}

    return looked_at(todo, look)


def read(path: bytes) -> tuple[bytes, bytes | None]:
    """The hash of a file, and its bytes where they are not so many that reading them twice is better."""
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size <= LARGE:
            content = file.read()
            return blake2b(content, digest_size=HASH).digest(), content
        digest = blake2b(digest_size=HASH)
        while block := file.read(LARGE):
            digest.update(block)
        return digest.digest(), None


def missing(path: bytes) -> str:
    """What to say of a file that is not there."""
    return (
        f"is a link to {shown(os.readlink(path))}, which does not exist" if os.path.islink(path) else "does not exist"
    )


def hash_of(path: Path) -> str:
    """Hex digits of the hash of a file's bytes. Raises UserError where it cannot be read."""
    names = Packed.from_names([os.fsencode(path.name)])
    return facts_of(str(path.parent), names, images=False).hashes.tobytes().hex()
