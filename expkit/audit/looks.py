"""What can be measured of each image by itself: size, mode, orientation, brightness, contrast, sharpness."""

import logging
from contextlib import closing
from dataclasses import dataclass, fields
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.audit.gallery import Gallery
from expkit.data.images.decode import HEAD, opened, orientation_of
from expkit.data.images.pace import cores
from expkit.features.contents import contents_of
from expkit.features.entries import Entries
from expkit.features.identity import key_of
from expkit.threads import Threads

log = logging.getLogger("expkit")

VERSION = 1
"""Raised when the same image comes to give other numbers, so that older ones are not taken for them."""
SIDE = 224
"""Pixels of the shorter side that brightness and sharpness are measured at, where an image has as many."""
FILE = "looks.npz"


@dataclass(frozen=True)
class Looks:
    """One number or word an image."""

    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    """Pixels, as the file says: before it is turned upright."""
    modes: NDArray[np.str_]
    """As Pillow calls them: RGB, L, CMYK, ..."""
    orientations: NDArray[np.int64]
    """The EXIF orientation: 1 is upright."""
    brightness: NDArray[np.float64]
    """The mean of grey, 0 to 255."""
    contrast: NDArray[np.float64]
    """Its standard deviation."""
    sharpness: NDArray[np.float64]
    """The variance of its Laplacian: low where an image is blurred."""
    pixels: NDArray[np.str_]
    """A hash of the pixels of an image that is no file; empty for a file."""

    def keep(self, rows: slice) -> "Looks":
        """Those of some images."""
        return Looks(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def looks_of(gallery: Gallery, entries: Entries) -> Looks:
    """Look at every image, or take what an earlier look has left in the cache.

    Raises UserError where an image cannot be read, or the cache cannot be written.
    """
    keys = [contents_of(images, None).key for images in gallery.parts.values()]
    key = key_of("looks", VERSION, keys, [repr(getattr(part, "reading", None)) for part in gallery.parts.values()])
    entry = entries.get(key, partial(fill, gallery), what=f"a look at {len(gallery)} images")
    with np.load(entry.folder / FILE) as found:
        return Looks(**{one.name: found[one.name] for one in fields(Looks)})


def fill(gallery: Gallery, folder: Path) -> dict[str, Any]:
    """Make the entry of the looks at some images."""
    with closing(Threads(cores())) as threads:
        rows = threads.map(partial(look, gallery), range(len(gallery)))
    columns: dict[str, Any] = {
        one.name: np.array(column) for one, column in zip(fields(Looks), zip(*rows, strict=True), strict=True)
    }
    np.savez(folder / FILE, **columns)
    return {"kind": "looks", "model": "", "images": f"{len(gallery)} images"}


def look(gallery: Gallery, row: int) -> tuple[Any, ...]:
    """What is measured of one image, in the order of `Looks`."""
    image, path = gallery.read(row, SIDE), gallery.path(row)
    pixels = "" if path else blake2b(repr(image.size).encode() + image.tobytes(), digest_size=16).hexdigest()
    size, mode, orientation = (image.size, image.mode, 1) if path is None else header_of(path, image)
    grey = np.asarray(shrunk(image), np.float32)
    return (*size, mode, orientation, float(grey.mean()), float(grey.std()), sharpness(grey), pixels)


def header_of(path: bytes, image: Image.Image) -> tuple[tuple[int, int], str, int]:
    """Size, mode and orientation as a file states them; of one that Pillow cannot open those of the decoded `image`."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
            file.seek(0)
            with opened(file, head) as found:
                return found.size, found.mode, orientation_of(found)
    except Exception:  # Pillow's readers raise whatever they like for what another reader of ours takes
        return image.size, image.mode, 1


def shrunk(image: Image.Image) -> Image.Image:
    """The image in grey, its shorter side at most SIDE pixels."""
    scale = SIDE / min(image.size)
    grey = image.convert("L")
    width, height = (max(1, round(side * scale)) for side in image.size)
    return grey.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0) if scale < 1 else grey


def sharpness(grey: NDArray[np.float32]) -> float:
    """The variance of the Laplacian (Pech-Pacheco et al., ICPR 2000); 0 for what is too small to have one."""
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner).var())
