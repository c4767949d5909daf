"""What images hold: a key by which their features are found, and a check that a file is still what it was.

Files are found by name and size, which is cheap. Their times say whether they may have changed; where one does, their
hashes tell. Images that are not files are found by a hash of all pixels, so there is nothing left to check.
"""

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from expkit.data.arrays import ArrayImages
from expkit.data.decode import reason_of
from expkit.data.files import ImageFiles
from expkit.data.items import Images
from expkit.data.packed import Packed, shown
from expkit.data.verify import FileFacts, facts_of
from expkit.errors import UserError
from expkit.loading import cores

log = logging.getLogger("expkit.features")

HASH = 16
"""Bytes of a file's hash."""
HASHES = "hashes.bin"
SETTLED = 2.0
"""Seconds after which a changed file has another time of change on any file system."""
DOUBTFUL = -1
"""Stands for the time of a file that may have changed without showing it."""
BLOCK = 64
"""Images that a thread hashes at a time."""
CHUNK = 1 << 24
"""Bytes of an array that are hashed at a time."""


class Contents(Protocol):
    """What some images hold."""

    @property
    def key(self) -> str:
        """Hex digits that images which hold the same have in common."""
        ...

    def hashes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The hashes of images `start` to `stop` - 1 as they are now, one row each."""
        ...

    def save(self, folder: Path, hashes: NDArray[np.uint8]) -> None:
        """Note in an entry what it was made of. Raises UserError where files changed since the first look at them."""
        ...

    def agree(self, folder: Path) -> bool:
        """Whether an entry found by the key was made of the same."""
        ...


def contents_of(images: Images, size: int) -> Contents:
    """A first look at images that will be read at `size` pixels."""
    if isinstance(images, ImageFiles):
        began = time.time()
        names = images.names.take(images.rows)
        return FileContents(images.root, names, facts_of(images.root, names), began)
    digest = blake2b(digest_size=HASH)
    for part in array_parts(images) if isinstance(images, ArrayImages) else pixel_parts(images, size):
        digest.update(part)
    return FixedContents(digest.hexdigest())


def array_parts(images: ArrayImages) -> Iterator[bytes | memoryview]:
    """All that makes up the pixels of an array."""
    yield f"array {len(images)} {images.base.shape[1:]}".encode()
    step = max(1, CHUNK // max(1, images.base[:1].nbytes))
    for start in range(0, len(images), step):
        yield np.ascontiguousarray(images.base[images.rows[start : start + step]]).data


def pixel_parts(images: Images, size: int) -> Iterator[bytes]:
    """All that makes up the pixels of images that nothing but reading tells about."""
    yield f"images {len(images)} {size}".encode()

    def part(index: int) -> bytes:
        image = images.read(index, size)
        return blake2b(repr((image.size, image.mode)).encode() + image.tobytes()).digest()

    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(images), BLOCK):
            yield from pool.map(part, range(start, min(start + BLOCK, len(images))))


@dataclass(frozen=True)
class FixedContents:
    """Images whose key says all."""

    key: str

    def hashes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Rows of nothing."""
        return np.empty((stop - start, 0), np.uint8)

    def save(self, folder: Path, hashes: NDArray[np.uint8]) -> None:
        """Nothing is left to note."""

    def agree(self, folder: Path) -> bool:
        """Always, since the key does."""
        return True


@dataclass(frozen=True)
class FileContents:
    """Image files below a root."""

    root: str
    names: Packed
    facts: FileFacts
    looked: float
    """When the files were first looked at, in seconds since 1970."""

    @cached_property
    def key(self) -> str:
        """A hash of names and sizes, in their order; the root does not matter."""
        digest = blake2b(b"files", digest_size=HASH)
        for part in (self.names.text, self.facts.sizes.data):
            digest.update(part)
        return digest.hexdigest()

    def hashes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The hashes of files `start` to `stop` - 1. Raises UserError where one cannot be read."""
        return self.hash_files(np.arange(start, stop))

    def hash_files(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The hashes of the files at `indices`."""
        text = b"".join(hash_of(self.root, self.names[index]) for index in indices.tolist())
        return np.frombuffer(text, np.uint8).reshape(-1, HASH)

    def save(self, folder: Path, hashes: NDArray[np.uint8]) -> None:
        """Note hashes and times. Raises UserError, naming a file, where one changed since the first look."""
        now = facts_of(self.root, self.names)
        changed = np.flatnonzero((now.sizes != self.facts.sizes) | (now.mtimes != self.facts.mtimes))
        if len(changed):
            raise UserError(
                f"{len(changed)} images changed while their features were computed, "
                f"{shown(self.names[changed[0]])} first; start again when they stay as they are"
            )
        hashes.tofile(folder / HASHES)
        self.times.tofile(folder / self.times_name)

    def agree(self, folder: Path) -> bool:
        """Whether all files are as an entry noted them: by their times, or else by their hashes."""
        doubtful = np.flatnonzero(noted_times(folder / self.times_name, len(self.names)) != self.facts.mtimes)
        if not len(doubtful):
            return True
        noted = np.memmap(folder / HASHES, np.uint8, "r").reshape(-1, HASH)
        with ThreadPoolExecutor(cores()) as pool:
            parts = np.array_split(doubtful, -(-len(doubtful) // BLOCK))
            found = np.concatenate(list(pool.map(self.hash_files, parts)))
        changed = (noted[doubtful] != found).any(axis=1)
        if changed.any():
            log.info("%d of %d images changed since their features were computed", changed.sum(), len(self.names))
            return False
        self.note_times(folder)
        return True

    def note_times(self, folder: Path) -> None:
        """Spare the next look the hashes; one who may only read the cache hashes again."""
        partial = folder / f"{self.times_name}.{os.getpid()}"
        with suppress(OSError):
            self.times.tofile(partial)
            partial.replace(folder / self.times_name)

    @property
    def times(self) -> NDArray[np.int64]:
        """The time of change of each file; DOUBTFUL if so young that a later change might have the same."""
        limit = int((self.looked - SETTLED) * 1e9)
        return np.where(self.facts.mtimes <= limit, self.facts.mtimes, DOUBTFUL)

    @property
    def times_name(self) -> str:
        """The file that holds times; copies of the images below another root have one of their own."""
        return f"times-{blake2b(os.fsencode(os.path.realpath(self.root)), digest_size=8).hexdigest()}.bin"


def noted_times(path: Path, count: int) -> NDArray[np.int64]:
    """The times in a file; all doubtful where it is missing or of another length."""
    try:
        times = np.fromfile(path, np.int64)
    except OSError:
        return np.full(count, DOUBTFUL)
    return times if len(times) == count else np.full(count, DOUBTFUL)


def hash_of(root: str, name: bytes) -> bytes:
    """The hash of a file's bytes."""
    try:
        with open(os.path.join(os.fsencode(root), name), "rb") as file:
            return blake2b(file.read(), digest_size=HASH).digest()
    except OSError as error:
        raise UserError(f"cannot read the image {shown(name)!r}: it {reason_of(error)}; replace it") from error
