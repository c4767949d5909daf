"""What images hold: a key by which their features are found.

Files are told by the hashes of their contents, which are remembered; images that are not files by a hash of all pixels.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from expkit.data.arrays import ArrayImages
from expkit.data.files import ImageFiles
from expkit.data.images.file_facts import facts_of
from expkit.data.images.pace import cores
from expkit.data.items import Images
from expkit.errors import UserError
from expkit.threads import Threads
from expkit.words import many

HASH = 16
"""Bytes of a hash."""
BLOCK = 64
"""Images that are read at a time."""
CHUNK = 1 << 24
"""Bytes of an array that are hashed at a time."""


class Contents(Protocol):
    """What some images hold."""

    @property
    def key(self) -> str:
        """Hex digits that images which hold the same have in common."""
        ...

    def check_unchanged(self) -> None:
        """Raise UserError, naming a file, where one changed since the key was taken."""
        ...


def contents_of(images: Images, size: int | None) -> Contents:
    """A look at images; what is neither file nor array is read at `size` pixels (None: all it has).

    Raises UserError for a file that cannot be read.
    """
    if isinstance(images, ImageFiles):
        return FileContents(images, hashes_of(images))
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


def pixel_parts(images: Images, size: int | None) -> Iterator[bytes]:
    """All that makes up the pixels of images that nothing but reading tells about."""
    yield f"images {len(images)} {size}".encode()

    def part(index: int) -> bytes:
        image = images.read(index, size)
        return blake2b(repr((image.size, image.mode)).encode() + image.tobytes()).digest()

    with closing(Threads(cores())) as threads:
        for start in range(0, len(images), BLOCK):
            yield from threads.map(part, range(start, min(start + BLOCK, len(images))))


@dataclass(frozen=True)
class FixedContents:
    """Images that stay as they are."""

    key: str

    def check_unchanged(self) -> None:
        """Nothing to check."""


@dataclass(frozen=True)
class FileContents:
    """Image files, and the hashes of what they held at the first look."""

    images: ImageFiles
    hashes: NDArray[np.uint8]

    @property
    def key(self) -> str:
        """A hash of the contents, in their order; neither root nor names matter."""
        return blake2b(b"files" + self.hashes.tobytes(), digest_size=HASH).hexdigest()

    def check_unchanged(self) -> None:
        """Raise UserError, naming a file, where one changed since."""
        changed = np.flatnonzero((hashes_of(self.images) != self.hashes).any(axis=1))
        if len(changed):
            raise UserError(
                f"{many(len(changed), 'image', 'images')} changed while features were computed, "
                f"{self.images.name(int(changed[0]))} first; start again when they stay as they are"
            )


def hashes_of(images: ImageFiles) -> NDArray[np.uint8]:
    """A row for what each file holds now."""
    return facts_of(images.root, images.names, images.rows, images=False).hashes
