"""Whether two images show the same pixels, though one was resized, recompressed, mirrored or cropped a little."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = 32
"""Pixels a side that two images are compared at."""
SIDE = 4 * GRID
"""Pixels that no side of an image need be decoded above for that."""
CROPS = (0.0, 0.025, 0.05, 0.075, 0.1)
"""Shares of width and height that are tried as cut away."""
PLACES = (0.0, 0.5, 1.0)
"""Where what is left may lie, of the way from left to right and from top to bottom."""
FLAT = 2.0
"""Standard deviation of grey below which an image shows nothing to compare by."""


def reduced(image: Image.Image) -> Image.Image:
    """An image in grey, as small as `likeness` needs it."""
    grey = image.convert("L")
    grey.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return grey


def likeness(one: Image.Image, other: Image.Image) -> float:
    """The highest correlation, -1 to 1, of one image with any crop of the other or its mirror image, either way round.

    Both as `reduced` gives them; -1 where one is too small to tell, or flat. Of photos it is above 0.92 where they are
    copies cropped by up to 5%, and was below 0.88 for the likest of different photos of pets (measured on 475).
    """
    if min(max(one.size), max(other.size)) < GRID:
        return -1.0
    return max(best_of_crops(one, other), best_of_crops(other, one))


def best_of_crops(whole: Image.Image, cropped: Image.Image) -> float:
    """The highest correlation of an image with a crop of another."""
    wanted = pattern(cropped.resize((GRID, GRID), Image.Resampling.BOX))
    if wanted is None:
        return -1.0
    both = np.stack([wanted, wanted[:, ::-1]]).reshape(2, -1)
    found = [pattern(whole.resize((GRID, GRID), Image.Resampling.BOX, box)) for box in boxes(*whole.size)]
    kept = [one.reshape(-1) for one in found if one is not None]
    return float((np.stack(kept) @ both.T).max()) if kept else -1.0


def pattern(grey: Image.Image) -> NDArray[np.float32] | None:
    """The pixels less their mean, of unit length; None where there is nothing to see."""
    pixels = np.asarray(grey, np.float32)
    pixels = pixels - pixels.mean()
    length = float(np.linalg.norm(pixels))
    return pixels / length if length > FLAT * GRID else None


def boxes(width: int, height: int) -> Iterator[tuple[float, float, float, float]]:
    """The crops that are tried."""
    for share in CROPS:
        wide, high = width * share, height * share
        for x in PLACES if share else (0.0,):
            for y in PLACES if share else (0.0,):
                yield x * wide, y * high, x * wide + width - wide, y * high + height - high
