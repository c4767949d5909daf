"""What a sample of a data set's files shows about its pixels: what is assumed of them, and where white looks wrong."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from expkit.data.images.decode import HEAD, colours_of_16_bits, is_deep_png, opened
from expkit.data.images.pixels import DARK, doubt_of_white
from expkit.data.images.reading import Reading
from expkit.data.images.tiff import is_plain, numbers_of
from expkit.data.packed import Packed, below
from expkit.errors import DataError
from expkit.threads import aside

log = logging.getLogger("expkit.data")

SAMPLE = 128
"""Files that are looked at, evenly spread."""
PIXELS = 20_000_000
"""Most pixels that are decoded for that."""
ENOUGH = 8
"""Files of 8 bits from which a sample stands for all."""
FEW = 3
"""Likewise for files of more bits, which are seldom dark by chance."""
FAINT = 25
"""Opacity, of 255, below which nothing is seen."""
ANIMATED = ("GIF", "TIFF", "WEBP", "PNG")


@dataclass
class Looks:
    """What was seen."""

    files: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """How many files are of a kind that something is assumed about."""
    peaks: dict[float, list[float]] = field(default_factory=dict)
    """The largest value of each file, by what its bits hold."""
    faint: int = 0
    """How many files are transparent everywhere."""
    left: int = PIXELS

    def add(self, file: IO[bytes], reading: Reading) -> None:
        """Look at one file, and into it unless it is a JPEG."""
        head = file.read(HEAD)
        file.seek(0)
        with opened(file, head) as image:
            self.files += 1
            if image.mode == "CMYK":
                self.kinds["CMYK: turned to RGB without a colour profile"] += 1
            if image.format in ANIMATED and getattr(image, "is_animated", False):
                self.kinds["of several frames or pages: the first is read"] += 1
            self.left -= 0 if image.format == "JPEG" else image.width * image.height
            if image.format != "JPEG" and self.left > 0:
                self.look_into(image, file, reading)

    def look_into(self, image: Image.Image, file: IO[bytes], reading: Reading) -> None:
        """Note the largest value and what is transparent."""
        if isinstance(image, TiffImageFile) and not is_plain(image):
            values, most = numbers_of(file)
            self.note_depth(float(values.max()), most, reading)
            return
        if is_deep_png(image):
            values = colours_of_16_bits(image, file)
            bands = values.shape[2]
            self.note_depth(float(values[..., : bands - 1 + bands % 2].max()), 65535.0, reading)
            if bands % 2 == 0:
                self.note_alpha(values[..., -1] >> 8, reading)
            return
        image.load()
        if image.mode.startswith("I;16"):
            self.note_depth(float(np.asarray(image).max()), 65535.0, reading)
            return
        if image.mode == "RGBX":
            self.kinds["with a fourth band that is no transparency: it is left out"] += 1
        if image.has_transparency_data:
            self.note_alpha(np.asarray(image.convert("RGBA").getchannel("A")), reading)
        if image.mode not in ("1", "P", "F", "I", "LAB"):
            self.note_depth(float(np.asarray(image.convert("RGB")).max()), 255.0, reading)

    def note_depth(self, peak: float, most: float | None, reading: Reading) -> None:
        """Note the largest value of a file; `most` is what its bits hold, None where nobody knows."""
        if most is None:
            return
        white = min(reading.white or most, most)
        if most > 255:
            self.kinds[f"of more than 8 bits: {white:g} is white (data.white)"] += 1
        self.peaks.setdefault(white, []).append(peak)

    def note_alpha(self, alpha: NDArray[np.integer], reading: Reading) -> None:
        """Note a file that is transparent somewhere, or everywhere."""
        self.faint += reading.alpha != "ignore" and int(alpha.max()) <= FAINT
        if alpha.min() < 255:
            laid = "their colours are taken as they are" if reading.alpha == "ignore" else f"laid on {reading.alpha}"
            self.kinds[f"transparent in part: {laid} (data.alpha)"] += 1


def look_at(root: str, names: Packed, reading: Reading) -> tuple[str, ...]:
    """Notes on what is assumed of the pixels, for `Data.notes`; warns of a range that looks wrong.

    Raises DataError where that would turn all images of more than 8 bits black.
    """
    looks = aside(looks_of, sample(root, names), reading)
    for white, peaks in looks.peaks.items():
        check_range(white, peaks, len(names))
    if looks.faint > DARK * looks.files:
        log.warning(
            "%d of %d images looked at are transparent everywhere, so that only %s is seen; data.alpha=ignore takes "
            "their colours as they are", looks.faint, looks.files, reading.alpha
        )  # fmt: skip
    return tuple(f"{count} of {looks.files} images looked at are {kind}" for kind, count in looks.kinds.items())


def looks_of(paths: Iterable[bytes], reading: Reading) -> Looks:
    """What some files show."""
    looks = Looks()
    for path in paths:
        with suppress(Exception), open(path, "rb") as file:  # what cannot be read is told by the check of each file
            looks.add(file, reading)
    return looks


def sample(root: str, names: Packed) -> Iterator[bytes]:
    """Paths of files that are evenly spread over the list."""
    step = -(-len(names) // SAMPLE)
    return (below(root) + names[index] for index in range(0, len(names), step or 1))


def check_range(white: float, peaks: list[float], total: int) -> None:
    """Warn where no file looked at comes near white, or files differ much; refuse where all would be black."""
    count, peak = len(peaks), max(peaks)
    if count < min(ENOUGH if white <= 255 else FEW, total):
        return
    doubt = doubt_of_white(peak, white)
    if doubt and peak * 255 < 2 * white:
        raise DataError(f"each of {count} images looked at {doubt}")
    if doubt:
        log.warning("each of %d images looked at %s", count, doubt)
        return
    black = sum(0 < value * 255 < 2 * white for value in peaks)
    if black > DARK * count:
        log.warning(
            "%d of %d images looked at are black and the others are not: where %g is white (data.white), theirs "
            "are values of another range", black, count, white
        )  # fmt: skip
