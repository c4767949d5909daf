"""The picture of an LR finder: the loss over the learning rate, and what was read off it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expkit.lr_finder.suggestions import Curve
from expkit.record.plots import save

CURVE, CHOSEN, OTHERS = "#1f77b4", "#d62728", "#5a5a5a"


def draw_lr_find(path: Path, curve: Curve, found: Mapping[str, float], suggest: str, scale: float = 1.0) -> None:
    """Draw the curve with all suggestions in `found`, the one called `suggest` in front, and the rate used.

    The points that suggestions are not read from are pale. `scale` is what the suggestion is multiplied by for use.
    """
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes: Axes = figure.subplots()
    draw_curve(axes, curve)
    for row, (name, lr) in enumerate(sorted(found.items(), key=lambda item: item[1])):
        draw_suggestion(axes, curve, name, lr, row, chosen=name == suggest)
    title = f"LR finder: {suggest} suggests {found[suggest]:.3g}"
    if scale != 1:
        used = found[suggest] * scale
        title += f", times {scale:g} is {used:.3g}"
        axes.axvline(used, color=CHOSEN, linestyle="--", linewidth=1.5, label="learning rate used")
    axes.set_title(title, parse_math=False)
    axes.legend(loc="lower left", frameon=False, fontsize="small")
    save(figure, path)


def draw_curve(axes: Axes, curve: Curve) -> None:
    """The losses of all steps, pale where suggestions are not read from."""
    kept = curve.kept
    axes.plot(curve.lrs, curve.losses, ".", color=CURVE, alpha=0.25, markersize=5, label="loss of a batch")
    axes.plot(curve.lrs, curve.smoothed, color=CURVE, alpha=0.35, linewidth=1)
    axes.plot(curve.lrs[kept], curve.smoothed[kept], color=CURVE, linewidth=2.2, label="smoothed")
    axes.set(xscale="log", xlabel="learning rate of the head", ylabel="training loss", ylim=limits(curve))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def limits(curve: Curve) -> tuple[float, float]:
    """The range of losses to show: the descent with room for labels above it, however far the divergence goes."""
    smoothed = curve.smoothed[curve.kept]
    bottom = float(min(curve.losses[curve.kept].min(), smoothed.min()))
    top = float(smoothed[: smoothed.argmin() + 1].max())
    span = max(top - bottom, 0.05 * abs(top))
    return bottom - 0.1 * span, top + 0.6 * span


def draw_suggestion(axes: Axes, curve: Curve, name: str, lr: float, row: int, *, chosen: bool) -> None:
    """A line down to the curve with a label in a row of its own, so that close suggestions stay legible."""
    colour, weight = (CHOSEN, "bold") if chosen else (OTHERS, "normal")
    kept = curve.kept
    height = float(np.interp(np.log(lr), np.log(curve.lrs[kept]), curve.smoothed[kept]))
    top = 0.98 - 0.055 * row
    axes.axvline(lr, ymax=top, color=colour, linewidth=2 if chosen else 0.9, alpha=0.9 if chosen else 0.6, zorder=1)
    axes.plot(lr, height, "o", color=colour, markersize=10 if chosen else 6, zorder=4 if chosen else 3)
    right = np.log(lr / curve.lrs[0]) > 0.83 * np.log(curve.lrs[-1] / curve.lrs[0])
    axes.annotate(
        f"{name}  {lr:.3g}",
        (lr, top),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if right else 6, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        color=colour,
        fontweight=weight,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        parse_math=False,
        zorder=5,
    )
