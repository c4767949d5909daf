"""One run of a trial: trained like any other run, but with what the process keeps, and reporting each epoch."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import optuna
import pyarrow.parquet as pq
from torch import Tensor

from expkit.build import build
from expkit.config.schema import Config
from expkit.errors import UserError
from expkit.interrupt import Interrupted
from expkit.logs import logging_to
from expkit.model.weights import save_weights
from expkit.record.advice import advice
from expkit.record.checkpoint import best_epoch, prediction_table
from expkit.record.recorder import Recorder
from expkit.record.result import export_weights, result_of
from expkit.run_folder import RunFolder, write_json, write_whole
from expkit.task.training import fit_phases
from expkit.tracking import Tracker
from expkit.trainer.evaluate import Evaluation
from expkit.trainer.loop import Observer, Trainer
from expkit.wiring import Run, assemble

if TYPE_CHECKING:
    from expkit.wiring import Kept

log = logging.getLogger("expkit")


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


def train_run(config: Config, folder: RunFolder, kept: "Kept", place: Place) -> float:
    """Train one run of a trial, with its log, metrics, traces and result.json in `folder`; gives the objective.

    It draws nothing, and leaves weights and predictions only where it is the best so far: both take their time.
    Raises TrialPruned where the pruner gives it up, Interrupted where the sweep is to stop, and whatever goes wrong.
    """
    with folder.held(), logging_to(folder.log):
        tracker: Tracker = build(config.tracking, folder, group="tracking")
        tracker.start()
        status, tags = "KILLED", {}
        try:
            value = train_to_end(config, folder, kept, place, tracker)
            status, tags = "FINISHED", {"trial_state": "COMPLETE"}
        except (optuna.TrialPruned, Interrupted) as end:
            log.info("%s", end)
            if isinstance(end, optuna.TrialPruned):
                status, tags = "FINISHED", {"trial_state": "PRUNED", "pruned": str(end)}
            raise
        except Exception as error:
            log.info("failed: %s", error, exc_info=not isinstance(error, UserError))
            status, tags = "FAILED", {"trial_state": "FAIL", "failed": str(error)}
            raise
        finally:
            tracker.finish(status, tags=tags)
        return value


def train_to_end(config: Config, folder: RunFolder, kept: "Kept", place: Place, tracker: Tracker) -> float:
    """Build, train and write the result."""
    began = time.monotonic()
    run = assemble(config, kept)
    log.info(run.describe())
    recorder = Recorder(folder, run.epochs * run.feed.epoch_steps, advice(config, run.trainer))
    best = BestEpoch(recorder, config.objective["metric"])
    reporting = Reporting(place, recorder, config.objective["metric"], run.epochs)
    with closing(run.feed), closing(recorder):
        fit_phases(run, folder, [recorder, best, reporting])
    result = result_of(config, run, recorder, tracker.run_id(), time.monotonic() - began)
    value = float(result["objective"]["value"])
    if place.repeat == place.repeats - 1 and place.leads(value):
        best.write(config, folder, run)
    write_json(folder.result, result)
    folder.trace_rows.unlink()
    return value


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

    def write(self, config: Config, folder: RunFolder, run: Run) -> None:
        """Write the weights that the objective chooses and the predictions of the best epoch, as any run has them."""
        if config.objective["at"] == "best":
            run.trainer.model.load_state_dict(self.weights)
            write_whole(folder.best_weights, partial(save_weights, run.trainer.model))
        export_weights(config, folder, run)
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
