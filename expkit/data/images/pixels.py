"""Numbers of any type and layout as uint8 pixels."""

import logging
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from expkit.errors import UserError

log = logging.getLogger("expkit.data")

Layout = Literal["HW", "HWC", "CHW"]
EXPECTED: dict[Layout, str] = {
    "HW": "N x height x width",
    "HWC": "N x height x width x 3 (or x 1)",
    "CHW": "N x 3 (or 1) x height x width",
}
BLOCK = 1 << 24
"""Numbers converted at a time, to bound the memory that it takes."""
WHITES = (1, 16, 255, 1023, 4095, 16383, 65535)
"""What white usually is: shares and masks, the digits of scikit-learn, and the depths of cameras."""
DARK = 0.25
"""The share of white above which something lies in nearly every data set: two bits less than its type can hold."""


def likely_white(peak: float) -> float:
    """The usual white of values up to `peak`, to be suggested as `data.white`; `peak` itself where there is none."""
    return next((white for white in WHITES if peak <= white), peak)


def doubt_of_white(peak: float, white: float) -> str | None:
    """What looks wrong with taking `white` for white where no value of a whole data set lies above `peak`.

    The one rule for arrays and image files: a sentence that names data.white, None where the range looks right.
    """
    if peak > white * DARK:
        return None
    if peak <= 0:
        return "holds no value above 0, so all is black"
    meant = likely_white(peak) if likely_white(peak) < white else peak
    shade = "black" if peak <= 1 < white else "dark"
    hint = f"if {meant:g} is white set data.white={meant:g}"
    return f"holds no value above {peak:g} where white is {white:g}, so all is {shade}; {hint}"


def to_uint8(images: NDArray[Any], layout: Layout, white: float, key: str) -> NDArray[np.uint8]:
    """Images as uint8, N x H x W (grey) or N x H x W x 3, where `white` becomes 255.

    What is uint8 with white 255 already is returned as a view, so a memory-mapped file stays on disk.
    Raises UserError, naming `key`, for another shape than `layout` says, for values that are no pixels, and where
    none is above 1 but white is; warns where all are dark.
    """
    images = channels_last(images, layout, key)
    if images.dtype.kind not in "buif":
        raise UserError(f"{key} holds {images.dtype} values, expected numbers")
    if images.dtype == np.uint8 and white == 255:
        check_peak(peak_of(images, enough=white * DARK), white, key)
        return images
    pixels = np.empty(images.shape, np.uint8)
    peak = 0.0
    for rows in blocks(images):
        values = images[rows].astype(np.float32)
        check_values(values, images, rows.start, white, key)
        peak = max(peak, float(values.max(initial=0)))
        pixels[rows] = np.rint(values * np.float32(255 / white))
    check_peak(peak, white, key)
    return pixels


def peak_of(images: NDArray[Any], enough: float = np.inf) -> float:
    """The largest value; looking ends where one lies above `enough`."""
    peak = 0.0
    for rows in blocks(images):
        peak = max(peak, float(images[rows].max()))
        if peak > enough:
            break
    return peak


def check_peak(peak: float, white: float, key: str) -> None:
    """Refuse images that would all be black, and warn of those that would all be dark."""
    doubt = doubt_of_white(peak, white)
    if doubt is None:
        return
    if peak <= 1 < white:
        raise UserError(f"{key} {doubt}")
    log.warning("%s %s", key, doubt)


def channels_last(images: NDArray[Any], layout: Layout, key: str) -> NDArray[Any]:
    """A view of the images as N x H x W or N x H x W x 3."""
    shape = images.shape
    if not fits_layout(shape, layout):
        fits = next((other for other in EXPECTED if fits_layout(shape, other)), None)
        hint = f"; if it is {EXPECTED[fits]} set data.layout={fits}" if fits else ""
        found = " x ".join(map(str, shape)) or "of a single number"
        raise UserError(f"{key} has shape {found}, expected {EXPECTED[layout]} for data.layout={layout}{hint}")
    if layout == "HW":
        return images
    channels = 1 if layout == "CHW" else 3
    images = np.moveaxis(images, channels, 3)
    return images[..., 0] if shape[channels] == 1 else images


def fits_layout(shape: tuple[int, ...], layout: Layout) -> bool:
    """Whether an array of this shape holds images with axes in this order."""
    if 0 in shape or len(shape) != (3 if layout == "HW" else 4):
        return False
    return layout == "HW" or shape[1 if layout == "CHW" else 3] in (1, 3)


def blocks(images: NDArray[Any]) -> Iterator[slice]:
    """Slices of rows that together cover the array."""
    step = max(1, BLOCK * len(images) // images.size)
    for start in range(0, len(images), step):
        yield slice(start, min(start + step, len(images)))


def check_values(values: NDArray[np.float32], images: NDArray[Any], start: int, white: float, key: str) -> None:
    """Raise UserError, naming the first row at fault, for what is not a number from 0 to `white`."""
    wrong = ~((values >= 0) & (values <= np.float32(white)))  # NaN is neither
    if not wrong.any():
        return
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    row = start + place[0]
    hint = hint_for(float(values[place]), images, white)
    raise UserError(f"{key} has the value {values[place]:g} in row {row}, expected 0 to {white:g} (data.white); {hint}")


def hint_for(value: float, images: NDArray[Any], white: float) -> str:
    """What to do about a value that is no pixel."""
    if value < 0:
        return "negative values look normalized: give the pixels as they were before, expkit normalizes them itself"
    if not np.isfinite(value):
        return "give numbers only"
    peak = peak_of(images)
    if peak < 2 * white:
        return f"the largest is {peak:g}: clip them to {white:g}, or set data.white={peak:g} if that is white"
    return f"the largest is {peak:g}; if {likely_white(peak):g} is white set data.white={likely_white(peak):g}"
