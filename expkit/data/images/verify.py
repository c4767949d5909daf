"""What is wrong with an image file: it is decoded to its end, and looked at for what decoders pass over."""

import io

from expkit.data.images.decode import JPEG, PNG, RULE, decode, reason_of
from expkit.data.images.reading import DEFAULT, Reading
from expkit.data.images.verify_jpeg import jpeg_problem
from expkit.data.images.verify_png import png_problem

RULES = 100 * RULE + 4
"""Raised when the checks change, so that what older ones passed is looked at again."""
WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head")
POINTER = b"version https://git-lfs"


def problem_of(path: bytes, content: bytes | None, reading: Reading = DEFAULT) -> str | None:
    """What is wrong with an image file of this content, None for a good one; `content` None: too large to be held."""
    if content is not None and not content:
        return "is empty (zero bytes)"
    if content is not None and content.startswith(POINTER):
        return "is a pointer of Git LFS, not the image; fetch what it stands for with  git lfs pull"
    if content is not None and content[:64].lstrip().lower().startswith(WEB_PAGE):
        return "holds a web page, not an image (a failed download?)"
    try:
        if content is not None and content.startswith(JPEG):
            return jpeg_problem(content)
        if content is not None and content.startswith(PNG):
            return png_problem(content, reading)
        decode(path if content is None else io.BytesIO(content), 1, reading)
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        return reason_of(error)
    return None
