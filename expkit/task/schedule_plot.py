"""`task=plot_schedule`: the schedules of an experiment, without data or training."""

from pathlib import Path

from expkit.build import build
from expkit.check import checked
from expkit.config.plan import plan
from expkit.config.schema import Config, filled
from expkit.left_open import with_rate, without_weights
from expkit.run_folder import RunFolder
from expkit.screen import say
from expkit.trainer import default
from expkit.wiring import schedules_of

DRAWN = 1000
"""Points of a phase in a drawn schedule."""


@checked
def plot_schedule(config: Config, folder: RunFolder) -> Path:
    """Draw the schedules of the experiment as its optimizer would hold them, without data or training.

    Leaves plots/schedule.png in `folder`, and gives its path. Learning rates that only the LR finder could tell are
    drawn as 1.
    Raises UserError for schedules that do not fit the epochs or layer groups.
    """
    import numpy as np

    from expkit.record.plots import draw_schedule
    from expkit.trainer.hypers import Hypers

    # Weights and the number of classes change nothing in a schedule, and the data may not be here.
    model = build(without_weights(config.model), 2, group="model")
    optimizer = build(with_rate(config.optim), model, group="optim")
    hypers = Hypers(model, optimizer, filled(config.trainer, like=default)["label_smoothing"])
    base = optimizer.get("lr")
    epochs: list[float] = []
    rows: list[list[float]] = []
    recipe = plan(config)
    for phase in recipe.phases:
        peaks = phase.rates(base, optimizer.groups, found=1.0)
        optimizer.freeze_to(phase.first(optimizer.groups), phase.train_bn)
        hypers.rest(norms=not phase.precompute)
        apply = hypers.follow(schedules_of(config, phase, peaks))
        for t in np.arange(DRAWN) / DRAWN:
            apply(float(t))
            epochs.append(recipe.starts[phase.name] + float(t) * phase.epochs)
            rows.append(hypers.read())
    columns = dict(zip(hypers.columns, np.array(rows).T, strict=True))
    path = folder.plots / "schedule.png"
    norms = recipe.norms_alone(optimizer)
    draw_schedule(path, np.array(epochs), columns, optimizer.groups, recipe.starts, "epoch", norms)
    say(str(path))
    return path
