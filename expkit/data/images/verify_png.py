"""What is wrong with a PNG, most of which is told by its checksums and by how much its pixels unpack to.

Pillow does not compare the checksums of pixels, and leaves rows black that are not there.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.data.images.decode import PNG, decode
from expkit.data.images.reading import DEFAULT, Reading

HEADER, COLOURS, PIXELS, END, NOTE = b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tEXt"
LENGTHS = {HEADER: 13, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7, END: 0}
"""Chunks that no reader minds, if they are as long as they should be."""
SHORT = 1024
"""Bytes up to which a note is certain to be read."""
BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Numbers of a pixel, by its type of colour."""
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PALETTE = 3
PASSES = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
"""The first row and every how many, and the same of columns, that a pass of an interlaced image holds."""
FILTERS = bytes(range(5))
"""What the first byte of a row may be."""
PIECE = 1 << 16
"""Bytes that are unpacked at a time."""


@dataclass(frozen=True)
class Chunks:
    """What a PNG is made of."""

    header: bytes
    pixels: tuple[slice, ...]
    """Where compressed pixels lie."""
    plain: bool
    """Whether there is nothing that a reader could stumble over but the pixels."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        width, height = struct.unpack_from(">II", self.header)
        return width, height

    def rows(self) -> Iterator[tuple[int, int]]:
        """Bytes of a row, with that of its filter, and how many rows there are: of the image, or of each pass."""
        width, height = self.size
        bits = self.header[8] * BANDS[self.header[9]]
        for top, down, left, right in PASSES if self.header[12] else ((0, 1, 0, 1),):
            across = -(-(width - left) // right)
            if across > 0:
                yield 1 + -(-across * bits // 8), max(0, -(-(height - top) // down))

    @property
    def known(self) -> bool:
        """Whether the header describes a picture as the format has it."""
        return (
            len(self.header) == LENGTHS[HEADER]
            and 0 not in self.size
            and self.header[8] in DEPTHS.get(self.header[9], ())
            and not any(self.header[10:12])
            and self.header[12] <= 1
        )


def png_problem(content: bytes, reading: Reading) -> str | None:
    """What is wrong with a PNG: a checksum, or too few rows. Raises what its reader does where it cannot be decoded."""
    chunks = chunks_of(content)
    if isinstance(chunks, str):
        decode(io.BytesIO(content), 1, reading)  # may say more
        return chunks
    if chunks.plain and chunks.known and reading == DEFAULT and unpacks(content, chunks):
        return None
    seen = np.asarray(decode(io.BytesIO(content), 1, reading))
    # Rows that are not there are of one colour, or one pass of an interlaced image is missing.
    doubtful = len(chunks.header) < 13 or chunks.header[12] or any((edge == edge[0]).all() for edge in edges(seen))
    return "is cut off (it has fewer rows than it says)" if doubtful and lacks_rows(content, chunks) else None


def edges(seen: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The four sides of an image, which may have been turned."""
    yield from (seen[-1], seen[0], seen[:, -1], seen[:, 0])


def chunks_of(content: bytes) -> Chunks | str:
    """What a PNG is made of, or what is wrong: a chunk that a decoder needs whose checksum is another than it says."""
    header, last, place = b"", b"", len(PNG)
    pixels: list[slice] = []
    plain, colours = True, False
    view = memoryview(content)
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            break
        wrong = zlib.crc32(view[place + 4 : end]) != struct.unpack_from(">I", content, end)[0]
        if wrong and kind[:1].isupper():
            return f"is damaged (the checksum of its {kind.decode('ascii', 'replace')} chunk is wrong)"
        if kind == HEADER:
            plain = plain and not last
            header = header or content[place + 8 : end]
        elif kind == PIXELS:
            plain = plain and (last == PIXELS or not pixels)
            pixels.append(slice(place + 8, end))
        elif kind == COLOURS:
            colours = True
            plain = plain and not pixels and length % 3 == 0 and 0 < length <= 768
        plain = plain and not wrong and harmless(kind, length)
        if kind == END:
            plain = plain and len(header) == LENGTHS[HEADER] and (colours or header[9] != PALETTE)
            return Chunks(header, tuple(pixels), plain)
        last, place = kind, end + 4
    return "is truncated or damaged (it has no end chunk)"


def harmless(kind: bytes, length: int) -> bool:
    """Whether no reader stumbles over such a chunk."""
    return (
        LENGTHS.get(kind, length if kind in (PIXELS, COLOURS) or (kind == NOTE and length <= SHORT) else -1) == length
    )


def unpacks(content: bytes, chunks: Chunks) -> bool:
    """Whether the pixels of a plain PNG unpack to as many rows as it says, all with filters that there are."""
    width, height = chunks.size
    if chunks.header[12] or (Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS):
        return False
    ((stride, rows),) = chunks.rows()
    done = 0
    try:
        for piece in unpacked(content, chunks):
            filters = piece[-done % stride : max(0, stride * rows - done) : stride]
            if filters.translate(None, FILTERS):
                return False
            done += len(piece)
            if done >= stride * rows:
                return True
    except zlib.error:
        return False
    return False


def lacks_rows(content: bytes, chunks: Chunks) -> bool:
    """Whether the pixels of a PNG unpack to fewer bytes than its rows have; False where they do not unpack."""
    if not chunks.known:
        return False
    total, done = sum(stride * rows for stride, rows in chunks.rows()), 0
    try:
        for piece in unpacked(content, chunks):
            done += len(piece)
            if done >= total:
                return False
    except zlib.error:  # Pillow has seen all of the rows
        return False
    return True


def unpacked(content: bytes, chunks: Chunks) -> Iterator[bytes]:
    """The rows of a PNG, in pieces."""
    inflate = zlib.decompressobj()
    view = memoryview(content)
    for pixels in chunks.pixels:
        for start in range(pixels.start, pixels.stop, PIECE):
            yield inflate.decompress(view[start : min(start + PIECE, pixels.stop)])
