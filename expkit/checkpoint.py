"""Checkpoints: written whole or not at all, read without running code."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from expkit.config import BETTER
from expkit.data.items import Data, Images
from expkit.errors import UserError
from expkit.evaluate import Evaluation
from expkit.model.weights import save_weights
from expkit.recorder import Recorder
from expkit.run_folder import RunFolder, write_whole
from expkit.trainer.loop import Observer, Trainer


class Best(Observer):
    """Keeps the weights and the validation predictions of the best epoch so far."""

    def __init__(self, folder: RunFolder, recorder: Recorder, metric: str, data: Data) -> None:
        self.folder = folder
        self.recorder = recorder
        self.metric = metric
        self.data = data

    def after_epoch(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Save both where the epoch that just ended is the best."""
        if best_epoch(self.recorder.history, self.metric) == trainer.state.epochs:
            write_whole(self.folder.best_weights, partial(save_weights, trainer.model))
            table = prediction_table(evaluation, self.data.valid, self.data.classes)
            write_whole(self.folder.predictions, lambda path: pq.write_table(table, path))


class Checkpoints(Observer):
    """Saves the trainer's state at each epoch, every `checkpoint_every` steps and at a stop."""

    def __init__(self, folder: RunFolder, recorder: Recorder, fingerprint: str) -> None:
        self.folder = folder
        self.recorder = recorder
        self.fingerprint = fingerprint

    def after_step(self, trainer: Trainer, loss: Tensor) -> None:
        """Save where `checkpoint_every` says so."""
        if trainer.checkpoint_every and trainer.state.step % trainer.checkpoint_every == 0:
            self.save(trainer)

    def after_epoch(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Save at the end of each epoch."""
        self.save(trainer)

    def on_stop(self, trainer: Trainer) -> None:
        """Save at the step where training stops."""
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save the state, after the traces that lead to it."""
        self.recorder.flush()
        state = trainer.state_dict() | {"fingerprint": self.fingerprint}
        write_whole(self.folder.last_checkpoint, lambda path: torch.save(state, path))


def prediction_table(evaluation: Evaluation, images: Images, classes: Sequence[str]) -> pa.Table:
    """A row for each image: its name, label, prediction, the probability of that, and the loss."""
    names = np.array(classes)
    return pa.table(
        {
            "file": [images.name(index) for index in range(len(images))],
            "label": names[evaluation.labels],
            "prediction": names[evaluation.predictions],
            "confidence": evaluation.confidences,
            "loss": evaluation.losses,
        }
    )


def best_epoch(history: list[dict[str, float]], metric: str) -> int:
    """The epoch, from 1, in which `metric` was best; the earliest of several, and one that is no number last."""
    sign = 1 if BETTER[metric] == "min" else -1
    values = [math.inf if math.isnan(epoch[metric]) else sign * epoch[metric] for epoch in history]
    return values.index(min(values)) + 1


def load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any]:
    """The state saved in a checkpoint of a run on the data with this fingerprint; no code in the file is run.

    Raises UserError for a file that is no checkpoint or holds more than tensors and plain values, and for data that
    changed since.
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for a file that is damaged or holds code
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}); remove it to begin the run anew") from error
    if saved["fingerprint"] != fingerprint:
        raise UserError(
            f"the data changed since {path} was saved (its fingerprint was {saved['fingerprint']}, now {fingerprint}): "
            "bring the files back as they were, or begin a new run"
        )
    return saved
