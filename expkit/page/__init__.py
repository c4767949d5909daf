"""Pages that open offline, each whole in one file: templates that extend base.html.jinja, and pictures as URLs."""

import base64
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image

from expkit.whole_files import write_whole
from expkit.words import figure

SMALL = 64
"""Pictures of fewer pixels on a side are kept as they are, and shown pixel by pixel; larger ones become JPEG."""
QUALITY = 80


def write_page(path: Path, package: str, **values: Any) -> None:
    """Write a page of the template page.html.jinja that lies in a package. Raises UserError where the disk is full.

    Every value is escaped. Names of files that are no UTF-8 are written byte for byte.
    """
    text = environment(package).get_template("page.html.jinja").render(values)
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8", errors="surrogateescape"))


@cache
def environment(package: str) -> Environment:
    """What finds the templates of a package, and the base of all."""
    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader("expkit.page", "")])
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= FILTERS
    return pages


def of_file(path: Path) -> str:
    """A PNG as a URL that holds all of it."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def of_picture(picture: Image.Image, quality: int = QUALITY) -> str:
    """A picture as a URL that holds all of it, a large one as JPEG of this quality."""
    kind, keys = ("png", {}) if is_small(picture) else ("jpeg", {"quality": quality})
    file = io.BytesIO()
    picture.save(file, kind, **keys)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def is_small(picture: Image.Image) -> bool:
    """Whether a picture is to be seen pixel by pixel."""
    return max(picture.size) < SMALL


FILTERS: dict[str, Callable[..., object]] = {
    "figure": figure,
    "is_small": is_small,
    "percent": lambda share: f"{share:.1%}",
    "picture": of_picture,
}
"""What templates make of values."""
