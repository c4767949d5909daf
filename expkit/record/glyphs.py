"""Names in any script for pictures: drawn in an installed font that has their characters, or spelt out."""

import logging
import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

log = logging.getLogger(__name__)


def drawable(text: str) -> str:
    """The text with what no installed font can draw spelt out, as \\u732b; fonts that the rest needs are taken up."""
    if text.isascii() and text.isprintable():
        return text
    wanted = {ord(character) for character in text if character.isprintable()} - own_characters()
    lacking = frozenset(wanted - {code for code in wanted if font_for(code)})
    if lacking:
        warn_once()
    return "".join(escaped(one) if ord(one) in lacking or not one.isprintable() else one for one in text)


def shortened(text: str, length: int = 28) -> str:
    """A long text with its middle left out."""
    half = length // 2
    return text if len(text) <= length else f"{text[:half]}…{text[1 - half :]}"


def width_of(text: str) -> int:
    """How many Latin characters a text is wide: those of East Asian scripts count twice."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def escaped(character: str) -> str:
    """A character by its number, as in Python and JSON."""
    return character.encode("unicode_escape").decode("ascii")


@cache
def own_characters() -> frozenset[int]:
    """The characters of matplotlib's own font."""
    return characters_of(font_manager.findfont("DejaVu Sans"))


@cache
def characters_of(path: str) -> frozenset[int]:
    """The characters of a font; none of one that cannot be read, or whose pictures have one size."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()


@cache
def font_for(code: int) -> str | None:
    """The name of an installed font that has a character, from here on used where matplotlib's own has not."""
    for path in sorted(font_manager.findSystemFonts(), key=lambda path: (Path(path).stem.count("Bold"), path)):
        if code in characters_of(path):
            name = str(FT2Font(path).family_name)
            families = matplotlib.rcParams["font.family"]
            if name not in families:
                font_manager.fontManager.addfont(path)
                matplotlib.rcParams["font.family"] = [*families, name]
            return name
    return None


@cache
def warn_once() -> None:
    """Say that names cannot be drawn as they are."""
    log.warning(
        "no installed font has all characters of the names in the pictures, which spell them out (\\u732b): install "
        "one that has, such as fonts-noto-cjk"
    )
