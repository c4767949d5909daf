"""What a person sees of a training run: a row of figures for each epoch, and a bar where one can move."""

import time
from collections.abc import Mapping

from rich.table import Table
from torch import Tensor

from expkit.bar import Bar
from expkit.record.recorder import Recorder
from expkit.trainer.evaluate import Evaluation
from expkit.trainer.loop import Observer, Trainer
from expkit.words import duration, figure

SHOWN = ("train_loss", "valid_loss", "valid_accuracy", "valid_f1")
"""The metrics of an epoch that are shown."""


class ProgressBar(Observer):
    """Shows how training goes: a bar for the run, or a line a minute where none can move; and a line for each epoch."""

    def __init__(self, recorder: Recorder, epochs: int, epoch_steps: int, images: int, views: int = 0) -> None:
        """Take the lengths: of validation in images, and of the evaluation at the end in augmented views of these."""
        self.recorder = recorder
        self.epochs = epochs
        self.images, self.views = images, views
        self.bar = Bar(epochs * epoch_steps)
        self.has_head = False

    def start(self, trainer: Trainer) -> None:
        """Show an empty bar, or a resumed run's."""
        self.began, self.first_step = time.monotonic(), trainer.state.step
        self.epoch_began = self.began
        if self.bar.moves:
            self.bar.show(trainer.state.step, self.epoch(trainer), "", "")

    def after_step(self, trainer: Trainer, loss: Tensor) -> None:
        """Move the bar a few times a second, or say how far training is once a minute."""
        if self.bar.is_due:
            self.show(trainer, loss.item())  # reading it waits for the device

    def show(self, trainer: Trainer, loss: float) -> None:
        """Draw the bar, or a line, with the time left, reckoned from all steps of this process."""
        step, steps = trainer.state.step, self.bar.total or 0
        done, spent = step - self.first_step, time.monotonic() - self.began
        left = duration(spent / done * (steps - step))
        told = f"loss {loss:.4f}  {done / spent:.1f} steps/s  {left} left"
        what = self.epoch(trainer)
        self.bar.show(step, what, told, f"{what}  step {step}/{steps}  {told}")

    def epoch(self, trainer: Trainer) -> str:
        """Which epoch it is."""
        return f"epoch {min(trainer.state.epochs + 1, self.epochs)}/{self.epochs}"

    def while_evaluating(self, trainer: Trainer, images: int) -> None:
        """Show how far an evaluation is, by a bar of its own, or a line a minute, counted from the last one."""
        if not self.bar.is_due:
            return
        is_validation = trainer.state.epochs < self.epochs
        total = self.images if is_validation else self.images * (1 + self.views)
        what = f"{self.epoch(trainer)}, validation" if is_validation else "evaluation over views"
        self.bar.show(images, what, "images", f"{what}: {images:,} of {total:,} images", total=total)

    def after_epoch(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Print the epoch's losses and metrics."""
        now = time.monotonic()
        metrics = {name: f"{self.recorder.history[-1][name]:.4f}" for name in SHOWN}
        took = duration(now - self.epoch_began)
        self.epoch_began = now
        row = {"epoch": f"{trainer.state.epochs}/{self.epochs}", **metrics, "time": took}
        self.bar.add(row, self.under_head(row) if self.bar.moves else in_line(row))

    def under_head(self, row: Mapping[str, str]) -> str:
        """A row of a table that a terminal of 80 columns takes, with the head above the first."""
        widths = {name: max(len(name), 2 * len(str(self.epochs)) + 1, len("59.9 s")) for name in row}
        lines = [row] if self.has_head else [{name: name for name in row}, row]
        self.has_head = True
        return "\n".join("  ".join(f"{cell:>{widths[name]}}" for name, cell in line.items()) for line in lines)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


def in_line(row: Mapping[str, str]) -> str:
    """A row as a line that says what its figures are, for a file in which others come between."""
    *told, took = row.items()
    return "  ".join([*(f"{name} {cell}" for name, cell in told), took[1]])


def result_table(metrics: dict[str, dict[str, float | None]], best_epoch: int) -> Table:
    """The metrics of the last and of the best epoch side by side, and those averaged over augmented views."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "last", f"best (epoch {best_epoch})"):
        table.add_column(column, justify="left" if not column else "right")
    columns = [metrics["last"], metrics["best"]]
    if "tta" in metrics:
        table.add_column("averaged over views", justify="right")
        columns.append(metrics["tta"])
    for name in metrics["last"]:
        table.add_row(name, *(figure(column[name]) if name in column else "" for column in columns))
    return table
