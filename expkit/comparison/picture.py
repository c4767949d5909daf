"""The picture of a comparison: curves over each other, accuracies with their intervals, and the classes that differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expkit.comparison.configs import Setup
from expkit.comparison.images import Shared
from expkit.comparison.standings import Comparison
from expkit.record.glyphs import drawable, shortened, width_of
from expkit.record.plots import save

OKABE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours of Okabe and Ito (2008) that colour-blind people tell apart."""
CLASSES = 20
"""So many classes are drawn, those that divide the setups most."""
WIDTH = 10.0
CURVES, ROW = 2.6, 0.24
"""Inches of the height of the curves, and of a line of the others."""
TOP, BOTTOM = 0.4, 0.5
"""Inches above and below each."""
LETTERS = 44


def draw_comparison(path: Path, found: Comparison) -> None:
    """Draw the curves of all runs, the accuracy of each setup on the shared images, and the recall of classes."""
    colours = colours_of(found.setups)
    shared = found.shared
    classes = list(shared.differing)[:CLASSES] if shared else []
    legend = 0.25 * -(-len(found.setups) // 24)
    heights = [CURVES + legend, 0.3 + ROW * len(found.setups), *([0.3 + ROW * len(classes)] if classes else [])]
    whole = sum(heights) + len(heights) * (TOP + BOTTOM)
    figure = Figure(figsize=(WIDTH, whole))
    names = [
        f"{one.setup.letter}  {drawable(shortened(one.setup.label, LETTERS))}"
        + (f"  (on {one.images})" if shared and one.images not in (0, len(shared.files)) else "")
        for one in found.standings
    ]
    called = [drawable(shortened(shared.classes[label])) for label in classes] if shared else []
    room = min(4.0, 0.4 + 0.075 * max(map(width_of, [*names, *called])))

    def place(row: int, left: float, right: float, below: float = 0.0) -> Axes:
        """Axes in a row, between so many inches from the left and from the right."""
        top = sum(heights[:row]) + row * (TOP + BOTTOM) + TOP
        high = heights[row] - below
        return figure.add_axes((left / WIDTH, 1 - (top + high) / whole, (WIDTH - left - right) / WIDTH, high / whole))

    half = WIDTH / 2
    draw_curves(place(0, 0.7, half + 0.1, legend), found, "valid_loss", colours)
    metric = found.metric if found.metric not in ("valid_loss", "train_loss") else "valid_accuracy"
    right = place(0, half + 0.6, 0.2, legend)
    draw_curves(right, found, metric, colours)
    lines = [line for line in right.lines if not str(line.get_label()).startswith("_")]
    middle = 1 - (TOP + heights[0] + BOTTOM - 0.05) / whole
    figure.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, middle), ncols=24, fontsize=8,
                  frameon=False, columnspacing=1, handlelength=1.2)  # fmt: skip
    draw_standings(place(1, room, 0.2), found, names, colours)
    if shared and classes:
        draw_classes(place(2, room, 0.2), shared, classes, called, colours)
    save(figure, path)


def colours_of(setups: Sequence[Setup]) -> dict[str, str]:
    """A colour for each setup, by its letter."""
    if len(setups) <= len(OKABE):
        return {setup.letter: colour for setup, colour in zip(setups, OKABE, strict=False)}
    # Neither pale nor dark ones, which would not be seen on a page in the dark, or in the light.
    wheel = [*matplotlib.colormaps["tab10"](range(10)), *matplotlib.colormaps["Dark2"](range(8))]
    return {setup.letter: matplotlib.colors.to_hex(wheel[number % len(wheel)]) for number, setup in enumerate(setups)}


def draw_curves(axes: Axes, found: Comparison, metric: str, colours: Mapping[str, str]) -> None:
    """A metric of every run over its epochs, the runs of a setup in one colour."""
    longest, height = 0, len(found.setups)
    for place, setup in enumerate(found.setups):
        for number, run in enumerate(setup.runs):
            values = [epoch[metric] for epoch in run.history]
            label = setup.letter if number == 0 else f"_{setup.letter}"
            axes.plot(
                np.arange(1, len(values) + 1),
                values,
                ".-",
                color=colours[setup.letter],
                linewidth=1.3,
                markersize=5,
                label=label,
                zorder=2 + (height - place) / height,  # the first one on top
            )
            longest = max(longest, len(values))
    axes.set(xlabel="epoch")
    axes.set_title(f"Validation {metric.removeprefix('valid_')} over the epochs", fontsize=10)
    axes.grid(alpha=0.3)
    if longest < 10:
        axes.set_xticks(range(1, longest + 1))


def draw_standings(axes: Axes, found: Comparison, names: Sequence[str], colours: Mapping[str, str]) -> None:
    """The accuracy of each setup with its interval, or where no image is shared, what it is judged by."""
    images = len(found.shared.files) if found.shared else 0
    for row, one in enumerate(found.standings):
        colour = colours[one.setup.letter]
        value = one.accuracy if images else one.mean
        if value is None:
            axes.text(0.5, row, "no predictions", transform=axes.get_yaxis_transform(), va="center", ha="center",
                      fontsize=7, color="dimgrey")  # fmt: skip
            continue
        if images and one.interval:
            axes.hlines(row, *one.interval, color=colour, linewidth=2)
        if len(one.setup.runs) > 1 and not images:
            scores = [score for run in one.setup.runs if (score := run.score(found.metric)) is not None]
            axes.plot(scores, [row] * len(scores), "|", color=colour, markersize=9)
        axes.plot(value, row, "o" if not one.differs else "D", color=colour, markersize=7)
    if images and (first := found.first.accuracy) is not None:
        axes.axvline(first, color="grey", linewidth=0.8, linestyle=":", zorder=0)
    label_rows(axes, names)
    differ = any(one.differs for one in found.standings)
    beside = f"; a diamond differs from {found.first.setup.letter} beyond chance" if differ else ""
    what = f"Accuracy on {images} images, with 95% intervals{beside}" if images else f"{found.metric}: no shared images"
    axes.set_title(what, fontsize=10, loc="left")


def draw_classes(
    axes: Axes, shared: Shared, labels: Sequence[int], names: Sequence[str], colours: Mapping[str, str]
) -> None:
    """The share of each class's images that each setup tells rightly."""
    for row, label in enumerate(labels):
        values = shared.recalls[label]
        axes.hlines(row, values.min(), values.max(), color="lightgrey", linewidth=2, zorder=1)
    for number in reversed(range(len(shared.setups))):
        setup = shared.setups[number]
        points = [shared.recalls[label][number] for label in labels]
        axes.plot(points, range(len(labels)), "o", color=colours[setup.letter], markersize=6, alpha=0.85, zorder=3)
    label_rows(axes, names)
    axes.set_xlim(-0.03, 1.03)
    most = " most" if len(shared.differing) > len(labels) else ""
    which = f"the {len(labels)} of {len(shared.recalls)} classes that differ{most}"
    axes.set_title(f"Share of each class that is told rightly, {which}", fontsize=10, loc="left")


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write a name beside each line, the first on top."""
    axes.set(ylim=(len(names) - 0.4, -0.6), yticks=[])
    for row, name in enumerate(names):
        axes.text(-0.01, row, name, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8,
                  parse_math=False)  # fmt: skip
    axes.grid(alpha=0.3)
