"""Numbers of any type and layout as uint8 pixels."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from expkit.errors import UserError

Layout = Literal["HW", "HWC", "CHW"]
EXPECTED = {
    "HW": "N x height x width",
    "HWC": "N x height x width x 3 (or x 1)",
    "CHW": "N x 3 (or 1) x height x width",
}
BLOCK = 1 << 24
"""Numbers converted at a time, to bound the memory that it takes."""


def to_uint8(images: NDArray[Any], layout: Layout, white: float, key: str) -> NDArray[np.uint8]:
    """Images as uint8, N x H x W (grey) or N x H x W x 3, where `white` becomes 255.

    What is uint8 with white 255 already is returned as a view, so a memory-mapped file stays on disk.
    Raises UserError, naming `key`, for another shape than `layout` says and for values that are no pixels.
    """
    images = channels_last(images, layout, key)
    if images.dtype.kind not in "buif":
        raise UserError(f"{key} holds {images.dtype} values, expected numbers")
    if images.dtype == np.uint8 and white == 255:
        return images
    pixels = np.empty(images.shape, np.uint8)
    peak = 0.0
    for rows in blocks(images):
        values = images[rows].astype(np.float32)
        check_values(values, rows.start, white, key)
        peak = max(peak, float(values.max(initial=0)))
        pixels[rows] = np.rint(values * np.float32(255 / white))
    if images.dtype.kind == "f" and peak <= 1 < white:
        raise UserError(f"{key} holds no value above {peak:g}, so all is black; if 1.0 is white set data.white=1.0")
    return pixels


def channels_last(images: NDArray[Any], layout: Layout, key: str) -> NDArray[Any]:
    """A view of the images as N x H x W or N x H x W x 3."""
    shape = images.shape
    problem = f"{key} has shape {' x '.join(map(str, shape)) or 'of a single number'}, expected {EXPECTED[layout]}"
    if layout == "HW":
        if images.ndim != 3 or 0 in shape:
            raise UserError(f"{problem} for data.layout=HW")
        return images
    channels = 1 if layout == "CHW" else 3
    if images.ndim != 4 or 0 in shape or shape[channels] not in (1, 3):
        raise UserError(f"{problem} for data.layout={layout}")
    images = np.moveaxis(images, channels, 3)
    return images[..., 0] if shape[channels] == 1 else images


def blocks(images: NDArray[Any]) -> Iterator[slice]:
    """Slices of rows that together cover the array."""
    step = max(1, BLOCK * len(images) // images.size)
    for start in range(0, len(images), step):
        yield slice(start, min(start + step, len(images)))


def check_values(values: NDArray[np.float32], start: int, white: float, key: str) -> None:
    """Raise UserError, naming the first row at fault, for what is not a number from 0 to `white`."""
    wrong = ~((values >= 0) & (values <= np.float32(white)))  # NaN is neither
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise UserError(
            f"{key} has the value {values[place]:g} in row {start + place[0]}, expected 0 to {white:g} "
            "(data.white is the value of white)"
        )
