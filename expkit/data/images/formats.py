"""The one list of image files by their suffix: which are read, which with an extra, and which are named and refused."""

import itertools
from collections.abc import Iterable, Mapping

READ = (
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .bmp .dib .tif .tiff .webp .ppm .pgm .pbm .pnm .avif "
    ".jp2 .j2k .j2c .jpc .jpf .jpx .tga .heic .heif .hif"
)
"""Suffixes of images, in lower case."""
OTHERS: Mapping[str, str] = {
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".nii": "NIfTI",
    ".svs": "a whole slide",
    ".ndpi": "a whole slide",
    ".mrxs": "a whole slide",
    ".dng": "raw pixels of a camera",
    ".cr2": "raw pixels of a camera",
    ".cr3": "raw pixels of a camera",
    ".nef": "raw pixels of a camera",
    ".arw": "raw pixels of a camera",
    ".orf": "raw pixels of a camera",
    ".rw2": "raw pixels of a camera",
    ".raf": "raw pixels of a camera",
    ".jxl": "JPEG XL",
    ".exr": "OpenEXR",
    ".hdr": "Radiance HDR",
    ".fits": "FITS",
    ".psd": "Photoshop",
    ".svg": "drawings",
    ".eps": "drawings",
    ".pcx": "PCX",
    ".sgi": "SGI",
    ".dds": "DirectDraw",
    ".ico": "icons",
    ".qoi": "QOI",
    ".pfm": "float pixmaps",
}
"""Images that are not read, and what they are: to be named where they are met, with the advice to convert them."""


def spellings(suffixes: Iterable[str]) -> frozenset[bytes]:
    """Every mix of upper and lower case, so that one look-up decides about a name."""
    return frozenset(
        "".join(letters).encode()
        for suffix in suffixes
        for letters in itertools.product(*((letter, letter.upper()) for letter in suffix))
    )


def refused_kind(suffix: str) -> str | None:
    """What a suffix stands for where it is that of an image that is not read; None for any other."""
    return OTHERS.get(suffix.lower())
