"""One run of a trial: trained like any other run, but with what the process keeps, and reporting each epoch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
import pyarrow.parquet as pq
from torch import Tensor

from expkit.config.schema import Config
from expkit.logs import logging_to
from expkit.model.weights import save_weights
from expkit.record.checkpoint import prediction_table
from expkit.record.recorder import Recorder, best_epoch
from expkit.record.result import export_weights, objective_of
from expkit.run_folder import RunFolder
from expkit.task.training import train_run
from expkit.tracking.ending import tracked
from expkit.trainer.evaluate import Evaluation
from expkit.trainer.loop import Observer, Trainer
from expkit.whole_files import write_whole
from expkit.wiring import Kept, Run


@dataclass(frozen=True)
class Place:
    """Where a run stands in its study."""

    trial: optuna.Trial
    repeat: int
    """Which run of the trial it is, counted from 0."""
    repeats: int
    stop: Callable[[], int]
    """The number of the signal for which the sweep is to stop, 0 while there is none."""
    leads: Callable[[float], bool]
    """Whether the trial is better than all others so far, given the objective of its last run."""


def train_trial(config: Config, folder: RunFolder, kept: Kept, place: Place) -> float:
    """Train one run of a trial in `folder`, with its log, as any run is trained; gives the objective.

    Raises TrialPruned where the pruner gives it up, Interrupted where the sweep is to stop, and whatever goes wrong.
    """
    with (
        folder.held(),
        logging_to(folder.log),
        tracked(config.tracking, folder, pruned=optuna.TrialPruned) as tracker,
    ):
        result = train_run(config, folder, tracker, TrialRecord(folder, place), kept)
    return float(result["objective"]["value"])


class TrialRecord:
    """Leaves predictions, weights only where the trial is the best so far, and no pictures: these take their time."""

    is_whole = False

    def __init__(self, folder: RunFolder, place: Place) -> None:
        self.folder = folder
        self.place = place

    def begin(self, run: Run, recorder: Recorder) -> Sequence[Observer]:
        """Keep the best epoch in memory, and report to the study."""
        metric = run.config.objective["metric"]
        self.best = BestEpoch(recorder, metric)
        return [self.best, Reporting(self.place, recorder, metric, run.epochs)]

    def write(self, run: Run, recorder: Recorder) -> Mapping[str, Any]:
        """Write what the best epoch predicted, and its weights where the trial leads, as its last run tells."""
        place = self.place
        self.best.write_predictions(self.folder, run)
        if place.repeat == place.repeats - 1 and place.leads(objective_of(run.config, recorder)):
            self.best.write_weights(run.config, self.folder, run)
        return {}

    def draw(self, run: Run, recorder: Recorder, result: Mapping[str, Any]) -> None:
        """No pictures."""


class BestEpoch(Observer):
    """Keeps the weights and predictions of the best epoch so far in memory."""

    def __init__(self, recorder: Recorder, metric: str) -> None:
        self.recorder = recorder
        self.metric = metric

    def after_epoch(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Copy both where the epoch that just ended is the best."""
        if best_epoch(self.recorder.history, self.metric) == trainer.state.epochs:
            self.weights = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
            self.evaluation = evaluation

    def write_weights(self, config: Config, folder: RunFolder, run: Run) -> None:
        """Write the weights that the objective chooses, as any run has them."""
        if config.objective["at"] == "best":
            run.trainer.model.load_state_dict(self.weights)
            write_whole(folder.best_weights, partial(save_weights, run.trainer.model))
        export_weights(config, folder, run)

    def write_predictions(self, folder: RunFolder, run: Run) -> None:
        """Write the predictions of the best epoch, as any run has them: what a comparison of trials is made of."""
        table = prediction_table(self.evaluation, run.data.valid, run.data.classes)
        write_whole(folder.predictions, lambda path: pq.write_table(table, path))


class Reporting(Observer):
    """Reports the objective's metric to the study at each epoch, ends what the pruner gives up, and heeds a stop."""

    def __init__(self, place: Place, recorder: Recorder, metric: str, epochs: int) -> None:
        self.place = place
        self.recorder = recorder
        self.metric = metric
        self.epochs = epochs

    def after_step(self, trainer: Trainer, loss: Tensor) -> None:
        """Ask the trainer to stop where the sweep is to."""
        trainer.stop.signal = trainer.stop.signal or self.place.stop()

    def after_epoch(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Report; raises TrialPruned where the pruner sees no hope. The last epoch is never pruned: it is paid for."""
        place, epoch = self.place, trainer.state.epochs
        place.trial.report(self.recorder.history[-1][self.metric], place.repeat * self.epochs + epoch)
        is_last = epoch == self.epochs and place.repeat == place.repeats - 1
        if not is_last and place.trial.should_prune():
            raise optuna.TrialPruned(f"after epoch {epoch} of {self.epochs}")
