"""What is known of files: size, time of change, hash of the content, and whether an image can be read to its end.

One memory for all who ask (the check before training, the data's fingerprint, the features' keys, files of weights): a
file is opened once, and again only when its size or time changes.
"""

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expkit.data.images.decode import reason_of
from expkit.data.images.file_memory import DOUBTFUL, HASH, Memory, memory_of, remember, remembered
from expkit.data.images.reading import DEFAULT, Reading
from expkit.data.images.verify import problem_of
from expkit.data.packed import Packed, below, shown
from expkit.errors import UserError

log = logging.getLogger("expkit.data")

SETTLED = 2.0
"""Seconds after which a changed file has another time of change on any file system."""
LARGE = 1 << 26
"""Most bytes of a file that is read as a whole."""
BLOCK = 64
"""Files that a thread looks at, at a time."""
THREADS = 16
"""More than cores, since some wait for the disk."""
PATIENCE, EVERY = 2.0, 60.0
"""Seconds after which a person sees how far the look at the files is, and between lines of the log."""


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


def sizes_and_times(root: str, names: Packed, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ask the file system about the files at `rows`; the size -1 says that there is none."""
    sizes, mtimes = np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.int64)
    folder = below(root)
    for index, row in enumerate(rows.tolist()):
        try:
            facts = os.stat(folder + names[row])
        except OSError:
            continue  # `problem_of` says why
        sizes[index], mtimes[index] = facts.st_size, facts.st_mtime_ns
    return sizes, mtimes


def facts_of(
    root: str, names: Packed, rows: NDArray[np.int64] | None = None, *, images: bool, reading: Reading = DEFAULT
) -> FileFacts:
    """What the files at `rows` of `names` hold now (None: all), opening those alone that are not known as they are.

    With `images`, each that is not known to be a whole image is decoded as `reading` says, and `problems` says what is
    wrong with others.
    Raises UserError, without `images`, for a file that cannot be read.
    """
    rows = np.arange(len(names)) if rows is None else rows
    looked = time.time()
    sizes, mtimes = sizes_and_times(root, names, rows)
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
    """Look at the files at `todo`, a block at a time: indices, and what is wrong with some of these."""

    def look(indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[int, str]]:
        found = ((index, known.look(folder + names[rows[index]], index, images)) for index in indices.tolist())
        return indices, {index: why for index, why in found if why is not None}

    blocks = [todo[start : start + BLOCK] for start in range(0, len(todo), BLOCK)]
    if len(blocks) <= 1:
        yield from map(look, blocks)
        return
    with ThreadPoolExecutor(THREADS) as pool, telling(len(todo)) as tell:
        running = deque(pool.submit(look, block) for block in blocks)
        try:
            while running:
                found = running.popleft().result()
                tell(len(found[0]))
                yield found
        finally:  # a signal does not wait for the rest
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def telling(total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a long look at files is: on a terminal as a line that goes, else once a minute in the log."""
    began = last = time.monotonic()
    done, terminal, shown = 0, sys.stderr.isatty(), False

    def tell(files: int) -> None:
        nonlocal done, last, shown
        done, now = done + files, time.monotonic()
        if now - began < PATIENCE or now - last < (0.5 if terminal else EVERY):
            return
        last, left = now, (total - done) * (now - began) / done
        text = f"looked at {done:,} of {total:,} files (once; it is remembered), {left:,.0f} s left"
        if terminal:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
            shown = True
        else:
            log.info(text)

    try:
        yield tell
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


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
