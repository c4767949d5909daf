"""What is wrong with an image file: it is decoded to its end, and looked at for what decoders pass over.

Pillow (libjpeg) shows the rest of a JPEG that was cut off as grey where an end marker follows, and does not compare the
checksums of a PNG.
"""

import io
import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from expkit.data.images.decode import JPEG, PNG, RULE, check_pixels, decode, reason_of
from expkit.data.images.reading import DEFAULT, Reading

RULES = 100 * RULE + 3
"""Raised when the checks below change, so that what older ones passed is looked at again."""
WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head")
POINTER = b"version https://git-lfs"
BASELINE, PROGRESSIVE = (0xC0, 0xC1), (0xC2,)
"""Huffman coded frames, by the code of their marker."""
START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
RESTARTS = b"\xff\xdd\0\4"
"""What says in a header that there are restart markers."""
RESTART = re.compile(rb"\xff([\xd0-\xd7])")
"""What stands between stretches of coded pixels in some files, counted from 0 to 7 over and over."""
NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Where coded pixels end: any marker but those that lie among them."""
LINES = 16
"""Bytes that read as the end of a line from which it is no chance that another stands before each."""
ZEROS = bytes(512)
"""More zeros than coded pixels have, unless they are of a plain area."""
FILLER = bytes(np.random.default_rng(0).integers(0, 255, 4096, np.uint8))
"""Coded pixels of nothing in particular."""


def problem_of(path: bytes, content: bytes | None, reading: Reading = DEFAULT) -> str | None:
    """What is wrong with an image file of this content, None for a good one; `content` None: too large to be held."""
    if content is not None and not content:
        return "is empty (zero bytes)"
    if content is not None and content.startswith(POINTER):
        return "is a pointer of Git LFS, not the image; fetch what it stands for with  git lfs pull"
    if content is not None and content[:64].lstrip().lower().startswith(WEB_PAGE):
        return "holds a web page, not an image (a failed download?)"
    try:
        if content is not None and content.startswith(JPEG):
            return jpeg_problem(content)
        if content is None or reading != DEFAULT or not is_plain_png(content):
            decode(path if content is None else io.BytesIO(content), 1, reading)
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        return reason_of(error)
    return png_problem(content) if content is not None and content.startswith(PNG) else None


def is_plain_png(content: bytes) -> bool:
    """Whether this is a PNG of grey or colours without more ado, which then is read to its end.

    Its pixels need not be turned to RGB to see that they are there.
    """
    if not content.startswith(PNG):
        return False
    with PngImageFile(io.BytesIO(content)) as image:
        plain = image.mode in ("L", "RGB")
        if plain:
            check_pixels(image)
            image.load()
    return plain


def png_problem(content: bytes) -> str | None:
    """A chunk that a decoder needs whose checksum is another than it says."""
    place = len(PNG)
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            break
        wrong = zlib.crc32(memoryview(content)[place + 4 : end]) != struct.unpack_from(">I", content, end)[0]
        if wrong and kind[:1].isupper():
            return f"is damaged (the checksum of its {kind.decode('ascii', 'replace')} chunk is wrong)"
        if kind == b"IEND":
            return None
        place = end + 4
    return "is truncated or damaged (it has no end chunk)"


@dataclass(frozen=True)
class Scan:
    """One of the passes in which a JPEG has its pixels."""

    components: bytes
    first: int
    """The first and the last coefficient that it has."""
    last: int
    low: int
    """How many bits of these are left to later scans."""
    start: int
    """Where its coded pixels begin, and where they end."""
    end: int


@dataclass(frozen=True)
class Small:
    """A JPEG at the smallest scale, a pixel for each of its blocks, as they lie in the file."""

    mode: str
    size: tuple[int, int]
    how: tuple[str | int, ...]
    """What libjpeg is asked for."""
    pixels: bytes

    @classmethod
    def of(cls, content: bytes) -> "Small":
        """Decode as training does; raises what Pillow's reader does."""
        with JpegImageFile(io.BytesIO(content)) as image:
            image.draft(None, (1, 1))
            check_pixels(image)
            how = (*tuple(image.tile[0].args or ()), *image.decoderconfig)
            image.load()
            return cls(image.mode, image.size, how, image.tobytes())

    @property
    def plain_end(self) -> bool:
        """Whether the last two pixels are alike, or there is one in a row."""
        bands = len(self.pixels) // (self.size[0] * self.size[1])
        return self.size[0] == 1 or self.pixels[-bands:] == self.pixels[-2 * bands : -bands]

    def differs(self, content: bytes) -> bool:
        """Whether other content behind the same header shows other pixels; the header is not read again."""
        other = Image.frombytes(self.mode, self.size, content + END_OF_IMAGE, "jpeg", self.how)
        return other.tobytes() != self.pixels


def jpeg_problem(content: bytes) -> str | None:
    """Whether pixels of a JPEG are missing: cut off before its end marker, or overwritten with zeros."""
    if LINES <= content.count(b"\n") == content.count(b"\r\n"):
        return "was copied as text, which wrote each line end in two bytes; copy it again, as binary"
    shown = Small.of(content)
    frame, body = frame_of(content)
    marked = scans_of(content, body) if RESTARTS in content[:body] else ()
    if any(lacks_stretches(content[scan.start : scan.end]) for scan in marked):
        return "is damaged (a stretch of its pixels is missing)"
    if frame in PROGRESSIVE:
        return "is cut off (its finer passes are missing)" if lacks_passes(scans_of(content, body)) else None
    if frame not in BASELINE:
        return None
    if not content[-32:].strip(b"\0") and END_OF_IMAGE not in content[body:]:
        return "is truncated or damaged (it ends in zeros, with no end marker)"
    # What was cut off is shown as the last block before it, on and on.
    if shown.plain_end:
        end = scans_of(content, body)[-1].end
        if shown.differs(content[:end] + FILLER):
            return "is cut off, though an end marker follows: its last part is plain"
    if ZEROS in content[body:] and zeros_shown(content, body, shown):
        return "is damaged (zeros stand where pixels should be)"
    return None


def frame_of(content: bytes) -> tuple[int, int]:
    """The code of a JPEG's frame marker, and where its first scan begins; 0 where there is none."""
    place, frame = 2, 0
    while place + 4 <= len(content) and content[place] == 0xFF:
        code = content[place + 1]
        if code == START_OF_SCAN:
            return frame, place
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            frame = code
        place += 1 if code == 0xFF else 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return 0, place


def scans_of(content: bytes, place: int) -> list[Scan]:
    """The scans of a JPEG whose first begins at `place`."""
    scans = []
    while place + 4 <= len(content) and content[place] == 0xFF and content[place + 1] != END_OF_IMAGE[1]:
        if content[place + 1] == 0xFF:
            place += 1
            continue
        start = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if content[place + 1] != START_OF_SCAN:
            place = start
            continue
        count = content[place + 4]
        first, last, bits = content[place + 5 + 2 * count : place + 8 + 2 * count]
        found = NEXT_MARKER.search(content, start)
        place = found.start() if found else len(content)
        scans.append(Scan(content[start - 3 - 2 * count : start - 3 : 2], first, last, bits & 15, start, place))
    return scans


def lacks_stretches(coded: bytes) -> bool:
    """Whether the restart markers among coded pixels are out of order."""
    numbers = b"".join(RESTART.findall(coded))
    return numbers != (bytes(range(0xD0, 0xD8)) * (len(numbers) // 8 + 1))[: len(numbers)]


def lacks_passes(scans: list[Scan]) -> bool:
    """Whether the scans leave a bit of any coefficient of any component out."""
    components = {component for scan in scans for component in scan.components}
    left = {(component, place) for component in components for place in range(64)}
    for scan in scans:
        if scan.low == 0:
            left -= {(component, place) for component in scan.components for place in range(scan.first, scan.last + 1)}
    return bool(left)


def zeros_shown(content: bytes, body: int, shown: Small) -> bool:
    """Whether zeros among coded pixels are no pixels of the picture, since they end before or after it does."""
    start = content.index(ZEROS, body) + len(ZEROS) // 2  # the first may end the picture
    stop = len(content) - len(content[start:].lstrip(b"\0"))
    end = scans_of(content, body)[-1].end
    if not body < start < stop <= end:
        return False
    filled = (FILLER * (1 + (stop - start) // len(FILLER)))[: stop - start]
    if not shown.differs(content[:start] + filled + content[stop:]):
        return False  # nobody reads them
    return shown.differs(content[:end] + FILLER) or not shown.differs(content[: end - 16] + FILLER[:16] + content[end:])
