"""Any readable image file as RGB pixels, upright."""

import os
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from expkit.errors import DataError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000")
"""Pixel formats only: Pillow would hand an EPS file to Ghostscript, which is a program in itself."""


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


def read_image(path: str | bytes, size: int | None = None) -> Image.Image:
    """Decode the image file `path`, RGB and upright; a JPEG may come smaller, but no side below `size` for that.

    Raises DataError, naming the file, for one that is missing, damaged, no image, or too large to be one.
    """
    try:
        return decode(path, size)
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise DataError(f"cannot read the image {os.fsdecode(path)!r}: it {reason_of(error)}; replace it") from error


def decode(file: str | bytes | IO[bytes], size: int | None = None) -> Image.Image:
    """Decode a file, by its path or open, as `read_image` does, with the reader's own exceptions."""
    with Image.open(os.fsdecode(file) if isinstance(file, bytes) else file, formats=FORMATS) as image:
        check_pixels(image)
        if size is not None:
            image.draft(None, (size, size))  # JPEG: libjpeg scales by 1/2, 1/4 or 1/8 while it decodes
        image.load()
        return upright_rgb(image)


def check_pixels(image: Image.Image) -> None:
    """Refuse more pixels than Pillow's own limit, where it only warns: a small file may unpack to gigabytes."""
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"has {width} x {height} pixels, more than {Image.MAX_IMAGE_PIXELS}")


def upright_rgb(image: Image.Image) -> Image.Image:
    """A loaded image turned by its EXIF orientation and brought to RGB; what is transparent becomes white."""
    turn = TURNS.get(orientation_of(image))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = grey_from_16_bits(image)
    if image.mode == "F":
        raise ValueError("has float pixels with no stated white; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or the EXIF block is damaged: the pixels are still good."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow's EXIF reader raises whatever damaged bytes lead it to
        return 1


def grey_from_16_bits(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255; Pillow's own conversion clips at 255, which turns most pixels white."""
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ValueError("has 32-bit pixels with no stated white; save it with 8 or 16 bits")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def reason_of(error: Exception) -> str:
    """What is wrong with the file, as the end of a sentence that starts with its name."""
    match error:
        case UnidentifiedImageError():
            return "is no image that can be read"
        case Image.DecompressionBombError():
            return str(error) if str(error).startswith("has") else f"has too many pixels ({error})"
        case OSError(strerror=str(text)):
            return f"cannot be opened ({text})"
        case ValueError() if str(error).startswith("has"):
            return str(error)
    return f"is truncated or damaged ({str(error) or type(error).__name__})"
