"""How pixels of any mode and depth become RGB of 8 bits: what is white, and what lies behind what is transparent."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from expkit.data.images.pixels import likely_white

Alpha = Literal["white", "black", "ignore"]

ORIENTATION = 0x0112
"""The EXIF tag."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation."""


BETWEEN = 0.5
"""A band of which more lies between none and full shows something else than where the image is transparent."""
LEVELS = 16
"""Different values from which such a band is more than an even veil."""


@dataclass(frozen=True)
class Reading:
    """What a data source says about the pixels of its files, which holds wherever its model is served."""

    alpha: Alpha = "white"
    """What lies behind transparent pixels; `ignore` takes their colours as they are."""
    white: float | None = None
    """The value of white; None: the most that the bits of a file hold, and float and 32-bit pixels are refused."""
    arrays: float | None = None
    """The value of white in arrays, where a model was trained on such; None: as in files of their type."""


DEFAULT = Reading()


def to_rgb(image: Image.Image, reading: Reading = DEFAULT) -> Image.Image:
    """A loaded image of 8 bits or fewer in RGB. Raises ValueError where its pixels do not fit `reading`."""
    if image.has_transparency_data:
        image = without_alpha(image.convert("RGBA"), reading.alpha)
    elif image.mode == "LAB":
        image = ImageCms.profileToProfile(image, lab(), ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    elif image.mode != "RGB":
        image = image.convert("RGB")
    if reading.white is not None and reading.white < 255:
        return Image.fromarray(scaled(np.asarray(image), reading.white))
    return image


def lab() -> Any:
    """The profile of CIELAB pixels."""
    return ImageCms.createProfile("LAB")


def without_alpha(image: Image.Image, alpha: Alpha) -> Image.Image:
    """An RGBA image laid on white or black, or its colours alone."""
    if alpha == "ignore":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, alpha), image).convert("RGB")


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """An image upright, by its EXIF orientation."""
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def check_alpha(alpha: NDArray[Any], most: float) -> None:
    """Raise ValueError for a fourth band that is nearly everywhere between none (0) and full (`most`)."""
    share = float(((alpha > 0) & (alpha < most)).mean())
    if share > BETWEEN and len(np.unique(alpha)) >= LEVELS:
        raise ValueError(
            f"has a fourth band, tagged as transparency, of which {share:.0%} lies between none and full; where that "
            "shows near infrared or the like, data.alpha=ignore reads the first three bands"
        )


def from_numbers(
    values: NDArray[Any], reading: Reading, *, white: float | None, inverted: bool = False, premultiplied: bool = False
) -> Image.Image:
    """Numbers H x W x 1 (grey), 2 (grey and alpha), 3 or 4 (RGB and alpha) as an RGB image.

    `white` is the most that the bits of the file hold, None where they say nothing; `reading.white` may be less.
    Raises ValueError for values outside 0 to white, and where white is known to nobody.
    """
    top = min(reading.white or white, white) if white else reading.white
    if top is None:
        kind = "float" if values.dtype.kind == "f" else f"{8 * values.dtype.itemsize}-bit"
        peak = float(values.max())
        hint = f", such as data.white={likely_white(peak):g}" if 0 < peak < np.inf else ""
        raise ValueError(f"has {kind} pixels with no stated white; say it with data.white{hint}")
    bands = values.shape[2]
    colours = scaled(values[..., : bands - 1 + bands % 2], top)
    if inverted:
        colours = 255 - colours
    rgb = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours
    if bands % 2 or reading.alpha == "ignore":
        return Image.fromarray(np.ascontiguousarray(rgb))
    alpha = scaled(values[..., -1:], white or top)
    if premultiplied:
        behind = 255 - alpha.astype(np.uint16) if reading.alpha == "white" else np.zeros_like(alpha, np.uint16)
        return Image.fromarray(np.minimum(rgb + behind, 255).astype(np.uint8))
    return without_alpha(Image.fromarray(np.concatenate([rgb, alpha], axis=2)), reading.alpha)


def scaled(values: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Values from 0 to `white` as 0 to 255. Raises ValueError, naming one, for any other."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # NaN is neither
        wrong = low if high <= white else high
        raise ValueError(f"has the value {wrong:g}, expected 0 to {white:g} (data.white is the value of white)")
    if values.dtype == np.uint8 and white == 255:
        return values
    exact: NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    pixels: NDArray[np.uint8] = np.rint(exact * (255 / white)).astype(np.uint8)
    return pixels
