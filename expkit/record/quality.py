"""Pictures of how good predictions are: whether confidences can be trusted, and which classes are told badly."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expkit.record.glyphs import drawable, shortened, width_of
from expkit.record.plots import panels, save

BINS = 10
"""Bins of confidence that are drawn."""
CLASSES = 40
"""Of more classes, those with the lowest F1 are drawn."""
BLUE, ORANGE = "#0072b2", "#d55e00"
"""Two colours of Okabe and Ito (2008) that colour-blind people tell apart."""
NEAR = 0.02
"""Confidence and accuracy that differ by less are alike."""


def draw_reliability(path: Path, confidences: NDArray[np.float64], right: NDArray[np.bool_], what: str) -> None:
    """Draw the accuracy of images over their confidence, in bins, and how many images each bin has."""
    trust, accuracy = float(confidences.mean()), float(right.mean())
    verdict = "as sure as it is right" if abs(trust - accuracy) < NEAR else "too sure"
    if trust < accuracy - NEAR:
        verdict = "less sure than it is right"
    place = np.minimum((confidences * BINS).astype(np.int64), BINS - 1)
    images = np.bincount(place, minlength=BINS)
    seen = np.flatnonzero(images)
    mean, hits = (np.bincount(place, weights=one, minlength=BINS)[seen] / images[seen] for one in (confidences, right))
    figure, (axes,) = panels(1, 1, 3.8, 3.6, top=0.6)
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.vlines(mean, np.minimum(mean, hits), np.maximum(mean, hits), color=ORANGE, linewidth=2)
    axes.plot(mean, hits, "-", color=BLUE, linewidth=1)
    axes.scatter(mean, hits, 12 + 300 * images[seen] / images.sum(), color=BLUE, zorder=3)
    for x, y, count in zip(mean, hits, images[seen], strict=True):
        low = y > x
        axes.annotate(str(count), (x, y), (-7, 7) if low else (7, -7), textcoords="offset points", fontsize=7,
                      ha="right" if low else "left", va="bottom" if low else "top")  # fmt: skip
    axes.set(xlabel=f"confidence ({len(right)} {what}; numbers count them)", ylabel="share that is right")
    axes.set(xlim=(-0.02, 1.05), ylim=(-0.05, 1.08))
    axes.set_title(f"The model is {verdict}:\nconfidence {trust:.1%}, right {accuracy:.1%}", fontsize=10)
    axes.grid(alpha=0.3)
    save(figure, path)


def draw_by_class(path: Path, matrix: NDArray[np.int64], classes: Sequence[str], what: str) -> None:
    """Draw precision and recall of each class that has images, the lowest F1 first."""
    images, taken, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    f1 = 2 * right / np.maximum(images + taken, 1)
    present = np.flatnonzero(images)
    drawn = present[np.argsort(f1[present], kind="stable")][:CLASSES]
    recall, precision = right[drawn] / images[drawn], right[drawn] / np.maximum(taken[drawn], 1)
    names = [f"{drawable(shortened(classes[number]))} ({images[number]})" for number in drawn.tolist()]
    room = 0.3 + 0.07 * max(map(width_of, names))
    figure, (axes,) = panels(1, 1, 4.4, 0.4 + 0.19 * len(drawn), left=room, top=0.75)
    places = np.arange(len(drawn))
    axes.hlines(places, precision, recall, color="lightgrey", linewidth=2, zorder=1)
    axes.plot(recall, places, "o", color=BLUE, markersize=6, label="recall: found, of the class")
    axes.plot(precision, places, "D", color=ORANGE, markersize=4, label="precision: right, of those called so")
    axes.set(xlim=(-0.03, 1.03), ylim=(len(drawn) - 0.4, -0.6), yticks=[])
    for place, name in enumerate(names):
        axes.text(-0.05, place, name, ha="right", va="center", fontsize=8, parse_math=False)
    axes.grid(alpha=0.3)
    lowest = f"Lowest F1: {names[0].rpartition(' (')[0]}, {f1[drawn[0]]:.2f}"
    if len(present) > len(drawn):
        lowest += f" (the lowest {len(drawn)} of {len(present)} classes)"
    figure.text(0.01, 0.99, f"{lowest}; {what}", va="top", fontsize=10, parse_math=False)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 1), ncols=2, fontsize=7, frameon=False)
    save(figure, path)
