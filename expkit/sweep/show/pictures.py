"""Pictures of a study, drawn from its trials: history, importance, parallel coordinates and slices."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from expkit.record.glyphs import drawable
from expkit.record.plots import save
from expkit.sweep.study import is_lost

Values = NDArray[np.float64]

COLOURS, BEST, PALE = "viridis", "#d62728", "#b0b0b0"
LATER = LinearSegmentedColormap.from_list("later", ["#d6e6f4", "#08306b"])
NONE = -0.12
"""Where a trial passes the axis of a param that it has not."""
MANY = 16
"""With more choices their names are too small to read, and every other one is left out."""


def draw_pictures(folder: Path, study: optuna.Study, trials: Sequence[FrozenTrial], metric: str) -> None:
    """Draw history.png, slice.png, parallel.png and importance.png of the trials that came to their end.

    Importance takes two such trials with different values of a param; where there are none it is left out.
    """
    sign = 1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    draw_history(folder / "history.png", trials, metric, sign)
    params = [param_of(key, complete) for key in keys_of(complete)]
    if params:
        draw_slices(folder / "slice.png", complete, params, metric, sign)
        draw_parallel(folder / "parallel.png", complete, params, metric, sign)
    if importance := importances(study, complete):
        draw_importance(folder / "importance.png", importance, metric)


def keys_of(trials: Sequence[FrozenTrial]) -> list[str]:
    """All params of some trials, in the order in which they first occur."""
    return list(dict.fromkeys(key for trial in trials for key in trial.params))


@dataclass(frozen=True)
class Drawn:
    """One param of all trials on an axis."""

    key: str
    values: Values
    """A number for each trial, NaN where it has none; of a choice its index."""
    log: bool
    names: list[str]
    """Of the choices; empty for numbers."""

    def positions(self) -> Values:
        """The values on an axis that is even: logarithms where the space is logarithmic."""
        return np.log10(self.values) if self.log else self.values

    def scale(self, axes: Axes) -> None:
        """Make the x axis fit."""
        axes.set_xlabel(self.key, parse_math=False)
        if self.log:
            wide = np.ptp(self.positions()[~np.isnan(self.values)]) > 2
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif not self.names and np.array_equal(known := self.values[~np.isnan(self.values)], np.round(known)):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if self.names:
            shown = slice(None, None, 1 + len(self.names) // MANY)
            names = [drawable(name) for name in self.names[shown]]
            axes.set_xticks(range(len(self.names))[shown], names, rotation=30, ha="right", parse_math=False)


def param_of(key: str, trials: Sequence[FrozenTrial]) -> Drawn:
    """The values of one param."""
    spaces: list[BaseDistribution] = [trial.distributions[key] for trial in trials if key in trial.distributions]
    names: list[str] = []
    if any(isinstance(space, CategoricalDistribution) for space in spaces):
        names = list(dict.fromkeys(str(one) for space in spaces for one in getattr(space, "choices", ())))
    values = [number(trial.params[key], names) if key in trial.params else np.nan for trial in trials]
    return Drawn(key, np.array(values), any(getattr(space, "log", False) for space in spaces), names)


def number(value: object, names: list[str]) -> float:
    """A param's value as a number."""
    return float(names.index(str(value))) if names else float(str(value))


def values_of(trials: Sequence[FrozenTrial]) -> Values:
    """The objective of trials, NaN for those that have none."""
    return np.array([np.nan if trial.value is None else trial.value for trial in trials])


def draw_history(path: Path, trials: Sequence[FrozenTrial], metric: str, sign: float) -> None:
    """The objective trial by trial, with the best so far; pruned trials where they stood when they were given up."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes: Axes = figure.subplots()
    for state, marker, colour in ((TrialState.COMPLETE, "o", "#1f77b4"), (TrialState.PRUNED, "x", PALE)):
        some = [trial for trial in trials if trial.state == state and trial.value is not None]
        if some:
            numbers = [trial.number for trial in some]
            axes.plot(numbers, values_of(some), marker, color=colour, label=state.name.lower(), markersize=6)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = sign * np.maximum.accumulate(sign * values_of(complete))
    if complete:
        axes.step([trial.number for trial in complete], best, where="post", color=BEST, label="best so far")
    for trial in [trial for trial in complete if trial.user_attrs.get("origin") == "lr_find"]:
        axes.plot(trial.number, values_of([trial]), "o", mfc="none", mec="black", ms=12, label="from the LR finder")
    ended = [trial for trial in trials if trial.state == TrialState.FAIL]
    lost = [trial.number for trial in ended if is_lost(trial)]
    failed = [trial.number for trial in ended if not is_lost(trial)]
    for numbers, colour, label in ((failed, "black", "failed"), (lost, PALE, "lost, run again")):
        if numbers:
            bottom = np.full(len(numbers), 0.02)
            axes.plot(numbers, bottom, "X", color=colour, transform=axes.get_xaxis_transform(), label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="trial", title="History")
    axes.set_ylabel(metric)
    finish(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=6, frameon=False)
    save(figure, path)


def draw_slices(path: Path, trials: Sequence[FrozenTrial], params: Sequence[Drawn], metric: str, sign: float) -> None:
    """The objective over each param, later trials darker."""
    columns = min(len(params), 3)
    rows = -(-len(params) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.6 * rows), layout="constrained")
    values, numbers = values_of(trials), np.array([trial.number for trial in trials])
    best = int(np.nanargmax(sign * values))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, param in zip(grid.flat, params, strict=False):
        dots = axes.scatter(param.values, values, c=numbers, cmap=LATER, vmin=0, edgecolors="#555555", linewidths=0.5)
        axes.plot(param.values[best], values[best], "o", mfc="none", mec=BEST, ms=12, mew=2)
        param.scale(axes)
        finish(axes)
    for axes in grid.flat[len(params) :]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel(metric)
    figure.colorbar(dots, ax=list(figure.axes), label="trial", ticks=MaxNLocator(integer=True, min_n_ticks=1))
    save(figure, path)


def draw_parallel(path: Path, trials: Sequence[FrozenTrial], params: Sequence[Drawn], metric: str, sign: float) -> None:
    """A line for each trial through its params to its objective, the best in front."""
    values = values_of(trials)
    axes_of = [*params, Drawn(metric, values, log=False, names=[])]
    figure = Figure(figsize=(2 + 1.9 * len(axes_of), 5.5), layout="constrained")
    axes: Axes = figure.subplots()
    heights = np.array([evened(param.positions()) for param in axes_of])
    colours = ScalarMappable(Normalize(values.min(), values.max()), COLOURS if sign > 0 else f"{COLOURS}_r")
    order = np.argsort(sign * values, kind="stable")
    for index in order.tolist():
        last = index == order[-1]
        axes.plot(
            heights[:, index],
            color=BEST if last else colours.to_rgba(values[index]),
            alpha=1 if last else 0.55,
            lw=2.5 if last else 1.2,
        )
    for place, param in enumerate(axes_of):
        axes.axvline(place, color="black", lw=0.8)
        for height, label in labels(param):
            axes.annotate(
                label,
                (place, height),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                parse_math=False,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
            )
    axes.set_xticks(range(len(axes_of)), [param.key for param in axes_of], parse_math=False)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(axes_of) - 0.65)
    axes.spines[:].set_visible(False)
    axes.set_title("Trials, the best in red")
    figure.colorbar(colours, ax=axes, label=metric)
    save(figure, path)


def evened(positions: Values) -> Values:
    """Positions from 0 to 1, all in the middle where they are one; `NONE` where there is none."""
    low, high = np.nanmin(positions), np.nanmax(positions)
    heights = np.full_like(positions, 0.5) if high == low else (positions - low) / (high - low)
    return np.where(np.isnan(positions), NONE, heights)


def labels(param: Drawn) -> list[tuple[float, str]]:
    """Heights and texts of the labels of one axis."""
    positions = param.positions()
    low, high = float(np.nanmin(positions)), float(np.nanmax(positions))
    none = [(NONE, "none")] if np.isnan(positions).any() else []
    if param.names:
        there = sorted({int(value) for value in param.values[~np.isnan(param.values)]})
        return none + [(0.5 if high == low else (index - low) / (high - low), param.names[index]) for index in there]
    if high == low:
        return [*none, (0.5, f"{np.nanmin(param.values):.3g}")]
    ticks = np.linspace(0, 1, 5)
    return none + [
        (float(tick), f"{10**at if param.log else at:.3g}")
        for tick, at in zip(ticks, low + ticks * (high - low), strict=True)
    ]


def importances(study: optuna.Study, complete: Sequence[FrozenTrial]) -> dict[str, float]:
    """How much of the objective's variance each param that all trials share explains (fANOVA).

    Empty where the trials cannot tell.
    """
    spaces = {key: [trial.distributions.get(key) for trial in complete] for key in keys_of(complete)}
    shared = [key for key, found in spaces.items() if all(space == found[0] for space in found)]
    varied = [key for key in shared if len({str(trial.params[key]) for trial in complete}) > 1]
    if not varied or len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), params=varied)


def draw_importance(path: Path, importance: dict[str, float], metric: str) -> None:
    """A bar for each param, the most important on top."""
    figure = Figure(figsize=(8, 1.5 + 0.5 * len(importance)), layout="constrained")
    axes: Axes = figure.subplots()
    keys = sorted(importance, key=lambda key: importance[key])
    bars = axes.barh(range(len(keys)), [importance[key] for key in keys], color="#1f77b4")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks(range(len(keys)), keys, parse_math=False)
    axes.set(xlim=(0, 1.08), xlabel=f"share of the variance of {metric}", title="Importance (fANOVA)")
    finish(axes)
    save(figure, path)


def finish(axes: Axes) -> None:
    """A pale grid and no frame."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
