"""A trial: params drawn, composed into a config as a Hydra job of its own, and trained as often as it repeats."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from omegaconf import DictConfig, open_dict

from expkit.config.composed import choices, experiment, written
from expkit.errors import Diverged, UserError
from expkit.run_folder import RunFolder, hide_in_files
from expkit.secrets import typed_overrides
from expkit.sweep.space.composing import Composer
from expkit.sweep.space.jobs import Sweep, conditional, hide_password, plain_value
from expkit.sweep.space.spaces import Around, Choice, Numbers, Param, Space, Value
from expkit.sweep.study import best_so_far, standing, value_of
from expkit.tracking import path_to_parent
from expkit.tracking.finding import config_of

OVERRIDES, WEIGHTS = "overrides", "weights"
"""User attributes of a trial: what its command line would say, and the folder with its weights, below the sweep's."""

if TYPE_CHECKING:
    from expkit.wiring import Kept


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: with a value, or by an exception."""

    value: float | None = None
    error: Exception | None = None


def run_trial(
    sweep: Sweep, trial: optuna.Trial, lr: float | None, composer: Composer, kept: "Kept", stop: Callable[[], int]
) -> float:
    """Draw the params of a trial and train it in its folder; gives the objective, the mean of its repeats.

    `lr` is what the LR finder suggests, `composer` makes the config. Raises TrialPruned, Interrupted, and whatever goes
    wrong.
    """
    overrides = [*sweep.search.fixed, *draw(sweep, trial, lr)]
    trial.set_user_attr(OVERRIDES, overrides)
    config = composer.compose(overrides)
    hide_password(config)
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = trial.number

    def job(composed: DictConfig) -> Outcome:
        # Returned, not raised: what leaves a job as an exception, Hydra comments on.
        try:
            return Outcome(value=train_job(composed, sweep, trial, kept, stop))
        except Exception as error:
            return Outcome(error=error)

    outcome = run_as_job(sweep, config, job)
    if outcome.error is not None:
        raise outcome.error
    assert outcome.value is not None
    if not math.isfinite(outcome.value):
        raise Diverged(f"the objective came out as {outcome.value}")
    return outcome.value


def draw(sweep: Sweep, trial: optuna.Trial, lr: float | None) -> list[str]:
    """The overrides of a trial, drawn from the space and then from what the conditions add."""
    overrides, plain_params = [], {}
    for param in sweep.search.params:
        value = suggest(trial, param.key, known(param.space, lr, param.key))
        plain_params[param.key] = plain_value(param.space, value)
        overrides.append(param.override(value))
    for one in conditional(sweep.settings.conditions, plain_params, sweep.search):
        if isinstance(one, Param):
            value = suggest(trial, one.key, known(one.space, lr, one.key))
            overrides.append(one.override(value))
        else:
            overrides.append(one)
    return overrides


def known(space: Space, lr: float | None, key: str) -> Choice | Numbers:
    """A space with numbers in place of what the LR finder had to tell. Raises UserError where it was not asked."""
    if not isinstance(space, Around):
        return space
    if lr is None:
        raise UserError(
            f"{key}: {{around: lr_find}} must stand in hydra.sweeper.params; conditions come too late for it"
        )
    return space.numbers(lr)


def suggest(trial: optuna.Trial, key: str, space: Choice | Numbers) -> Value:
    """Let the sampler draw a value."""
    if isinstance(space, Choice):
        choice = trial.suggest_categorical(key, space.values)
        assert choice is not None
        return choice
    if isinstance(space.low, int) and isinstance(space.high, int):
        return trial.suggest_int(key, space.low, space.high, step=int(space.step or 1), log=space.log)
    return trial.suggest_float(key, space.low, space.high, step=space.step, log=space.log)


def run_as_job(sweep: Sweep, config: DictConfig, job: Any) -> Outcome:
    """Run a function as a Hydra job: with `.hydra/` in its folder, its callbacks, and its own HydraConfig."""
    returned = run_job(
        hydra_context=sweep.context,
        task_function=job,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        configure_logging=False,
    )
    outcome: Outcome = returned.return_value
    return outcome


def train_job(composed: DictConfig, sweep: Sweep, trial: optuna.Trial, kept: "Kept", stop: Callable[[], int]) -> float:
    """Train the runs of a trial, within the Hydra job that it is."""
    from expkit.sweep.work.training import Place, train_trial

    config, folder = config_of(composed), Path(HydraConfig.get().runtime.output_dir)
    hide_in_files(folder / ".hydra")
    repeats: int = sweep.settings.repeats
    values: list[float] = []
    for repeat in range(repeats):
        # The config's own seed comes last, when it is known whether the trial leads: that run has the trial's weights.
        seeded = replace(config, seed=config.seed + repeats - 1 - repeat)
        path = folder if repeats == 1 else folder / f"seed_{seeded.seed}"
        run = RunFolder.create(
            path,
            experiment(),
            written(seeded, composed),
            typed_overrides(HydraConfig.get()),
            choices=choices(),
            parent=path_to_parent(sweep.folder, path),
            name=f"trial {trial.number}" + (f" seed {seeded.seed}" if repeats > 1 else ""),
            params={"trial": trial.number},
            model=False,
        )
        place = Place(trial, repeat, repeats, stop, partial(leads, trial.study, trial.number, values))
        values.append(train_trial(seeded, run, kept, place))
        if run.exported_weights.exists():
            trial.set_user_attr(WEIGHTS, os.path.relpath(path, sweep.folder))
    return fmean(values)


def leads(study: optuna.Study, number: int, earlier: Sequence[float], last: float) -> bool:
    """Whether a trial is the study's best so far, by the mean objective of its runs, of which one has ended last."""
    best = best_so_far(study, study.get_trials(deepcopy=False))
    own = standing(study, fmean([*earlier, last]), number)
    return best is None or own < standing(study, value_of(best), best.number)
