"""What a person sees of a sweep while it runs: one line with the best so far, or a line for each trial."""

import contextvars
import threading
import time
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from expkit.bar import Bar
from expkit.causes import cause_of
from expkit.config.schema import Config
from expkit.interrupt import StopRequest
from expkit.sweep.patience import reason_of
from expkit.sweep.space.jobs import Sweep
from expkit.sweep.study import FAILED, INTERRUPTED, STOPPED, best_so_far, count, is_lost, points, value_of, wanted
from expkit.sweep.work.stop import Stop
from expkit.words import duration

PAUSE = 0.5
"""Seconds between looks at the study."""


class SweepLine:
    """Looks at the study in a thread of its own, shows how far it is, and passes a signal of the driver on."""

    def __init__(self, study: optuna.Study, sweep: Sweep, base: Config, request: StopRequest, stop: Stop) -> None:
        self.study = study
        self.metric = base.objective["metric"]
        self.wanted = wanted(sweep.settings, sweep.search)
        self.points = None if sweep.settings.conditions else points(sweep.search)
        self.request = request
        self.stop = stop
        self.bar = Bar(self.wanted)
        self.told: set[int] = set()
        self.trouble = ""
        """Why the last look failed."""
        self.ending = threading.Event()
        # In the context of this thread: what is said there goes where it goes here, in a notebook to the same cell.
        watch = partial(contextvars.copy_context().run, self.watch)
        self.thread = threading.Thread(target=watch, daemon=True)
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        trials = self.study.get_trials(deepcopy=False)
        self.told = {trial.number for trial in trials if trial.state.is_finished()}
        finished = count(trials).finished
        begins = "going on with" if trials else "beginning"
        self.bar.say(f"{begins} the study {self.study.study_name}: {finished} of {self.wanted} trials have finished")
        if self.points is not None and self.points < self.wanted:
            self.bar.say(
                f"the space has {self.points} points only, so trials repeat; hydra.sweeper.sampler=grid runs each once"
            )
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self.thread.join()
        self.look()
        self.bar.close()

    def watch(self) -> None:
        """Look again and again until the sweep ends."""
        while not self.ending.wait(PAUSE):
            if self.request.signal:
                self.stop.ask(self.request.signal)
            self.look()

    def look(self) -> None:
        """Say what is new; where that fails, say so once and look again: a signal must reach the workers."""
        try:
            self.show()
            self.trouble = ""
        except Exception as error:  # whatever a database has, or a terminal that is gone
            reason = f"{cause_of(error)} ({reason_of(error)})"
            if reason != self.trouble:
                self.trouble = reason
                with suppress(OSError):
                    self.bar.say(f"the study cannot be looked at: {reason}")

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
                if not self.bar.moves:
                    self.bar.say(f"{line}  [{so_far and f'{so_far}, '}{finished}/{self.wanted}]")
                elif trial.state == TrialState.FAIL:
                    self.bar.say(line)
        if self.bar.moves:
            self.bar.show(finished, "sweep", f"{so_far}  {duration(time.monotonic() - self.began)}", "")


def told(trial: FrozenTrial, metric: str) -> str:
    """How a trial ended, and with which params."""
    params = "  ".join(f"{key}={short(value)}" for key, value in trial.params.items())
    if trial.state == TrialState.COMPLETE:
        return f"{metric} {value_of(trial):.4f}  {params}"
    if trial.state == TrialState.PRUNED:
        return f"pruned after epoch {trial.last_step}  {params}"
    if not is_lost(trial):
        return f"failed: {trial.user_attrs[FAILED]}  {params}"
    if STOPPED in trial.user_attrs:
        return f"stopped, runs again: {trial.user_attrs[STOPPED]}  {params}"
    how = "stopped by a signal" if INTERRUPTED in trial.user_attrs else "lost with its worker"
    return f"{how}, runs again  {params}"


def short(value: object) -> str:
    """A value of a param in few digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
