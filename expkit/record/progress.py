"""What a person sees of a training run: a progress bar on a terminal, a line for each epoch elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from torch import Tensor

from expkit.record.recorder import Recorder
from expkit.trainer.evaluate import Evaluation
from expkit.trainer.loop import Observer, Trainer
from expkit.words import duration, figure

REFRESH = 0.25
"""Seconds between looks at the loss: reading it waits for the device."""
SILENCE = 60.0
"""Seconds after which an epoch that goes on says how far it is, where there is no bar."""


class ProgressBar(Observer):
    """Shows how training goes: a bar for the run on a terminal, else a line a minute; and one for each epoch."""

    def __init__(self, recorder: Recorder, epochs: int, epoch_steps: int) -> None:
        self.console = Console()
        self.recorder = recorder
        self.epochs = epochs
        self.steps = epochs * epoch_steps
        self.bar = Progress(
            TextColumn("[bold]epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[speed]}  {task.fields[left]} left"),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )

    def start(self, trainer: Trainer) -> None:
        """Show an empty bar, or a resumed run's."""
        self.began, self.first_step = time.monotonic(), trainer.state.step
        self.epoch_began, self.shown = self.began, 0.0 if self.console.is_terminal else self.began
        self.task = self.bar.add_task(
            "",
            total=self.steps,
            completed=trainer.state.step,
            epoch=trainer.state.epochs + 1,
            epochs=self.epochs,
            loss="-",
            speed="",
            left="-",
        )
        if self.console.is_terminal:
            self.bar.start()

    def after_step(self, trainer: Trainer, loss: Tensor) -> None:
        """Move the bar a few times a second, or say how far training is once a minute."""
        now = time.monotonic()
        if now - self.shown >= (REFRESH if self.console.is_terminal else SILENCE):
            self.shown = now
            self.show(trainer, f"{loss.item():.4f}")

    def show(self, trainer: Trainer, loss: str) -> None:
        """Draw the bar, or a line, with the time left, reckoned from all steps of this process."""
        done, spent = trainer.state.step - self.first_step, time.monotonic() - self.began
        left = spent / done * (self.steps - trainer.state.step)
        if not self.console.is_terminal:
            line = (
                f"epoch {trainer.state.epochs + 1}/{self.epochs}  step {trainer.state.step}/{self.steps}  loss {loss}  "
                f"{done / spent:.1f} steps/s  {duration(left)} left"
            )
            self.console.print(line, highlight=False, soft_wrap=True)
            return
        self.bar.update(
            self.task,
            completed=trainer.state.step,
            epoch=min(trainer.state.epochs + 1, self.epochs),
            loss=loss,
            speed=f"{done / spent:.1f} steps/s",
            left=duration(left),
        )
        self.bar.refresh()

    def while_evaluating(self, trainer: Trainer, images: int) -> None:
        """Say how far a long evaluation is, where there is no bar; once a minute, counted from the last line."""
        now = time.monotonic()
        if not self.console.is_terminal and now - self.shown >= SILENCE:
            self.shown = now
            done = trainer.state.epochs
            which = f"epoch {done + 1}/{self.epochs}, validation" if done < self.epochs else "evaluation over views"
            line = f"{which}: {images:,} images so far"
            self.console.print(line, highlight=False, soft_wrap=True)

    def after_epoch(self, trainer: Trainer, evaluation: Evaluation) -> None:
        """Print the epoch's losses and metrics."""
        now = time.monotonic()
        metrics = self.recorder.history[-1]
        names = ("train_loss", "valid_loss", "valid_accuracy", "valid_f1")
        values = "  ".join(f"{name} {metrics[name]:.4f}" for name in names)
        width = len(str(self.epochs))
        line = f"epoch {trainer.state.epochs:>{width}}/{self.epochs}  {values}  {duration(now - self.epoch_began)}"
        self.console.print(line, highlight=False, soft_wrap=True)
        self.epoch_began = now
        if not self.console.is_terminal:
            self.shown = now

    def close(self) -> None:
        """Take the bar away."""
        if self.console.is_terminal:
            self.bar.stop()


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
