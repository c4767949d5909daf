"""The driver of a sweep: it checks everything, opens the study, starts workers, and says what came of it."""

import copy
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from expkit import interrupt
from expkit.build import build
from expkit.command import override
from expkit.config.composed import experiment, written
from expkit.config.plan import epochs_of
from expkit.config.schema import Config
from expkit.errors import UserError, first_ten
from expkit.run_folder import RUN_FILES, refuse_others
from expkit.secrets import typed_overrides
from expkit.sweep.space.composing import Composer
from expkit.sweep.space.grammar import read_search
from expkit.sweep.space.jobs import Sweep, hide_password
from expkit.sweep.space.legality import DIRECTIONS, check_sweep, searches
from expkit.sweep.space.settings import read_settings
from expkit.sweep.work.launching import launch
from expkit.sweep.work.stop import Stop
from expkit.sweep.work.worker import Ended, Worker
from expkit.tracking import Tracker, make_parent
from expkit.urls import absolute, hide, sqlite_url
from expkit.whole_files import write_whole

if TYPE_CHECKING:
    import optuna

    from expkit.sweep.storage import Store

STUDY_FILES = (
    *("best", "end.json", "metrics.jsonl", "multirun.yaml", "optimization_results.yaml", "plots", "report.html"),
    *("run.json", "tracking.json", "trials.csv", "trials.parquet"),
)
"""What a study writes in its folder, beside its database and its trials."""


class StudySweeper(Sweeper):
    """Hydra's side of the driver."""

    def __init__(self, **keys: Any) -> None:
        """Take the keys of `hydra.sweeper`; they are read from the composed config again, where they can be checked."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what workers need; they run trials in place of `task_function`."""
        self.context = hydra_context
        self.composed = config

    def sweep(self, arguments: list[str]) -> None:
        """Search with the overrides of the command line."""
        run_sweep(*prepare(self.context, self.composed, arguments))


def prepare(context: HydraContext, config: DictConfig, arguments: list[str]) -> tuple[Sweep, Config]:
    """The sweep that a command line asks for, and its checked base config; nothing is written yet.

    Raises UserError for whatever is wrong with it, naming the key.
    """
    settings = read_settings(config.hydra.sweeper)
    pin_name(config, settings.study_name)
    search = read_search(settings.params, arguments, context.config_loader)
    base, added = check_sweep(context, config, settings, search)

    from expkit.sweep.space.samplers import make_pruner, make_sampler

    make_sampler(settings, search)
    make_pruner(settings, epochs_of(base))
    folder = Path(config.hydra.sweep.dir).resolve()
    refuse_files_of_others(folder)
    storage = absolute(settings.storage) if settings.storage else sqlite_url(folder / "study.db")
    shown = copy.deepcopy(config)
    hide_password(shown)
    told = searches(base, settings, search, added)
    return Sweep(context, shown, settings, search, folder, storage, told), base


def pin_name(config: DictConfig, name: str) -> None:
    """Call the study so in the configs of its trials, too: each searches nothing itself, and Hydra composes it anew."""
    with read_write(config), open_dict(config):
        config.hydra.sweeper.study_name = name
        config.hydra.overrides.hydra.append(override("hydra.sweeper.study_name", name))


def run_sweep(sweep: Sweep, base: Config) -> None:
    """Search until the study has `n_trials` finished trials.

    Raises UserError for what the user can mend, and where all trials failed or workers were killed; Interrupted after
    SIGINT or SIGTERM.
    """
    from expkit.sweep.storage import Store

    store = Store(sweep.storage, sweep.settings.heartbeat)
    with store.answering():
        search_in(store, sweep, base)


def search_in(store: "Store", sweep: Sweep, base: Config) -> None:
    """Open the study, have workers search, and write what came of it."""
    from expkit.sweep.show.line import SweepLine
    from expkit.sweep.study import open_study, unbind

    settings = sweep.settings
    direction = DIRECTIONS[base.objective["mode"]]
    study = open_study(store, settings.study_name, direction, sweep.searches)
    refuse_other_trials(sweep.folder, study)
    text = hide(OmegaConf.to_yaml(sweep.config))
    home = f".workers/{uuid.uuid4().hex[:8]}"
    with tracked(sweep, base) as tracker:
        write_whole(sweep.folder / "multirun.yaml", partial(Path.write_text, data=text, encoding="utf-8"))
        stop = Stop(sweep.folder / home / "stop", 0)
        with interrupt.listen() as request, SweepLine(study, sweep, base, request, stop):
            ends = launch(worker_of(sweep, home), overrides_of(sweep, home), settings.n_jobs)
        if not any(end.killed or end.signal for end in ends):  # else somebody may look for locks there
            leave(sweep.folder / home)
        try:
            check_ends(sweep, study, base.objective["metric"], ends, request.signal)
        except UserError:
            unbind(store, study)
            raise

        from expkit.sweep.show.report import (
            tell,
            write_report,
        )  # imports torch, for which the study need not wait to begin

        best = write_report(sweep, base, study)
        check_results(study)
    if best:
        tell(sweep, study, best, base.objective["metric"], tracker.hint())


def leave(home: Path) -> None:
    """Remove the folder of workers that have ended, and what holds such folders where it was the only one."""
    shutil.rmtree(home)
    with suppress(OSError):  # other drivers have theirs
        home.parent.rmdir()


def worker_of(sweep: Sweep, home: str) -> Worker:
    """What each job of the launcher does."""
    timeout = sweep.settings.timeout
    return Worker(sweep, home, os.getpid(), time.time() + timeout if timeout else None)


def overrides_of(sweep: Sweep, home: str) -> list[str]:
    """The overrides of a worker's job: what trials share, and a folder without `.hydra/`."""
    return [*sweep.search.fixed, f"hydra.sweep.subdir={home}", "hydra.output_subdir=null"]


def refuse_files_of_others(folder: Path) -> None:
    """Raise UserError where the folder of a study that has not begun holds what the study or its trials would write."""
    refuse_others(folder, STUDY_FILES, "hydra.sweep.dir")
    for path in folder.glob("*"):
        if path.name.isdigit():
            refuse_others(path, RUN_FILES, "hydra.sweep.dir")


def refuse_other_trials(folder: Path, study: "optuna.Study") -> None:
    """Raise UserError where the folder of a study without trials holds some of another."""
    numbered = [path for path in folder.glob("*/run.json") if path.parent.name.isdigit()]
    if numbered and not study.get_trials(deepcopy=False):
        raise UserError(
            f"{folder} holds trials of a study that is not in hydra.sweeper.storage: bring its database back, move "
            "the folder away, or give another hydra.sweeper.study_name"
        )


@contextmanager
def tracked(sweep: Sweep, base: Config) -> Iterator[Tracker]:
    """Track the study as the run that those of its trials are nested in, and close it as the block ends."""
    hydra = sweep.config.hydra
    composed, _ = Composer(sweep.context, sweep.config).job(sweep.search.fixed)
    folder = make_parent(
        sweep.folder,
        experiment(hydra),
        kind="study",
        name=sweep.settings.study_name,
        tracking=written(base, composed)["tracking"],
        overrides=typed_overrides(hydra),
        params=params_of(sweep),
    )
    tracker: Tracker = build(base.tracking, folder, group="tracking")
    tracker.start()
    status = "KILLED"
    try:
        yield tracker
        status = "FINISHED"
    except UserError:
        status = "FAILED"
        raise
    finally:
        tracker.finish(status)


def params_of(sweep: Sweep) -> dict[str, Any]:
    """What the run of a study has as params: what it searches, which stays the same however often it goes on."""
    spaces = {param.key: str(param.space) for param in sweep.search.params}
    added = {key: " or ".join(values) for key, values in sweep.searches["conditions"].items()}
    params = {f"space.{key}": text for key, text in {**spaces, **added}.items()}
    return params | {key: value for key, value in sweep.searches["sweep"].items() if value is not None}


def check_ends(sweep: Sweep, study: "optuna.Study", metric: str, ends: list[Ended], signal: int) -> None:
    """Raise what ended the workers early: Interrupted for a signal, UserError for a mistake or a kill."""
    from expkit.sweep.study import best_so_far, count, wanted

    trials = study.get_trials(deepcopy=False)
    counted, n_trials = count(trials), wanted(sweep.settings, sweep.search)
    best = best_so_far(study, trials)
    led = f", the best with {metric} {best.value:.4f} (trial {best.number})" if best else ""
    done = f"{counted.finished} of {n_trials} trials have finished{led}; run the same command again to go on"
    incomplete = counted.finished < n_trials
    if incomplete and signal:
        raise interrupt.Interrupted(signal, f"stopped: {done}")
    if errors := [end.error for end in ends if end.error]:
        raise UserError(errors[0])
    if incomplete and (number := max(end.signal for end in ends)):
        raise interrupt.Interrupted(number, f"stopped: {done}")
    if incomplete and any(end.killed for end in ends):
        raise UserError(
            f"workers were killed, as it happens where memory runs out (then try fewer hydra.sweeper.n_jobs, or a "
            f"smaller batch_size): {done}"
        )


def check_results(study: "optuna.Study") -> None:
    """Raise UserError where all trials failed, with their reasons."""
    from expkit.sweep.study import FAILED, count

    trials = study.get_trials(deepcopy=False)
    counted = count(trials)
    if counted.finished and counted.failed == counted.finished:
        failed = [trial for trial in trials if FAILED in trial.user_attrs]
        reasons = [f"trial {trial.number}: {trial.user_attrs[FAILED]}" for trial in failed]
        raise UserError(
            f"{'the only trial' if counted.failed == 1 else f'all {counted.failed} trials'} "
            f"failed:\n{first_ten(reasons)}"
        )
