"""The picture of a confusion matrix: readable at two classes and at a thousand."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

from expkit.record.glyphs import drawable, shortened, width_of
from expkit.record.plots import panels, save

MOST = 40
"""With more classes, those that are confused most are drawn, and the others as one."""
WITH_SHARES = 12
"""Up to so many classes have room for a share below each count."""
CHARACTER = 0.08
"""Inches that a character of a tick's label takes at most."""
PALE = 0.08
"""How dark the smallest error is, of 1."""


def draw_confusion(path: Path, counts: NDArray[np.int64], classes: Sequence[str], what: str) -> None:
    """Draw a confusion matrix: a row for each label, a column for each prediction; `what` the images are.

    What is right is blue and what is wrong orange, which colour-blind people tell apart too, the darker the larger
    the share of its row.
    """
    total, right = int(counts.sum()), int(counts.trace())
    title = drawable(f"{what}: {right} of {total} right ({right / max(total, 1):.1%})")
    if len(classes) > MOST:
        title += f"\nof {len(classes)} classes the {MOST} most confused, by pairs; the others count as one"
        counts, classes = most_confused(counts, classes)
    shown = [drawable(shortened(name)) for name in classes]
    few = len(shown) <= WITH_SHARES
    side = max(2.6, (0.37 if few else 0.22) * len(shown))
    names = CHARACTER * max(map(width_of, shown))
    figure, (axes,) = panels(1, 1, side, side, left=0.6 + names, bottom=0.6 + names, top=0.6)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(coloured(counts, share))
    axes.set(xticks=[], yticks=[])  # names as plain text are drawn in half the time
    for place, name in enumerate(shown):
        axes.text(place, len(shown) - 0.3, name, rotation=90, ha="center", va="top", fontsize=8, parse_math=False)
        axes.text(-0.7, place, name, ha="right", va="center", fontsize=8, parse_math=False)
    axes.set_xlabel("prediction", labelpad=60 * names + 8)
    axes.set_ylabel("label", labelpad=60 * names + 8)
    figure.text(0.01, 0.99, title, va="top", fontsize=10, parse_math=False)
    for row, column in np.argwhere(counts > 0).tolist():
        text = f"{counts[row, column]}\n{share[row, column]:.0%}" if few else str(counts[row, column])
        colour = "white" if share[row, column] > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    save(figure, path)


def most_confused(counts: NDArray[np.int64], classes: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The matrix of the classes in the most confused pairs, those of a pair side by side, and of all others as one."""
    wrong = counts - np.diag(counts.diagonal())
    pairs = np.argsort(-wrong, axis=None, kind="stable")[: MOST * MOST]
    in_turn = np.stack(np.unravel_index(pairs, wrong.shape), axis=1).ravel().tolist()
    kept = list(dict.fromkeys(in_turn))[:MOST]
    place = np.full(len(classes), MOST)
    place[kept] = np.arange(MOST)
    small = np.zeros((MOST + 1, MOST + 1), np.int64)
    np.add.at(small, (place[:, None], place[None, :]), counts)
    return small, [*(classes[number] for number in kept), f"{len(classes) - MOST} others"]


def coloured(counts: NDArray[np.int64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The colours of a matrix, C x C x 4; errors are darker than their share, since small ones matter."""
    blues, oranges = matplotlib.colormaps["Blues"], matplotlib.colormaps["Oranges"]
    wrong = np.where(counts > 0, PALE + (1 - PALE) * np.sqrt(share) * 0.7, 0.0)
    colours: NDArray[np.float64] = np.asarray(oranges(wrong))
    colours[counts == 0] = 1.0
    diagonal = np.arange(len(counts))
    colours[diagonal, diagonal] = blues(share.diagonal())
    return colours
