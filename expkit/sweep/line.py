"""What a person sees of a sweep while it runs: one line with the best so far, or a line for each trial."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from expkit.config import Config
from expkit.interrupt import StopRequest
from expkit.sweep.jobs import Sweep
from expkit.sweep.study import FAILED, count, is_lost, points, wanted

PAUSE = 0.5
"""Seconds between looks at the study."""


class SweepLine:
    """Looks at the study in a thread of its own, shows how far it is, and passes a signal of the driver on."""

    def __init__(self, study: optuna.Study, sweep: Sweep, base: Config, request: StopRequest, mark: Path) -> None:
        self.study = study
        self.metric = base.objective["metric"]
        self.wanted = wanted(sweep.settings, sweep.search)
        self.points = None if sweep.settings.conditions else points(sweep.search)
        self.request = request
        self.mark = mark
        self.console = Console()
        self.told: set[int] = set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.bar = Progress(
            TextColumn("[bold]sweep"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
            refresh_per_second=4,  # each takes time from training in this process
        )

    def __enter__(self) -> Self:
        trials = self.study.get_trials(deepcopy=False)
        self.told = {trial.number for trial in trials if trial.state.is_finished()}
        finished = count(trials).finished
        begins = "going on with" if trials else "beginning"
        self.say(f"{begins} the study {self.study.study_name}: {finished} of {self.wanted} trials have finished")
        if self.points is not None and self.points < self.wanted:
            self.say(
                f"the space has {self.points} points only, so trials repeat; hydra.sweeper.sampler=grid runs each once"
            )
        self.task = self.bar.add_task("", total=self.wanted, completed=finished, best="")
        self.bar.start()
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self.thread.join()
        self.show()
        self.bar.stop()

    def watch(self) -> None:
        """Look again and again until the sweep ends."""
        while not self.ending.wait(PAUSE):
            self.pass_on()
            self.show()

    def pass_on(self) -> None:
        """Leave the driver's signal where the workers look for it."""
        if self.request.signal and not self.mark.exists():
            partial = self.mark.with_suffix(".partial")
            self.mark.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(str(self.request.signal))
            partial.replace(self.mark)

    def show(self) -> None:
        """Say what is new."""
        trials = self.study.get_trials(deepcopy=False)
        finished = count(trials).finished
        best = best_so_far(self.study, trials)
        so_far = f"best {self.metric} {best.value:.4f} (trial {best.number})" if best else ""
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self.told:
                self.told.add(trial.number)
                line = f"trial {trial.number}: {told(trial, self.metric)}"
                if not self.console.is_terminal:
                    self.say(f"{line}  [{so_far and f'{so_far}, '}{finished}/{self.wanted}]")
                elif trial.state == TrialState.FAIL:
                    self.say(line)
        self.bar.update(self.task, completed=finished, best=so_far)

    def say(self, line: str) -> None:
        """Print a line, above the bar."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)


def best_so_far(study: optuna.Study, trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The best of the trials that came to their end, the earliest of several."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    return min(complete, key=lambda trial: sign * value_of(trial), default=None)


def value_of(trial: FrozenTrial) -> float:
    """The objective of a trial that came to its end."""
    assert trial.value is not None
    return trial.value


def told(trial: FrozenTrial, metric: str) -> str:
    """How a trial ended, and with which params."""
    params = "  ".join(f"{key}={short(value)}" for key, value in trial.params.items())
    if trial.state == TrialState.COMPLETE:
        return f"{metric} {value_of(trial):.4f}  {params}"
    if trial.state == TrialState.PRUNED:
        return f"pruned after epoch {trial.last_step}  {params}"
    if is_lost(trial):
        return f"lost with its worker, runs again  {params}"
    return f"failed: {trial.user_attrs.get(FAILED, 'its worker died again and again')}  {params}"


def short(value: object) -> str:
    """A value of a param in few digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
