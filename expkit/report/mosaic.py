"""Pictures side by side with words below each, drawn as one image: axes for each would take ten times as long."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from expkit.record.glyphs import drawable
from expkit.record.plots import DPI, save

SIDE = 200
"""Pixels of a side of the square that a picture stands in."""
GAP = 14
LINE = 16
"""Pixels of a line of text."""
FONT = 7.5
LETTERS = 34
"""Letters of a line below a picture."""
WRONG, RIGHT = "#d55e00", "#0072b2"


@dataclass(frozen=True)
class Tile:
    """A picture, and the lines below it, the first of them in bold."""

    picture: Image.Image
    lines: Sequence[str]
    colour: str = "black"
    """Of the second line."""


@dataclass(frozen=True)
class Row:
    """Some tiles below a heading."""

    heading: str
    tiles: Sequence[Tile]


def draw_mosaic(path: Path, title: str, rows: Sequence[Row], columns: int) -> None:
    """Draw rows of tiles below a title; a row of more tiles than `columns` is wrapped."""
    lines = max((len(tile.lines) for row in rows for tile in row.tiles), default=0)
    down = SIDE + lines * LINE + GAP
    height = 2 * LINE + GAP
    for row in rows:
        height += -(-len(row.tiles) // columns) * down + (2 * LINE if row.heading else 0)
    width = columns * (SIDE + GAP) + GAP
    canvas = Image.new("RGB", (width, height), "white")
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write(x: int, y: int, text: str, size: float, colour: str = "black", weight: str = "normal") -> None:
        """Write a line at pixels from the upper left corner."""
        figure.text(
            x / width,
            1 - y / height,
            drawable(text),
            fontsize=size,
            color=colour,
            weight=weight,
            va="top",
            parse_math=False,
        )

    write(GAP, GAP, title, 10)
    y = 2 * LINE + GAP
    for row in rows:
        if row.heading:
            write(GAP, y + 6, row.heading, 9, weight="bold")
            y += 2 * LINE
        for number, tile in enumerate(row.tiles):
            x = GAP + number % columns * (SIDE + GAP)
            top = y + number // columns * down
            canvas.paste(framed(tile.picture), (x, top))
            for place, line in enumerate(tile.lines):
                colour, weight = (tile.colour if place == 1 else "black"), ("bold" if place == 0 else "normal")
                write(x, top + SIDE + 3 + place * LINE, line, FONT, colour, weight)
        y += -(-len(row.tiles) // columns) * down
    figure.figimage(np.asarray(canvas), origin="upper")
    save(figure, path)


def framed(picture: Image.Image) -> Image.Image:
    """A picture in the middle of a square; small ones keep their pixels to be seen."""
    scale = SIDE / max(picture.size)
    wide, high = (max(1, round(side * scale)) for side in picture.size)
    small = picture.resize((wide, high), Image.Resampling.NEAREST if scale > 2 else Image.Resampling.BILINEAR)
    square = Image.new("RGB", (SIDE, SIDE), "#f2f2f2")
    square.paste(small, ((SIDE - wide) // 2, (SIDE - high) // 2))
    return square
