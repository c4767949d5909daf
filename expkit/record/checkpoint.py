"""Checkpoints: written whole or not at all, read without running code."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from expkit.check import NotNegativeInt
from expkit.command import command
from expkit.data.items import Data, Images
from expkit.errors import UserError
from expkit.json_shapes import WHOLE_COPY, Shape, misfit
from expkit.model.weights import read_weights, save_weights
from expkit.optim import rules
from expkit.record.recorder import Recorder, best_epoch
from expkit.run_folder import RunFolder
from expkit.torch_file import HoldsCode, Unreadable, load_torch, save_torch
from expkit.trainer.evaluate import Evaluation
from expkit.trainer.loop import Observer, Trainer
from expkit.whole_files import write_whole, writing
from expkit.words import many

log = logging.getLogger(__name__)

SHAPE: Shape = {
    "fingerprint": str,
    "state": {
        **dict.fromkeys(("phase", "epoch", "batch", "step", "epochs"), NotNegativeInt),
        "seconds": float,
        "found": dict[str, float],
    },
    "model": dict[str, Tensor],
    "optimizer": {
        "kind": str,
        "groups": dict[str, list[str]],
        "state": dict[str, dict[str, Any]],
        "hypers": dict[str, list[float]],
        "frozen": NotNegativeInt,
    },
}
"""What last.pt holds: without any of it a run would begin anew, or from other averages, in silence."""
RECORD: Shape = {"record": {"history": list[dict[str, float]], "smoothed": list[float]}}
"""And what a recorder goes on from, which checkpoints of older versions leave to the run's other files."""


class Damaged(UserError):
    """A checkpoint that is not whole."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem}: {advice}")
        self.problem = problem


class Best(Observer):
    """Keeps the weights and the validation predictions of the best epoch so far, and has noted how they are used."""

    def __init__(
        self, folder: RunFolder, recorder: Recorder, metric: str, data: Data, note: Callable[[int], None]
    ) -> None:
        """`note` is called with an epoch, from 1, once it is the best: each phase may read images in its own way."""
        self.folder = folder
        self.note = note
        self.recorder = recorder
        self.metric = metric
        self.data = data

    def start(self, trainer: Trainer) -> None:
        """Make sure that what is kept of the epochs before a resume is whole: it may be all that is exported."""
        if not trainer.state.epochs:
            return
        read_weights(self.folder.best_weights, key="")
        try:
            pq.read_metadata(self.folder.predictions)
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{self.folder.predictions} is missing or damaged: {WHOLE_COPY}") from error

    def after_epoch(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Save both where the epoch that just ended is the best."""
        if best_epoch(self.recorder.history, self.metric) == trainer.state.epochs:
            write_whole(self.folder.best_weights, partial(save_weights, trainer.model))
            table = prediction_table(evaluation, self.data.valid, self.data.classes)
            write_whole(self.folder.predictions, lambda path: pq.write_table(table, path))
            self.note(trainer.state.epochs)


class Checkpoints(Observer):
    """Saves the trainer's state at each epoch, every `checkpoint_every` steps and at a stop."""

    def __init__(self, folder: RunFolder, recorder: Recorder, fingerprint: str, epoch_steps: int) -> None:
        self.folder = folder
        self.recorder = recorder
        self.facts = {"fingerprint": fingerprint, "epoch_steps": epoch_steps}

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
        """Save the state, after the traces that lead to it; the checkpoint before stays until there is another."""
        self.recorder.flush()
        self.recorder.sync()
        state = trainer.state_dict() | self.facts | {"record": self.recorder.state_dict()}
        write_whole(self.folder.last_checkpoint, partial(self.write, state))

    def write(self, state: Mapping[str, Any], path: Path) -> None:
        """Write a checkpoint at `path`, and only then make way for it."""
        save_torch(state, path)
        if self.folder.last_checkpoint.exists():
            with writing(self.folder.earlier_checkpoint):
                os.replace(self.folder.last_checkpoint, self.folder.earlier_checkpoint)


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


def newest_checkpoint(
    folder: RunFolder, fingerprint: str, epoch_steps: int, *, accept_data: bool = False
) -> dict[str, Any] | None:
    """What the newest whole checkpoint of a run holds (`load_checkpoint`), None where it has none yet.

    Where that is not the last one that was written, a warning says so, and what is damaged is put aside: it would take
    the place of the whole one at the next step. Raises UserError where none is whole, and as `load_checkpoint` does.
    """
    last, earlier = folder.last_checkpoint, folder.earlier_checkpoint
    load = partial(load_checkpoint, fingerprint=fingerprint, epoch_steps=epoch_steps, accept_data=accept_data)
    if last.exists():
        try:
            return load(last)
        except Damaged as error:
            if not earlier.exists():
                raise
            try:
                saved = load(earlier)
            except Damaged as other:
                anew = f"remove both, and  {command(f'resume={folder.path}')}  trains from the beginning"
                problem = f"{error.problem}, and the one before is no better: {other.problem}"
                raise Damaged(problem, f"bring a whole copy of either, or {anew}") from error
            aside = last.with_name(f".damaged_{time.time_ns()}.pt")
            os.replace(last, aside)
            log.warning("%s; it is kept as %s, and the run goes on from the checkpoint before", error.problem, aside)
            return saved
    if not earlier.exists():
        return None
    log.warning("%s is missing, as after a power cut; the run goes on from the checkpoint before, %s", last, earlier)
    return load(earlier)


def load_checkpoint(path: Path, fingerprint: str, epoch_steps: int, *, accept_data: bool = False) -> dict[str, Any]:
    """The state saved in a checkpoint of a run on the data with this fingerprint; no code in the file is run.

    With `accept_data`, data that changed are taken as they are now, as long as an epoch has as many steps.
    Raises Damaged for a file that is no whole checkpoint, UserError for one that holds more than tensors and plain
    values, and for data that changed since.
    """
    again = f"remove it, and  {command(f'resume={path.parents[1]}')}  trains from the beginning"
    try:
        saved = load_torch(path)
    except HoldsCode as error:
        raise UserError(f"the checkpoint {path} {error}: bring a whole copy, or {again}") from error
    except Unreadable as error:
        raise Damaged(f"the checkpoint {path} {error}", f"bring a whole copy, or {again}") from error
    if not isinstance(saved, dict) or not saved.keys() >= SHAPE.keys():
        raise Damaged(f"{path} is no checkpoint of a run", f"bring the one that was there, or {again}")
    if problem := misfit(saved, {**SHAPE, **RECORD}) or contradiction(saved, epoch_steps):
        raise Damaged(f"{path} is no whole checkpoint ({problem})", f"bring the one that was there, or {again}")
    if saved["fingerprint"] == fingerprint:
        return saved
    changed = f"the data changed since {path} was saved (its fingerprint was {saved['fingerprint']}, now {fingerprint})"
    if saved.get("epoch_steps") != epoch_steps:
        was = f"an epoch had {saved.get('epoch_steps')} steps and has {epoch_steps} now"
        skipped = "move a mended image that was skipped elsewhere"
        raise UserError(f"{changed}, and {was}: bring the files back as they were ({skipped}), or begin a new run")
    if not accept_data:
        raise UserError(
            f"{changed}: bring the files back as they were, begin a new run, or, where an image was mended, go on with "
            f"the data as they are now:  {command(f'resume={path.parents[1]}', 'resume.allow=[data]')}"
        )
    return saved


def contradiction(saved: Mapping[str, Any], epoch_steps: int) -> str | None:
    """What in a checkpoint of this shape cannot be, None where all of it can."""
    state, optimizer = saved["state"], saved["optimizer"]
    if saved.get("epoch_steps") == epoch_steps and state["step"] != state["epochs"] * epoch_steps + state["batch"]:
        return (
            f"step {state['step']} is not in epoch {state['epochs'] + 1}, of {many(epoch_steps, 'step', 'steps')} each"
        )
    goes_on = state["epoch"] > 0 or state["batch"] > 0
    if goes_on and not optimizer["state"] and keeps_averages(optimizer["kind"], optimizer["hypers"]):
        return f"the averages of {optimizer['kind']} are gone"
    return None


def keeps_averages(kind: str, hypers: Mapping[str, Sequence[float]]) -> bool:
    """Whether an optimizer of torch or of expkit has a state of its parameters once it has stepped."""
    known = hasattr(torch.optim, kind) or hasattr(rules, kind)
    return known and (kind != "SGD" or any(hypers.get("mom", ())))
