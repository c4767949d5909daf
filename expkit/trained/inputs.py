"""What a request to the served model holds: images, each read as the training files or arrays were."""

import base64
import binascii
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from expkit.data.images.decode import decode, orientation_of, reason_of
from expkit.data.images.reading import Reading, from_numbers, to_rgb, turned
from expkit.errors import DataError

COLUMN = "image"
"""The column of a table that holds the images, where there are others."""
BANDS = (1, 3, 4)
LONGEST_PATH = 4096
"""Longer text is no path."""


def images_of(request: Any) -> list[Any]:
    """The images of a request: the items of a list, a column of a table, or an array N x H x W x bands.

    Raises DataError where it cannot be known which these are.
    """
    if isinstance(request, pd.DataFrame):
        return list(column_of(request))
    if isinstance(request, str | bytes | bytearray | os.PathLike | Image.Image):
        return [request]
    if isinstance(request, np.ndarray) and request.dtype != object and request.dtype.kind not in "SU":
        if request.ndim != 4:
            raise DataError(
                f"an array of shape {by(request.shape)} is no batch of images, which is N x height x width x 3; "
                "give one image as [image]"
            )
        return list(request)
    return list(request)


def column_of(table: pd.DataFrame) -> Any:
    """The images of a table: its only column, or the one called `image`."""
    if len(table.columns) == 1:
        return table.iloc[:, 0]
    if COLUMN in table:
        return table[COLUMN]
    raise DataError(
        f"the table has the columns {', '.join(map(str, table.columns))}; the images must be in its only column, or in "
        f"one called {COLUMN!r}"
    )


def read_input(image: Any, number: int, size: int | None, reading: Reading) -> Image.Image:
    """Item `number` of a request as RGB: a path, an encoded file (bytes or base64), a Pillow picture or an array.

    A JPEG is decoded smaller as in validation, no side below `size`. Raises DataError, naming the item, for what is no
    image, and for arrays that could be meant in two ways.
    """
    try:
        if isinstance(image, os.PathLike):
            image = Path(image).read_bytes()
        if isinstance(image, str):
            image = from_text(image)
        if isinstance(image, bytes | bytearray | memoryview):
            return decode(BytesIO(image), size, reading)
        if isinstance(image, ImageFile) and image.tile and image.fp:
            return decode(image.fp, size, reading)  # opened and not loaded yet: as the file, to the bit
        if isinstance(image, Image.Image) and image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
            return turned(to_rgb(image, reading), orientation_of(image))
        return from_array(np.asarray(image), reading)
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise DataError(f"image {number} of the request {reason_of(error)}") from error


def from_text(text: str) -> bytes:
    """The bytes of a file: the one at a path, or what is given in base64, with or without a data URL in front."""
    if len(text) < LONGEST_PATH and os.path.isfile(text):
        return Path(text).read_bytes()
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"has the text {text[:40]!r}, which is neither the path of a file here nor base64") from None


def from_array(values: NDArray[Any], reading: Reading) -> Image.Image:
    """An array height x width, height x width x bands, or bands x height x width, as RGB."""
    if values.dtype.kind not in "buif":
        raise ValueError(f"has {values.dtype} values, expected the bytes of an image file, or an array of numbers")
    shape = values.shape
    if len(shape) == 3 and shape[0] in BANDS and shape[2] not in BANDS:
        values = np.moveaxis(values, 0, -1)
        shape = values.shape
    grey = len(shape) == 2 and shape[1] not in BANDS  # else a row of a picture
    if not values.size or not (grey or (len(shape) == 3 and shape[2] in BANDS)):
        raise ValueError(f"has the shape {by(shape)}, expected height x width, or height x width x 3")
    values = values[..., None] if grey else values
    white = white_of(values, reading)
    if 0 < values.max() <= 1 < white:
        raise ValueError(f"has no value above 1 where white is {white:g}, so all is black")
    if reading.arrays is not None:
        reading = Reading(reading.alpha)
    return from_numbers(values, reading, white=white)


def white_of(values: NDArray[Any], reading: Reading) -> float:
    """The value of white in an array: 255 in uint8, else as in training, or as in a file of such numbers.

    Raises ValueError where it is not known, which would let a picture pass for a black one.
    """
    kind, size, high = values.dtype.kind, values.dtype.itemsize, values.max()
    if kind == "b":
        return 1.0
    if (kind == "u" and size == 1) or (kind in "iu" and size > 2 and high <= 255):
        # Numbers of a JSON request have no depth of their own.
        deep = kind != "u" and (reading.white or 0) > 255
        if deep or (reading.arrays and 0 < high <= reading.arrays < 255):
            white = reading.white if deep else reading.arrays
            raise ValueError(
                f"has {values.dtype} values up to {high:g}, where white may be 255 or, as in training, {white:g}: give "
                "uint8 for the one, " + ("uint16" if deep else "floats") + " for the other"
            )
        return 255.0
    if reading.arrays is not None:
        return reading.arrays
    if kind == "u" and size == 2:
        if 1 < high <= 255:
            raise ValueError(f"has uint16 values of which none is above {high}; give those of 8 bits as uint8")
        return 65535.0
    if reading.white is not None:
        return reading.white
    if kind == "f":
        raise ValueError(
            "has float values with no stated white; of an image from 0 to 1, give (image * 255).round().astype('uint8')"
        )
    raise ValueError(f"has {values.dtype} values up to {high:g}; give uint8 (0 to 255) or uint16 (0 to 65535)")


def by(shape: tuple[int, ...]) -> str:
    """A shape as people write it."""
    return " x ".join(map(str, shape)) or "of a single number"
