"""Images that stand out: unlike all others, blurred, dark, flat, of an odd size or kind, or lying on their side."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from expkit.audit.looks import Looks

FAR = 4.0
"""Deviations, of those that half of the images stay within, from which an image is far out."""
DARK, BRIGHT, FLAT = 25.0, 235.0, 8.0
"""Mean grey, and its standard deviation, of 255."""
LONG = 3.0
"""Times that one side is the other."""
FEW = 0.05
"""The share of images up to which a mode of pixels is an odd one."""
ENOUGH = 20
"""Images from which on it is known what is usual."""

KINDS = ("outlier", "blurred", "dark", "bright", "flat", "small", "long", "mode", "rotated")


def oddities(looks: Looks, similarities: NDArray[np.float32], size: int) -> Iterator[tuple[str, int, float, str]]:
    """Kind, row, how far it goes (more is worse), and a few words, for each thing that stands out.

    `similarities` are those of each image to its nearest others that are no duplicates of it, nan for none; `size` is
    what the model sees.
    """
    distance = 1 - np.nanmean(similarities, axis=1) if similarities.size else np.zeros(len(looks.widths))
    far = deviations(distance)
    yield from (("outlier", row, far[row], "unlike all other images") for row in rows_where(far > FAR))
    blur = -deviations(np.log(looks.sharpness + 1e-3))
    yield from (("blurred", row, blur[row], f"sharpness {looks.sharpness[row]:.0f}") for row in rows_where(blur > FAR))
    grey = looks.brightness
    yield from (("dark", row, DARK - grey[row], f"mean grey {grey[row]:.0f} of 255") for row in rows_where(grey < DARK))
    bright = rows_where(grey > BRIGHT)
    yield from (("bright", row, grey[row] - BRIGHT, f"mean grey {grey[row]:.0f} of 255") for row in bright)
    flat = rows_where(looks.contrast < FLAT)
    yield from (("flat", row, FLAT - looks.contrast[row], "hardly any contrast") for row in flat)
    yield from of_shape(looks, size)
    yield from of_kind(looks)


def of_shape(looks: Looks, size: int) -> Iterator[tuple[str, int, float, str]]:
    """Images that are small beside most, and long ones."""
    short, long = np.minimum(looks.widths, looks.heights), np.maximum(looks.widths, looks.heights)
    small = rows_where((short < size / 2) & (short < np.median(short) / 2))
    for row in small:
        yield "small", row, size / short[row], f"{looks.widths[row]} x {looks.heights[row]}, the model sees {size}"
    for row in rows_where(long >= LONG * short):
        yield "long", row, long[row] / short[row], f"{looks.widths[row]} x {looks.heights[row]}"


def of_kind(looks: Looks) -> Iterator[tuple[str, int, float, str]]:
    """Images of a mode that few have, and those that are turned by their EXIF orientation."""
    modes, which, counts = np.unique(looks.modes, return_inverse=True, return_counts=True)
    rare = counts[which] <= FEW * len(which)
    for row in rows_where(rare):
        yield "mode", row, 1 - counts[which[row]] / len(which), f"{looks.modes[row]}, most are {modes[counts.argmax()]}"
    for row in rows_where(looks.orientations > 1):
        yield "rotated", row, 0.0, f"EXIF orientation {looks.orientations[row]}: shown upright"


def deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each is above the median, in deviations that half of all stay within (scaled as a standard deviation).

    Nothing stands out of a few, nor where half are alike.
    """
    values = np.nan_to_num(values, nan=float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0)
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    if len(values) < ENOUGH or spread <= 1e-9:
        return np.zeros(len(values))
    found: NDArray[np.float64] = (values - middle) / spread
    return found


def rows_where(mask: NDArray[np.bool_]) -> list[int]:
    """The rows that a mask holds."""
    return np.flatnonzero(mask).tolist()
