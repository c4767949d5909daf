"""What a run records: a row of traces for every step, and the metrics that tracking is fed from."""

import json
import logging
import math
import os
import time
from array import array
from collections.abc import Iterator, Mapping
from functools import partial
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.config.schema import BETTER
from expkit.errors import Diverged, UserError
from expkit.json_shapes import WHOLE_COPY, point_of
from expkit.run_folder import RunFolder
from expkit.trainer.evaluate import Evaluation
from expkit.trainer.hypers import hyper_of
from expkit.trainer.loop import Observer, Trainer
from expkit.whole_files import append, flush_folder, write_whole, writing

log = logging.getLogger(__name__)

POINTS = 1000
"""About so many points of a trace go to tracking; the parquet file has them all."""
FLUSH = 256
"""Steps between writes: the loop waits for the device's losses only then."""
CHUNK = 65_536
"""Rows held in memory while the parquet file is written."""


class Smoothed:
    """An exponentially weighted mean, debiased (fastai's smoothed loss)."""

    def __init__(self, beta: float = 0.98) -> None:
        self.beta, self.total, self.weight = beta, 0.0, 0.0

    def add(self, value: float) -> float:
        """Take in the next value; the mean so far."""
        self.total = self.beta * self.total + (1 - self.beta) * value
        self.weight = self.beta * self.weight + (1 - self.beta)
        return self.mean

    @property
    def mean(self) -> float:
        """The mean so far, NaN of nothing."""
        return self.total / self.weight if self.weight else math.nan


class Recorder(Observer):
    """Records loss and live hyperparameters of every step (traces) and the metrics of every epoch.

    Both files only grow, and a resumed run cuts the traces to its checkpoint and goes on. A metric that stands in
    metrics.jsonl already is not written again: the repeated steps of a resumed run give it the same value. What was
    lost of either, to a power cut for one, is written again as far as checkpoint and traces know it.

    Of a hyperparameter that is the same in all layer groups, tracking gets the trace of the first one. Where they come
    to differ, it gets the traces of all from the first step on.
    """

    def __init__(
        self,
        folder: RunFolder,
        total_steps: int,
        advice: str = "train with a smaller optim.lr",
        metric: str = "valid_accuracy",
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        """`saved` is the `state_dict` in the checkpoint that the run goes on from; one of an older version has none."""
        self.folder = folder
        self.saved = saved
        self.metric = metric
        """What the best epoch is best in."""
        self.advice = advice
        """What to do where a loss is no number."""
        self.last_step = total_steps - 1
        self.stride = max(1, math.ceil(total_steps / POINTS))
        self.history: list[dict[str, float]] = []
        self.averaged: dict[str, float] = {}
        """The metrics averaged over augmented views."""
        self.losses: list[Tensor] = []
        self.warned = False
        self.started = False
        self.is_listed = False
        """Whether the folder's own entries of its files are on the disk."""
        self.hypers = array("d")
        self.lines: list[str] = []

    def start(self, trainer: Trainer) -> None:
        """Open the files where the state stands, and read back what they hold up to there."""
        state = trainer.state
        self.live, self.names, self.tracked = trainer.hypers.read, trainer.hypers.columns, trainer.hypers.tracked
        self.width = 1 + len(self.names)
        self.groups: dict[str, list[int]] = {}
        for place, name in enumerate(self.names, 1):
            self.groups.setdefault(hyper_of(name), []).append(place)
        self.written, history = read_metrics(self.folder, 0 if self.saved else state.epochs)
        self.apart = {hyper_of(name) for name in self.names if f"hp/{name}" in self.written and not name.endswith("_0")}
        with writing(self.folder.metrics):
            self.metrics = FileIO(self.folder.metrics, "a")
        with writing(self.folder.trace_rows):
            self.rows = FileIO(self.folder.trace_rows, "a")
        self.smoothed = Smoothed()
        self.flushed = 0
        for rows in trace_chunks(self.folder, self.width, self.held(state.step)):
            self.take(rows)
            self.apart |= self.differing(rows)
        self.leave_gap(state.step - self.flushed)
        self.rows.truncate(state.step * self.width * 8)
        self.catch_up(self.apart)
        if self.saved:
            history = self.saved["history"]
            self.smoothed.total, self.smoothed.weight = self.saved["smoothed"]
            self.train_loss = self.smoothed.mean
        for metrics in history:
            self.add_epoch(metrics)
        self.write_lines()
        self.started = True

    def held(self, steps: int) -> int:
        """How many of the first `steps` steps the traces hold: all, unless the checkpoint does without them."""
        return min(steps, rows_in(self.folder, self.width)) if self.saved else steps

    def leave_gap(self, steps: int) -> None:
        """Leave empty what is lost of the traces before the checkpoint, and say so."""
        if steps == 0:
            return
        first, last = self.flushed, self.flushed + steps - 1
        log.warning(
            "%s is not whole: steps %d to %d will be missing in %s; the weights and metrics of the run are not touched",
            *(self.folder.trace_rows, first, last, self.folder.traces.name),
        )
        self.rows.truncate(first * self.width * 8)
        while self.flushed <= last:
            rows = min(CHUNK, last + 1 - self.flushed)
            append(self.rows, np.full((rows, self.width), np.nan).tobytes())
            self.flushed += rows

    def state_dict(self) -> dict[str, Any]:
        """What the files say up to here, for the checkpoint: so no weights are lost where the files are."""
        return {"history": self.history, "smoothed": [self.smoothed.total, self.smoothed.weight]}

    def sync(self) -> None:
        """Have the steps and metrics so far on the disk: a checkpoint that outlives a power cut presupposes them."""
        for file in (self.rows, self.metrics):
            with writing(Path(str(file.name))):
                os.fsync(file.fileno())
        if not self.is_listed:
            flush_folder(self.folder.path)
            self.is_listed = True

    def after_step(self, trainer: Trainer, loss: Tensor) -> None:
        """Take the step's loss and the hyperparameters that the optimizer holds."""
        self.losses.append(loss)
        self.hypers.extend(self.live())
        if len(self.losses) >= FLUSH:
            self.flush()

    def after_epoch(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Write the metrics of the epoch."""
        self.flush()
        self.add_epoch({"train_loss": self.train_loss, **evaluation.metrics})
        self.write_lines()
        loss = self.history[-1]["valid_loss"]
        if not math.isfinite(loss) and not self.warned:
            self.warned = True
            log.warning(
                "the validation loss became %s in epoch %d, which is passed over where the best is chosen: %s",
                *(loss, trainer.state.epochs, self.advice),
            )

    def add_epoch(self, metrics: dict[str, float]) -> None:
        """Write the metrics of the next epoch, and where it is the best so far, that: the last such is of the run."""
        self.history.append(metrics)
        epoch, value = len(self.history), metrics[self.metric]
        self.write(metrics, epoch)
        if math.isfinite(value) and best_epoch(self.history, self.metric) == epoch:
            self.write({f"best_{self.metric}": value, "best_epoch": epoch}, epoch)

    def after_views(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Write the metrics of a test-time augmentation, as tta_loss, tta_accuracy and so on."""
        self.averaged = evaluation.metrics
        named = {name.replace("valid_", "tta_"): value for name, value in self.averaged.items()}
        self.write(named, trainer.state.epochs)
        self.write_lines()

    def flush(self) -> None:
        """Write all steps so far; raises Diverged where the loss is no number any more."""
        if not self.losses:
            return
        losses = torch.stack(self.losses).tolist()
        rows = np.empty((len(losses), self.width))
        rows[:, 0] = losses
        rows[:, 1:] = np.frombuffer(self.hypers).reshape(len(losses), -1)
        self.losses, self.hypers = [], array("d")
        if new := self.differing(rows) - self.apart:
            self.catch_up(new)
            self.apart |= new
        append(self.rows, rows.tobytes())
        self.take(rows)
        self.write_lines()
        if not math.isfinite(self.train_loss):
            bad = int(np.argmin(np.isfinite(rows[:, 0])))
            hypers = zip(self.names, rows[bad, 1:].tolist(), strict=True)
            rates = [value for name, value in hypers if name.startswith("lr_") and not math.isnan(value)]
            lrs = ", ".join(f"{rate:.3g}" for rate in rates)
            raise Diverged(
                f"the training loss became {rows[bad, 0]} at step {self.flushed - len(rows) + bad}, where the learning "
                f"rates were {lrs}: {self.advice}"
            )

    def take(self, rows: NDArray[np.float64]) -> None:
        """Smooth the losses of the next steps, and make the points of those that tracking gets; a gap has none."""
        shown = [
            (f"hp/{self.names[place - 1]}", place)
            for name, places in self.groups.items()
            if name in self.tracked
            for place in (places if name in self.apart else places[:1])
        ]
        gap = is_gap(rows)
        for number, loss in enumerate(rows[:, 0].tolist(), start=self.flushed):
            if gap[number - self.flushed]:
                continue
            self.train_loss = self.smoothed.add(loss)
            if number % self.stride == 0 or number == self.last_step:
                row = rows[number - self.flushed].tolist()
                point = {name: row[place] for name, place in shown if not math.isnan(row[place])}
                self.write({"batch/train_loss": self.train_loss, **point}, number)
        self.flushed += len(rows)

    def differing(self, rows: NDArray[np.float64]) -> set[str]:
        """The hyperparameters that are not the same in all layer groups."""
        apart = set()
        for name, places in self.groups.items():
            first = np.broadcast_to(rows[:, places[:1]], (len(rows), len(places)))
            if not np.array_equal(rows[:, places], first, equal_nan=True):
                apart.add(name)
        return apart

    def catch_up(self, names: set[str]) -> None:
        """Write the steps so far of the further layer groups of hyperparameters that come to differ."""
        later = [place for name in names & self.tracked for place in self.groups[name][1:]]
        start = 0
        for rows in trace_chunks(self.folder, self.width, self.flushed) if later else ():
            for number in range(start + -start % self.stride, start + len(rows), self.stride):
                row = rows[number - start].tolist()
                own = {f"hp/{self.names[place - 1]}": row[place] for place in later if not math.isnan(row[place])}
                self.write(own, number)
            start += len(rows)

    def write(self, metrics: dict[str, float], step: int) -> None:
        """Make a line for each metric that is not there yet."""
        now = int(time.time() * 1000)
        for name, value in metrics.items():
            if step > self.written.get(name, -1):
                number = json.dumps(value)  # of the whole line it would take several times as long
                self.lines.append(f'{{"name": "{name}", "value": {number}, "step": {step}, "timestamp": {now}}}\n')
                self.written[name] = step

    def write_lines(self) -> None:
        """Write the lines that were made."""
        lines, self.lines = self.lines, []
        append(self.metrics, "".join(lines).encode())

    def close(self) -> None:
        """Write what is left, and the traces as parquet; nothing where the start failed, which is what is told then."""
        if not self.started:
            return
        try:
            self.flush()
        finally:
            self.metrics.close()
            self.rows.close()
        write_whole(self.folder.traces, partial(write_traces, self.folder, self.names))


def best_epoch(history: list[dict[str, float]], metric: str) -> int:
    """The epoch, from 1, in which `metric` was best; the earliest of several.

    Last come epochs where that is no number, or the validation loss is none: of such logits, the rest says nothing.
    """
    sign = 1 if BETTER[metric] == "min" else -1
    values = [
        sign * epoch[metric]
        if math.isfinite(epoch[metric]) and math.isfinite(epoch.get("valid_loss", 0.0))
        else math.inf
        for epoch in history
    ]
    return values.index(min(values)) + 1


def read_metrics(folder: RunFolder, epochs: int) -> tuple[dict[str, int], list[dict[str, float]]]:
    """The last step written of each metric, and the metrics of the first `epochs` epochs, from metrics.jsonl.

    A line that a killed run left half written is cut off. Raises UserError, naming the line, for any other that is
    damaged, and where metrics of an epoch are missing.
    """
    written: dict[str, int] = {}
    history: list[dict[str, float]] = [{} for _ in range(epochs)]
    whole = 0
    with open(folder.metrics, "rb+") if folder.metrics.exists() else BytesIO() as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                file.truncate(whole)
                break
            whole += len(line)
            name, value, step, _ = point_of(line, f"{folder.metrics}, line {number},")
            written[name] = step
            if name in BETTER and 1 <= step <= epochs:
                history[step - 1][name] = value
    for epoch, metrics in enumerate(history, start=1):
        if lacking := BETTER.keys() - metrics.keys():
            raise UserError(f"{folder.metrics} has no {min(lacking)} of epoch {epoch}: {WHOLE_COPY}")
    return written, history


def trace_chunks(folder: RunFolder, width: int, steps: int) -> Iterator[NDArray[np.float64]]:
    """The first `steps` rows of the traces (loss, then hyperparameters), a chunk at a time.

    Raises UserError where the file holds fewer.
    """
    if steps == 0:
        return
    held = rows_in(folder, width)
    if held < steps:
        raise UserError(
            f"{folder.trace_rows} holds {held} steps but the checkpoint {steps}, so it is not whole: {WHOLE_COPY}"
        )
    rows = np.memmap(folder.trace_rows, dtype=np.float64, mode="r", shape=(steps, width))
    for start in range(0, steps, CHUNK):
        yield np.asarray(rows[start : start + CHUNK])


def rows_in(folder: RunFolder, width: int) -> int:
    """How many whole rows of `width` values the traces hold."""
    return folder.trace_rows.stat().st_size // (8 * width) if folder.trace_rows.exists() else 0


def is_gap(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows stand for steps that were lost: they have no loss and no rate either."""
    lost: NDArray[np.bool_] = np.logical_and.reduce(np.isnan(rows), axis=1)
    return lost


def write_traces(folder: RunFolder, names: list[str], path: Path) -> None:
    """Write the traces as parquet: step, train_loss, its smoothed mean, and every hyperparameter of every group.

    A group has none in steps in which nothing of it trained, and nothing has any in steps that were lost.
    """
    width = 1 + len(names)
    steps = rows_in(folder, width)
    schema = pa.schema(
        [("step", pa.int64()), *((name, pa.float64()) for name in ("train_loss", "train_loss_smoothed", *names))]
    )
    smoothed, step = Smoothed(), 0
    with pq.ParquetWriter(path, schema) as writer:
        for rows in trace_chunks(folder, width, steps):
            gap = is_gap(rows)
            mean = [None if lost else smoothed.add(loss) for loss, lost in zip(rows[:, 0].tolist(), gap, strict=True)]
            hypers = [pa.array(column, from_pandas=True) for column in rows[:, 1:].T]
            columns = [
                np.arange(step, step + len(rows)),
                pa.array(rows[:, 0], mask=gap),
                pa.array(mean, pa.float64()),
                *hypers,
            ]
            writer.write_table(pa.table(columns, schema=schema))
            step += len(rows)
