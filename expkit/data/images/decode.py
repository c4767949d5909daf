"""Any readable image file as RGB pixels, upright: the one rule for training, validation and the served model.

A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where no side falls below what the transform needs by that. libjpeg
leaves out the work, so a large photo takes a fraction of the time, and may have more pixels than would fit in memory.
"""

import os
from typing import IO, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from expkit.data.images.reading import DEFAULT, ORIENTATION, Reading, check_alpha, from_numbers, to_rgb, turned
from expkit.data.images.tiff import NeedsPackage, is_plain, read_tiff
from expkit.errors import DataError

RULE = 2
"""Raised when a file comes to give other pixels, so that features of the old ones are not taken for theirs."""
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "TGA")
"""Pixel formats only: Pillow would hand an EPS file to Ghostscript, which is a program in itself.

TGA comes last, since it has no mark by which a file of it is known."""
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
HEAD = 32
"""Bytes that show what a file is."""
COLOURS_OF_16_BITS = ("RGB;16B", "RGBA;16B", "LA;16B")
"""How Pillow unpacks colours of 16 bits: it keeps the upper byte."""


def read_image(path: str | bytes, size: int | None = None, reading: Reading = DEFAULT) -> Image.Image:
    """Decode the image file `path`, RGB and upright; a JPEG may come smaller, but no side below `size` for that.

    Raises DataError, naming the file, for one that is missing, damaged, no image, too large to be one, or whose pixels
    do not fit `reading`.
    """
    try:
        return decode(path, size, reading)
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        reason = reason_of(error)
        advice = "" if "data." in reason or "expkit[" in reason else "; replace it"
        raise DataError(f"cannot read the image {os.fsdecode(path)!r}: it {reason}{advice}") from error


def decode(file: str | bytes | IO[bytes], size: int | None = None, reading: Reading = DEFAULT) -> Image.Image:
    """Decode a file, by its path or open, as `read_image` does, with the reader's own exceptions."""
    if isinstance(file, str | bytes | os.PathLike):
        with open(file, "rb") as handle:
            return decode(handle, size, reading)
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    try:
        with opened(file, head) as image:
            if size is not None:
                image.draft(None, (size, size))  # only a JPEG takes this up
            check_pixels(image)
            if isinstance(image, TiffImageFile) and not is_plain(image):
                return read_tiff(file, reading)
            found = pixels_of(image, file, reading)
            return turned(found, orientation_of(image))
    except UnidentifiedImageError:
        if head.startswith(TIFF):
            return read_tiff(file, reading)
        raise


def opened(file: IO[bytes], head: bytes) -> Image.Image:
    """An image whose header is read."""
    if head.startswith(JPEG):
        # Not `Image.open`, which refuses by the size of the whole picture what is to be decoded smaller.
        return JpegImageFile(file)
    if head.startswith(PNG):
        return PngImageFile(file)  # as `Image.open` finds out in more steps
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return opened_heif(file)
    return Image.open(file, formats=FORMATS)


def opened_heif(file: IO[bytes]) -> Image.Image:
    """A photo of a phone. Raises NeedsPackage where the extra that reads it is not installed."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise NeedsPackage("is a HEIF file") from error
    image: Image.Image = HeifImageFile(file)  # type: ignore[no-untyped-call]  # pillow_heif leaves it untyped
    return image


def check_pixels(image: Image.Image) -> None:
    """Refuse more pixels than Pillow's own limit, where it only warns: a small file may unpack to gigabytes."""
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"has {width} x {height} pixels, more than {Image.MAX_IMAGE_PIXELS}")


def pixels_of(image: Image.Image, file: IO[bytes], reading: Reading) -> Image.Image:
    """The pixels of an opened image as RGB."""
    if reading.white and is_deep_png(image):
        return from_numbers(colours_of_16_bits(image, file), reading, white=65535.0)
    image.load()
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if image.format == "PPM":  # Pillow has scaled by the white that the file states
            return from_numbers(values[..., None], DEFAULT, white=65535.0)
        return from_numbers(values[..., None], reading, white=65535.0 if image.mode.startswith("I;16") else None)
    if image.format == "TIFF" and image.mode == "RGBA" and reading.alpha != "ignore":
        check_alpha(np.asarray(image.getchannel("A")), 255)
    return to_rgb(image, reading)


def is_deep_png(image: Image.Image) -> TypeGuard[PngImageFile]:
    """Whether an opened image is a PNG with colours of 16 bits."""
    return isinstance(image, PngImageFile) and bool(image.tile) and image.tile[0].args in COLOURS_OF_16_BITS


def colours_of_16_bits(image: PngImageFile, file: IO[bytes]) -> NDArray[Any]:
    """All bits of an opened PNG with colours of 16 bits, H x W x bands: Pillow keeps the upper bytes of a pixel alone.

    The other order of bytes gives the lower ones; of grey with alpha, four bytes of one pixel pass for RGBA.
    """
    rawmode = str(image.tile[0].args)
    if rawmode == "LA;16B":
        both = unpacked(file, "RGBA")
        high, low = both[..., 0::2], both[..., 1::2]
    else:
        high, low = unpacked(file, rawmode), unpacked(file, rawmode.replace(";16B", ";16L"))
    values: NDArray[Any] = high << 8 | low
    return values


def unpacked(file: IO[bytes], rawmode: str) -> NDArray[Any]:
    """One byte of each number in a PNG, as 16 bits: that which Pillow takes from the file by `rawmode`."""
    file.seek(0)
    with PngImageFile(file) as image:
        image.tile = [tile._replace(args=rawmode) for tile in image.tile]
        image.load()
        return np.asarray(image).astype(np.uint16)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or the EXIF block is damaged: the pixels are still good."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow's EXIF reader raises whatever damaged bytes lead it to
        return 1


def reason_of(error: Exception) -> str:
    """What is wrong with the file, as the end of a sentence that starts with its name."""
    match error:
        case UnidentifiedImageError():
            return "is no image that can be read"
        case NeedsPackage():
            return f"{error}, which needs  pip install 'expkit[formats]'"
        case Image.DecompressionBombError():
            return str(error) if str(error).startswith("has") else f"has too many pixels ({error})"
        case SyntaxError():  # how Pillow's readers refuse a header
            return "is truncated or damaged (its header describes no picture)"
        case LookupError():  # how they stumble over one whose pixels never begin
            return "is truncated or damaged (a part that a picture needs is missing)"
        case OSError(strerror=str(text)):
            return f"cannot be opened ({text})"
        case ValueError() if str(error).startswith("has"):
            return str(error)
    return f"is truncated or damaged ({str(error) or type(error).__name__})"
