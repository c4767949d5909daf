"""Checkpoints: written whole or not at all, read without running code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from expkit.config import BETTER
from expkit.data.items import Data, Images
from expkit.errors import UserError
from expkit.evaluate import Evaluation
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
            save_weights(trainer.model, self.folder.best_weights)
            table = prediction_table(evaluation, self.data.valid, self.data.classes)
            write_whole(self.folder.predictions, lambda path: pq.write_table(table, path))


class Checkpoints(Observer):
    """Saves the trainer's state at each epoch, every `checkpoint_every` steps and at a stop."""

    def __init__(self, folder: RunFolder, recorder: Recorder) -> None:
        self.folder = folder
        self.recorder = recorder

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
        state = trainer.state_dict()
        write_whole(self.folder.last_checkpoint, lambda path: torch.save(state, path))


def save_weights(model: nn.Module, path: Path) -> None:
    """Save a model's tensors by name as safetensors."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_whole(path, lambda partial: save_file(weights, partial))


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
    """The epoch, from 1, in which `metric` was best; the earliest of several."""
    values = [epoch[metric] for epoch in history]
    return values.index(min(values) if BETTER[metric] == "min" else max(values)) + 1


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state saved in a checkpoint; no code in the file is run.

    Raises UserError for a file that is no checkpoint or holds more than tensors and plain values.
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for a file that is damaged or holds code
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}); remove it to begin the run anew") from error
    return saved
