"""TIFF files that Pillow would misread: more than 8 bits, planes one after the other, bands beyond alpha.

Pillow opens most TIFF files, and fast; tifffile reads every layout as the numbers that are there.
"""

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from expkit.data.images.reading import ORIENTATION, Reading, check_alpha, from_numbers, turned

BITS, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA, FORMAT = 258, 262, 277, 284, 338, 339
"""Tags of TIFF."""
INVERTED, GREY, RGB, CMYK = 0, 1, 2, 5
"""Values of the tag PHOTOMETRIC: white is 0, black is 0, ..."""
APART, ASSOCIATED, UNSIGNED = 2, 1, 1
"""Values of PLANAR, EXTRA and FORMAT."""
ALPHA = (1, 2)
"""Values of EXTRA that mean transparency: colours multiplied by it, or not."""

MOST_BANDS = 4
EXPECTED = "grey or RGB, either with alpha; save the three to be seen"


class NeedsPackage(Exception):
    """A file that is read only where another package is installed."""


def is_plain(image: TiffImageFile) -> bool:
    """Whether Pillow reads the pixels of an opened TIFF file rightly."""
    tags: Any = image.tag_v2
    apart = tags.get(PLANAR, 1) == APART and tags.get(SAMPLES, 1) > 1
    kinds = tags.get(FORMAT, (UNSIGNED,))
    if tags.get(SAMPLES, 1) == 2 and not set(tags.get(EXTRA, ())) & set(ALPHA):
        return False
    return (
        max(tags.get(BITS, (1,))) <= 8
        and set(kinds if isinstance(kinds, tuple) else (kinds,)) == {UNSIGNED}
        and not apart
        and ASSOCIATED not in tags.get(EXTRA, ())
    )


def read_tiff(file: IO[bytes], reading: Reading) -> Image.Image:
    """The first page of a TIFF file as RGB, upright.

    Raises ValueError where its bands are no picture or its pixels too many, NeedsPackage for a compression that
    tifffile leaves to another package.
    """
    from tifffile import TiffFile

    file.seek(0)
    with TiffFile(file, name="image") as tiff:
        page: Any = tiff.pages[0]
        check_size(page)
        try:
            values = page.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                kind = getattr(page.compression, "name", page.compression)
                raise NeedsPackage(f"is a TIFF file with {kind} compression") from error
            raise
        return turned(picture(values, page, reading), page.tags.valueof(ORIENTATION, 1))


def check_size(page: Any) -> None:
    """Raise ValueError for what is not unpacked: more bands than a picture has, more pixels than Pillow allows."""
    bands, width, height = page.samplesperpixel, page.imagewidth, page.imagelength
    if bands > MOST_BANDS:
        raise ValueError(f"has {bands} bands, expected {EXPECTED}")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"has {width} x {height} pixels, more than {Image.MAX_IMAGE_PIXELS}")


def numbers_of(file: IO[bytes]) -> tuple[NDArray[Any], float | None]:
    """The numbers of the first page of a TIFF file, and the most that their bits hold (None: nobody knows)."""
    from tifffile import TiffFile

    file.seek(0)
    with TiffFile(file, name="image") as tiff:
        page: Any = tiff.pages[0]
        check_size(page)
        values = page.asarray()
        return values, whole_range(values.dtype, page.bitspersample)


def picture(values: Any, page: Any, reading: Reading) -> Image.Image:
    """The RGB image that the numbers of a page are."""
    photometric, extra = int(page.photometric), tuple(map(int, page.extrasamples))
    if page.axes == "YX":
        values = values[..., None]
    elif page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    elif page.axes != "YXS":
        raise ValueError(f"has the axes {page.axes}, expected a flat picture")
    bands, white = values.shape[2], whole_range(values.dtype, page.bitspersample)
    if photometric == CMYK and bands == 4 and values.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(values), "CMYK").convert("RGB")
    if photometric not in (INVERTED, GREY, RGB):
        name = getattr(page.photometric, "name", photometric)
        raise ValueError(f"has {page.bitspersample}-bit {name} pixels; save it as RGB")
    tagged = bool(extra) and extra[-1] in ALPHA
    if bands > MOST_BANDS or (bands == 2 and not tagged):
        raise ValueError(f"has {bands} bands, expected {EXPECTED}")
    if bands % 2 == 0 and not tagged:
        values = values[..., :-1]  # the extra band says nothing about transparency
    elif bands % 2 == 0 and reading.alpha != "ignore":
        check_alpha(values[..., -1], white or values[..., -1].max())
    return from_numbers(
        values,
        reading,
        white=white,
        inverted=photometric == INVERTED,
        premultiplied=tagged and extra[-1] == ASSOCIATED,
    )


def whole_range(dtype: np.dtype[Any], bits: int) -> float | None:
    """The most that unsigned pixels of up to 16 bits hold; None for those whose white is anyone's guess."""
    return float(2**bits - 1) if dtype.kind in "ub" and bits <= 16 else None
