"""Pictures of a run, drawn from the files that it leaves."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from expkit.data.items import Images
from expkit.record.glyphs import drawable, width_of
from expkit.run_folder import RunFolder, write_whole
from expkit.threads import aside
from expkit.trainer.evaluate import confusion_matrix
from expkit.trainer.hypers import hyper_of

Values = NDArray[np.float64]

POINTS = 2000
"""More points than a plot has pixels are not drawn."""
NAMED_CLASSES = 60
"""With more classes their names are too small to read, and left out."""
ROUNDING = 1e-6
"""Changes of so small a share of a value are no schedule's."""
CHARACTER = 0.08
"""Inches that a character of a tick's label takes at most."""


def read_traces(folder: RunFolder) -> dict[str, Values]:
    """The columns of traces.parquet, thinned to what a plot can show."""
    table = pq.read_table(folder.traces)
    kept = np.unique(np.linspace(0, len(table) - 1, POINTS).astype(np.int64))
    return {name: table[name].to_numpy()[kept] for name in table.column_names}


def draw_losses(
    path: Path,
    traces: Mapping[str, Values],
    history: list[dict[str, float]],
    epoch_steps: int,
    starts: Mapping[str, float],
) -> None:
    """Draw training and validation loss, and the validation metrics, over the epochs of `epoch_steps` steps each.

    `starts` says after how many epochs each phase begins.
    """
    epochs = np.arange(1, len(history) + 1)
    figure, (losses, metrics) = panels(1, 2, 4.2, 3.0)
    losses.plot((traces["step"] + 1) / epoch_steps, traces["train_loss_smoothed"], label="training (smoothed)")
    losses.plot(epochs, [epoch["valid_loss"] for epoch in history], "o-", label="validation")
    losses.set(xlabel="epoch", ylabel="loss", title="Loss")
    for name in ("valid_accuracy", "valid_f1"):
        metrics.plot(epochs, [epoch[name] for epoch in history], "o-", label=name)
    metrics.set(xlabel="epoch", title="Validation", ylim=(None, 1))
    for axes in (losses, metrics):
        mark_phases(axes, starts)
        axes.legend()
        axes.grid(alpha=0.3)
    save(figure, path)


def draw_schedule(
    path: Path,
    steps: Values,
    hypers: Mapping[str, Values],
    groups: Sequence[str],
    starts: Mapping[str, float],
    unit: str,
) -> None:
    """Draw the hyperparameters that move: one curve, or one for each layer group where they differ.

    Those that stay are told below with their values; if all do, the learning rate is drawn. `hypers` holds columns as
    `Hypers.columns` names them (`lr_0`, `lr_1`, ..., `dropout`); `starts` says where each phase begins; `unit` is that
    of both and of `steps`.
    """
    curves = {
        name: [hypers[name]] if name in hypers else [hypers[f"{name}_{number}"] for number in range(len(groups))]
        for name in dict.fromkeys(map(hyper_of, hypers))
    }
    moving = [name for name in curves if any(map(moves, curves[name]))] or ["lr"]
    constant = [constant_of(name, curves[name]) for name in curves if name not in moving]
    columns = min(2, len(moving))
    figure, grid = panels(-(-len(moving) // columns), columns, 4.2, 1.5, bottom=0.55 if not constant else 0.75)
    for axes, name in zip(grid, moving, strict=False):
        alike = all(np.allclose(curve, curves[name][0], rtol=ROUNDING, atol=0) for curve in curves[name])
        for curve, group in zip(curves[name][: 1 if alike else None], groups, strict=False):
            axes.plot(steps, curve, label=drawable(group))
        axes.set(title=name, xlabel=unit)
        if not any(map(moves, curves[name])):
            axes.set_ylim(0, 1.2 * max(float(curve.max()) for curve in curves[name]) or 1)
        axes.grid(alpha=0.3)
        mark_phases(axes, starts)
        if not alike:
            axes.legend(fontsize="small")
    for axes in grid[len(moving) :]:
        axes.remove()
    if constant:
        text = textwrap.fill("constant: " + ", ".join(constant), 60 * columns)
        figure.text(0.01, 0.01, text, fontsize=7, va="bottom", color="dimgrey", parse_math=False)
    save(figure, path)


def moves(curve: Values) -> bool:
    """Whether a curve changes by more than rounding does."""
    return bool(np.ptp(curve) > ROUNDING * np.abs(curve).max())


def constant_of(name: str, curves: Sequence[Values]) -> str:
    """A hyperparameter that stays, with its value: one, or one for each layer group."""
    values = list(dict.fromkeys(f"{float(curve[0]):.4g}" for curve in curves))
    return f"{name} {values[0]}" if len(values) == 1 else f"{name} {' / '.join(f'{c[0]:.4g}' for c in curves)}"


def panels(
    rows: int, columns: int, width: float, height: float, *, left: float = 0.85, bottom: float = 0.55, top: float = 0.35
) -> tuple[Figure, list[Axes]]:
    """A figure of axes of `width` x `height` inches, each with so much room for its labels.

    matplotlib's own layouts draw everything once more to measure it, which takes as long as the picture itself.
    """
    right = 0.2
    across, down = columns * (left + width) + right, rows * (top + height + bottom)
    figure = Figure(figsize=(across, down))
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=left / across,
        right=1 - right / across,
        bottom=bottom / down,
        top=1 - top / down,
        wspace=left / width,
        hspace=(bottom + top) / height,
    )
    return figure, list(grid.flat)


def mark_phases(axes: Axes, starts: Mapping[str, float]) -> None:
    """Show where the phases of a recipe begin, if there are several."""
    if len(starts) > 1:
        for name, start in starts.items():
            axes.axvline(start, color="grey", linewidth=0.8, linestyle=":")
            axes.annotate(
                drawable(name),
                (start, 1),
                (3, -3),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                rotation="vertical",  # so that those of short phases stand side by side
                va="top",
                fontsize=7,
                color="grey",
                parse_math=False,
            )


def draw_confusion(folder: RunFolder, classes: Sequence[str]) -> None:
    """plots/confusion.png: how often each class (row) is taken for each other (column), as a share of the row."""
    number = {name: index for index, name in enumerate(classes)}
    predictions = pq.read_table(folder.predictions, columns=["label", "prediction"])
    labels, taken_for = (np.array([number[name] for name in column.to_pylist()]) for column in predictions)
    counts = confusion_matrix(labels, taken_for, len(classes))
    draw_counts(folder.plots / "confusion.png", counts, classes, "Validation images, best epoch")


def draw_counts(path: Path, counts: NDArray[np.int64], classes: Sequence[str], title: str) -> None:
    """Draw a confusion matrix: a row for each label, a column for each prediction, as a share of the row."""
    shown = [drawable(name) for name in classes]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(classes) <= NAMED_CLASSES
    side = min(3 + 0.2 * len(classes), 13)
    room = 0.6 + (CHARACTER * max(map(width_of, shown)) if named else 0.2)
    figure, (axes,) = panels(1, 1, side, side, left=room, bottom=room)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="prediction", ylabel="label")
    axes.set_title(drawable(title), parse_math=False)
    if named:
        axes.set_xticks(range(len(classes)), shown, rotation=90, parse_math=False)
        axes.set_yticks(range(len(classes)), shown, parse_math=False)
        for row, column in np.argwhere(counts > 0):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=7, color=colour)
    save(figure, path)


def draw_top_losses(folder: RunFolder, images: Images, count: int = 12) -> None:
    """plots/top_losses.png: the validation images that the best epoch's model got most wrong."""
    predictions = pq.read_table(folder.predictions, columns=["label", "prediction", "confidence", "loss"])
    worst = np.argsort(-predictions["loss"].to_numpy(), kind="stable")[:count]
    figure, grid = panels(-(-len(worst) // 4), 4, 2.7, 2.2, left=0.2, bottom=0.1, top=0.5)
    shown = aside(lambda: [images.read(index, 256) for index in worst.tolist()])
    for axes, index, image in zip(grid, worst.tolist(), shown, strict=False):
        row = predictions.slice(index, 1).to_pylist()[0]
        axes.imshow(image)
        verdict = "right" if row["label"] == row["prediction"] else f"taken for {drawable(row['prediction'])}"
        axes.set_title(f"{drawable(row['label'])}\n{verdict}, {row['confidence']:.0%}", fontsize=9, parse_math=False)
    for axes in grid:
        axes.axis("off")
    save(figure, folder.plots / "top_losses.png")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG. Raises UserError where the disk is full."""
    fast = {"compress_level": 1}  # a quarter larger, in a third of the time
    write_whole(path, lambda partial: figure.savefig(partial, format="png", dpi=110, pil_kwargs=fast))
