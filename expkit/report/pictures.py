"""The pictures of a run's predictions, in its folder `plots`."""

from pathlib import PurePath

import numpy as np

from expkit.record.confusion import draw_confusion
from expkit.record.glyphs import shortened
from expkit.record.predictions import Predictions
from expkit.record.quality import draw_by_class, draw_reliability
from expkit.report.examples import Example, Mistakes
from expkit.report.mosaic import LETTERS, RIGHT, WRONG, Row, Tile, draw_mosaic
from expkit.run_folder import RunFolder

WHAT = "validation images"


def draw_predictions(folder: RunFolder, found: Predictions) -> None:
    """confusion.png, by_class.png and reliability.png: what needs no image."""
    draw_confusion(folder.plots / "confusion.png", found.matrix, found.classes, "Validation")
    draw_by_class(folder.plots / "by_class.png", found.matrix, found.classes, WHAT)
    known = np.isfinite(found.confidences)  # a training that came to no number has none
    if known.any():
        draw_reliability(folder.plots / "reliability.png", found.confidences[known], found.right[known], WHAT)


def draw_mistakes(folder: RunFolder, mistakes: Mistakes) -> None:
    """top_losses.png and confused_pairs.png, as far as their images are there."""
    tiles = [tile for example in mistakes.losses if (tile := tile_of(example, with_label=True))]
    if tiles:
        title = f"Which images cost the model most? The {len(tiles)} largest losses in validation"
        draw_mosaic(folder.plots / "top_losses.png", title, [Row("", tiles)], columns=4)
    rows = [
        Row(
            f"{shortened(pair.label)} taken for {shortened(pair.prediction)}: {pair.count} of {pair.images}",
            [tile for example in pair.examples if (tile := tile_of(example, with_label=False))],
        )
        for pair in mistakes.pairs
    ]
    if any(row.tiles for row in rows):
        title = "Which classes are confused most, and how do they look?"
        draw_mosaic(folder.plots / "confused_pairs.png", title, [row for row in rows if row.tiles], columns=4)


def tile_of(example: Example, *, with_label: bool) -> Tile | None:
    """An example as a part of a picture; None where its image is gone."""
    if example.picture is None:
        return None
    name = shortened(PurePath(example.file).name, LETTERS)
    odds = f"{example.confidence:.0%}, loss {example.loss:.3g}"
    if not with_label:
        return Tile(example.picture, [name, f"{odds}"], WRONG)
    right = example.label == example.prediction
    verdict = f"told rightly, {odds}" if right else f"taken for {shortened(example.prediction, 24)}"
    lines = [shortened(example.label, LETTERS), verdict, *([] if right else [odds]), name]
    return Tile(example.picture, lines, RIGHT if right else WRONG)
