"""What is wrong with a JPEG that decoders pass over.

libjpeg shows what was cut off as the last block before it, on and on, where an end marker follows, and Pillow does not
ask for its warnings.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from expkit.data.images.decode import check_pixels

BASELINE, PROGRESSIVE = (0xC0, 0xC1), (0xC2,)
"""Huffman coded frames, by the code of their marker."""
QUANTIZATION, START_OF_SCAN, FIRST_NOTES, END_OF_IMAGE = 0xDB, 0xDA, 0xE0, b"\xff\xd9"
PASSED_OVER = frozenset((0xC4, 0xDD, 0xFE, *range(0xE3, 0xED), 0xEF))
"""Segments of a header of which Pillow's reader takes no notice: libjpeg reads them, or nobody."""
TABLE = 65
"""Bytes of a table of quantization."""
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
"""Coded pixels of nothing in particular, and no marker among them."""
SIP, SIPS, ENOUGH = 16, 8, 2
"""Bytes that a decoder is given behind the pixels at a time, to see what it takes them for, how often, and how often
where it has all pixels (it wants to see some bytes more before it gives the last of them)."""
Segment = tuple[int, int, int]
"""The code of a marker, and where what belongs to it starts and ends."""


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
class Header:
    """What it takes to decode a JPEG at the smallest scale, a pixel for each of its blocks, as they lie in the file."""

    mode: str
    size: tuple[int, int]
    """At that scale."""
    how: tuple[str | int, ...]
    """What libjpeg is asked for: the order of colours, nothing, the scale, nothing."""

    @classmethod
    def of(cls, content: bytes) -> "Header":
        """Have Pillow read the header as it does in training; raises what its reader does."""
        with JpegImageFile(io.BytesIO(content)) as image:
            image.draft(None, (1, 1))
            check_pixels(image)
            return cls(image.mode, image.size, (*tuple(image.tile[0].args or ()), *image.decoderconfig))

    @classmethod
    def at_a_glance(cls, content: bytes, segments: Sequence[Segment]) -> "Header | None":
        """The same without Pillow, in an eighth of the time, of a header that holds nothing out of the ordinary."""
        found = None
        for code, start, end in segments:
            if code == START_OF_SCAN:
                return found
            if code in BASELINE or code in PROGRESSIVE:
                found = cls.of_frame(content[start:end]) if found is None else None
                if found is None:
                    return None
            elif code == QUANTIZATION:
                if (end - start) % TABLE or any(content[place] > 3 for place in range(start, end, TABLE)):
                    return None
            elif code == FIRST_NOTES:
                if end - start < 14:
                    return None
            elif code not in PASSED_OVER:
                return None
        return None

    @classmethod
    def of_frame(cls, frame: bytes) -> "Header | None":
        """The same by what the frame of a JPEG says, of grey or colours in 8 bits."""
        if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3) or len(frame) != 6 + 3 * frame[5]:
            return None
        height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
        if not (height and width):
            return None
        scale = next(scale for scale in (8, 4, 2, 1) if min(width, height) >= scale)
        size = -(-width // scale), -(-height // scale)
        if Image.MAX_IMAGE_PIXELS is not None and size[0] * size[1] > Image.MAX_IMAGE_PIXELS:
            return None
        mode = "L" if frame[5] == 1 else "RGB"
        return cls(mode, size, (mode, "", scale, 0))

    def pixels(self, content: bytes) -> bytes:
        """Decode them. Raises ValueError where that is not possible."""
        return Image.frombytes(self.mode, self.size, content, "jpeg", self.how).tobytes()

    def is_whole(self, coded: bytes, *, one_scan: bool) -> bool:
        """Decode what lies before the end marker, to see whether the decoder has all pixels then or waits for more.

        It is given a few bytes more, a sip at a time. One that has all pixels of a single scan is done. After the last
        of several it looks for a marker and drinks all there is; amid pixels it leaves what is no whole block.
        Raises ValueError for what cannot be decoded.
        """
        # Not public, but what is wants a whole file or all bytes at once, and does not say how many pixels it has.
        decoder = Image._getdecoder(self.mode, "jpeg", self.how[:2], self.how[2:])
        decoder.setimage(Image.new(self.mode, self.size).im, (0, 0, *self.size))
        left, spilt = coded, False
        for start in range(0, SIP * (ENOUGH if one_scan else SIPS), SIP):
            left += FILLER[start : start + SIP]
            taken, error = decoder.decode(left)
            if taken < 0:
                if error:
                    raise ValueError("broken data stream")
                return True
            left = left[taken:]
            spilt = spilt or bool(left)
        return not (one_scan or spilt)


def jpeg_problem(content: bytes) -> str | None:
    """Whether a JPEG cannot be decoded, or pixels of it are missing: cut off, or overwritten with zeros."""
    if LINES <= content.count(b"\n") == content.count(b"\r\n"):
        return "was copied as text, which wrote each line end in two bytes; copy it again, as binary"
    segments = list(segments_of(content))
    header = Header.at_a_glance(content, segments) or Header.of(content)
    frame, body, one_scan = frame_of(content, segments)
    huffman = frame in BASELINE or frame in PROGRESSIVE
    end = content.find(END_OF_IMAGE, body) if huffman else -1
    whole = end >= 0 and header.is_whole(content[:end], one_scan=one_scan)
    if not whole:
        header.pixels(content)  # may say why
    marked = scans_of(content, body) if RESTARTS in content[:body] else ()
    if any(lacks_stretches(content[scan.start : scan.end]) for scan in marked):
        return "is damaged (a stretch of its pixels is missing)"
    if not huffman:
        return None
    if frame in PROGRESSIVE:
        cut = (end >= 0 and not whole) or lacks_passes(scans_of(content, body))
        return "is cut off (its finer passes are missing)" if cut else None
    if end < 0 and not content[-32:].strip(b"\0"):
        return "is truncated or damaged (it ends in zeros, with no end marker)"
    if end >= 0 and not whole:
        return "is cut off, though an end marker follows: its last part is missing"
    if ZEROS in content[body:] and zeros_shown(content, body, header):
        return "is damaged (zeros stand where pixels should be)"
    return None


def segments_of(content: bytes) -> Iterator[Segment]:
    """What the header of a JPEG consists of, to the marker of its first scan."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        code = content[place + 1]
        if code == 0xFF:  # any number of them may stand before a code
            place += 1
            continue
        start, place = place + 4, place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        yield code, start, place
        if code == START_OF_SCAN:
            return


def frame_of(content: bytes, segments: Sequence[Segment]) -> tuple[int, int, bool]:
    """The code of a JPEG's frame marker (0: none), where its first scan begins, and whether that is the only one."""
    frame = components = 0
    for code, start, _ in segments:
        if code == START_OF_SCAN:
            return frame, start - 4, frame in BASELINE and content[start : start + 1] == bytes([components])
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC) and start + 5 < len(content):
            frame, components = code, content[start + 5]
    return 0, len(content), False


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


def zeros_shown(content: bytes, body: int, header: Header) -> bool:
    """Whether zeros among coded pixels are no pixels of the picture, since they end before or after it does."""
    start = content.index(ZEROS, body) + len(ZEROS) // 2  # the first may end the picture
    stop = len(content) - len(content[start:].lstrip(b"\0"))
    end = scans_of(content, body)[-1].end
    if not body < start < stop <= end:
        return False
    shown = header.pixels(content)

    def differs(other: bytes) -> bool:
        return header.pixels(other + END_OF_IMAGE) != shown

    filled = (FILLER * (1 + (stop - start) // len(FILLER)))[: stop - start]
    if not differs(content[:start] + filled + content[stop:]):
        return False  # nobody reads them
    return differs(content[:end] + FILLER) or not differs(content[: end - 16] + FILLER[:16] + content[end:])
