"""Curves of a run: losses, metrics and hyperparameters over its steps."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from expkit.record.glyphs import drawable
from expkit.record.recorder import best_epoch
from expkit.run_folder import RunFolder
from expkit.trainer.hypers import hyper_of
from expkit.whole_files import write_whole

Values = NDArray[np.float64]

DPI = 110
"""Pixels of an inch in all pictures."""
POINTS = 2000
"""More points than a plot has pixels are not drawn."""
ROUNDING = 1e-6
"""Changes of so small a share of a value are no schedule's."""


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

    `starts` says after how many epochs each phase begins. The titles say when each was best.
    """
    epochs = np.arange(1, len(history) + 1)
    figure, (losses, metrics) = panels(1, 2, 4.2, 3.0)
    losses.plot((traces["step"] + 1) / epoch_steps, traces["train_loss_smoothed"], label="training (smoothed)")
    losses.plot(epochs, [epoch["valid_loss"] for epoch in history], "o-", markersize=4, label="validation")
    losses.set(xlabel="epoch", ylabel="loss", title=best_of(history, "valid_loss", "loss"))
    for name in ("valid_accuracy", "valid_f1"):
        metrics.plot(epochs, [epoch[name] for epoch in history], "o-", markersize=4, label=name.removeprefix("valid_"))
    metrics.set(xlabel="epoch", title=best_of(history, "valid_accuracy", "accuracy"), ylim=(None, 1))
    for axes in (losses, metrics):
        mark_phases(axes, starts)
        axes.legend()
        axes.grid(alpha=0.3)
        if len(history) < 10:
            axes.set_xticks(epochs)
    save(figure, path)


def best_of(history: list[dict[str, float]], metric: str, called: str) -> str:
    """When a metric of validation was best, in words."""
    best = best_epoch(history, metric)
    return f"Validation {called}: best in epoch {best}, {history[best - 1][metric]:.4g}"


def draw_schedule(
    path: Path,
    steps: Values,
    hypers: Mapping[str, Values],
    groups: Sequence[str],
    starts: Mapping[str, float],
    unit: str,
    norms: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Draw the hyperparameters that move: one curve, or one for each layer group where they differ.

    A layer group has no curve (NaN) where nothing of it trains; of the last one something always does.

    Those that stay are told below with their values; if all do, the learning rate is drawn. `hypers` holds columns as
    `Hypers.columns` names them (`lr_0`, `lr_1`, ..., `dropout`); `starts` says where each phase begins; `unit` is that
    of both and of `steps`; `norms` names the layer groups of which only the norms train, by phase.
    """
    curves = {
        name: [hypers[name]] if name in hypers else [hypers[f"{name}_{number}"] for number in range(len(groups))]
        for name in dict.fromkeys(map(hyper_of, hypers))
    }
    moving = [name for name in curves if any(map(moves, curves[name]))] or ["lr"]
    constant = [constant_of(name, curves[name]) for name in curves if name not in moving]
    columns = min(2, len(moving))
    told = [f"constant: {', '.join(constant)}"] if constant else []
    told += [
        f"in the phase {phase}, only the norms of {' and '.join(names)} train" for phase, names in (norms or {}).items()
    ]
    text = "\n".join(textwrap.fill(line, 60 * columns) for line in told)
    bottom = 0.58 + 0.14 * len(text.splitlines())
    figure, grid = panels(-(-len(moving) // columns), columns, 4.2, 1.5, bottom=bottom)
    for axes, name in zip(grid, moving, strict=False):
        alike = all(agree(curve, curves[name][-1]) for curve in curves[name])
        drawn = [(curves[name][-1], groups[-1])] if alike else list(zip(curves[name], groups, strict=True))
        for curve, group in drawn:
            if len(known(curve)):
                axes.plot(steps, curve, label=drawable(group))
        axes.set(title=name, xlabel=unit)
        if not any(map(moves, curves[name])):
            axes.set_ylim(0, 1.2 * max(float(known(curve).max(initial=0)) for curve in curves[name]) or 1)
        axes.grid(alpha=0.3)
        mark_phases(axes, starts)
        if not alike:
            axes.legend(fontsize="small")
    for axes in grid[len(moving) :]:
        axes.remove()
    if text:
        figure.text(0.01, 0.01, text, fontsize=7, va="bottom", color="dimgrey", parse_math=False)
    save(figure, path)


def moves(curve: Values) -> bool:
    """Whether a curve changes by more than rounding does."""
    values = known(curve)
    return len(values) > 0 and bool(np.ptp(values) > ROUNDING * np.abs(values).max())


def known(curve: Values) -> Values:
    """The values of a curve where it has any."""
    return curve[~np.isnan(curve)]


def agree(curve: Values, other: Values) -> bool:
    """Whether two curves are the same where both have values."""
    both = ~np.isnan(curve) & ~np.isnan(other)
    return np.allclose(curve[both], other[both], rtol=ROUNDING, atol=0)


def constant_of(name: str, curves: Sequence[Values]) -> str:
    """A hyperparameter that stays, with its value: one, or one for each layer group."""
    values = [f"{known(curve)[0]:.4g}" if len(known(curve)) else "frozen" for curve in curves]
    same = {*values} - {"frozen"}
    return f"{name} {same.pop()}" if len(same) == 1 else f"{name} {' / '.join(values)}"


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


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG. Raises UserError where the disk is full."""
    fast = {"compress_level": 1}  # a quarter larger, in a third of the time
    write_whole(path, lambda partial: figure.savefig(partial, format="png", dpi=DPI, pil_kwargs=fast))
