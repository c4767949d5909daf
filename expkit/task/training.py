"""`task=train`: train an experiment and leave its whole record."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from expkit import interrupt
from expkit.build import build
from expkit.causes import is_refusal
from expkit.check import checked
from expkit.command import command, shown
from expkit.config.lr_find import check_lr_find
from expkit.config.schema import Config
from expkit.errors import UserError
from expkit.logs import logging_to
from expkit.pulse import Pulse
from expkit.run_folder import RunFolder, read_json
from expkit.task.evaluating import after_training
from expkit.task.idle import warn_of_idle
from expkit.tracking import Tracker
from expkit.tracking.nested import WITHDRAWN, parent_of
from expkit.wiring import Run, assemble, schedules_of

if TYPE_CHECKING:
    from expkit.feed.loading import Loader
    from expkit.trainer.loop import Observer, Trainer

log = logging.getLogger("expkit")


@checked
def train(config: Config, folder: RunFolder, *, evaluate_test: bool = True, calibrate: bool = False) -> float:
    """Train the experiment and leave its whole record in `folder`; a run that was stopped goes on where it stood.

    In the end, `evaluate_test` scores a labelled test set, by which nothing is chosen, and `calibrate` fits a
    temperature on the validation images, which all predictions of the run have.

    Gives the value of the objective, NaN where it came out as no number. Raises UserError for what the user can mend,
    Interrupted after SIGINT or SIGTERM.
    """
    with folder.held(), logging_to(folder.log):
        with tracking(config, folder) as tracker:
            if not folder.result.exists():
                train_to_end(config, folder, tracker, {"evaluate_test": evaluate_test, "calibrate": calibrate})
        report(folder, tracker.hint())
        value = read_json(folder.result, "objective")["objective"]["value"]
        return math.nan if value is None else float(value)


def train_to_end(config: Config, folder: RunFolder, tracker: Tracker, scoring: dict[str, bool]) -> None:
    """Build, train, evaluate over augmented views where the recipe says so, and write the result.

    `scoring` are the keys of `train` that say what is done with the weights in the end.
    """
    began = time.monotonic()
    with stopping(folder) as stop:
        with stop.heeded():
            run = assemble(config)
            tracker.look()
            warn_of_idle(config, run.recipe, run.data, len(run.trainer.hypers.dropouts))

        from expkit.record.advice import advice
        from expkit.record.checkpoint import Best, Checkpoints, load_checkpoint
        from expkit.record.progress import ProgressBar
        from expkit.record.recorder import Recorder
        from expkit.record.result import average_views, export_weights, what_is_known, write_result

        trainer = run.trainer
        trainer.stop = stop
        if folder.last_checkpoint.exists():
            accept = bool(read_json(folder.facts).get("accept_data"))
            steps = run.feed.epoch_steps
            saved = load_checkpoint(folder.last_checkpoint, run.data.fingerprint, steps, accept_data=accept)
            restore(trainer, saved, folder)
            log.info("going on at step %d, epoch %d", trainer.state.step, trainer.state.epochs + 1)
        known = what_is_known(run) | {"head_only": run.body is not None}
        folder.note(fingerprint=run.data.fingerprint, accept_data=False, outcome=known)
        earlier = trainer.state.seconds
        log.info(run.describe())
        recorder = Recorder(folder, run.epochs * run.feed.epoch_steps, advice(config, trainer))
        best = Best(folder, recorder, config.objective["metric"], run.data)
        checkpoints = Checkpoints(folder, recorder, run.data.fingerprint, run.feed.epoch_steps)
        progress = ProgressBar(recorder, run.epochs, run.feed.epoch_steps)
        with closing(run.feed):
            with closing(progress), closing(recorder):
                trainer.observe([recorder, best, checkpoints, progress])
                train_phases(run, folder)
                if run.recipe.tta:
                    with stop.heeded():
                        average_views(config, folder, run, recorder)
            with stop.heeded():
                export_weights(config, folder, run)
                scored = after_training(config, folder, run.data, **scoring)
                seconds = earlier + time.monotonic() - began
                write_result(config, folder, run, recorder, tracker.run_id(), seconds, scored)


def restore(trainer: "Trainer", saved: dict[str, Any], folder: RunFolder) -> None:
    """Go on from what a checkpoint holds. Raises UserError where it was saved with another model or optimizer."""
    try:
        trainer.load_state_dict(saved)
    except (UserError, AttributeError, RuntimeError, KeyError, TypeError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = " ".join(line.strip() for line in (lines if isinstance(error, UserError) else lines[-1:]))
        edited = read_json(folder.facts).get("edited", [])
        told = f"; since the run began, {'; '.join(edited)}" if edited else ""
        raise UserError(
            f"{folder.last_checkpoint} does not fit the model and optimizer of {folder.config.name} ({reason}){told}: "
            "bring the config back as it was, or begin a new run"
        ) from error


def fit_phases(run: Run, folder: RunFolder, observers: "Sequence[Observer]") -> None:
    """Train the phases that are left of a run. Raises Interrupted after the step in hand where a signal asks for it."""
    run.trainer.observe(observers)
    with stopping(folder) as run.trainer.stop:
        train_phases(run, folder)


def train_phases(run: Run, folder: RunFolder) -> None:
    """Train the phases that are left. Raises Interrupted, once the observers saved all, where a signal asks for it.

    A step in hand is finished; precomputing, a search, a validation and the wait for a batch end at once, since a
    resume does them again.
    """
    from expkit.feed.sending import explaining

    trainer = run.trainer
    try:
        for phase in run.recipe.phases[trainer.state.phase :]:
            with trainer.stop.heeded():
                train, valid = run.feed.batches(phase)
            with explaining(run.feed.workers):  # torch raises it in the main thread wherever that is
                trainer.prepare(phase)
                peaks = run.peaks(phase, partial(search, run, phase.name, train, folder))
                trainer.fit(phase, schedules_of(run.config, phase, peaks), train, valid)
    except interrupt.Stopped:
        for observer in trainer.observers:
            observer.on_stop(trainer)
        raise interrupted(trainer.stop, folder, f"stopped after step {trainer.state.step}") from None


@contextmanager
def stopping(folder: RunFolder) -> Iterator[interrupt.StopRequest]:
    """Listen to signals in the block; one that stops it raises Interrupted, with the command that goes on."""
    with interrupt.listen() as stop:
        try:
            yield stop
        except interrupt.Stopped:
            raise interrupted(stop, folder, "stopped") from None


def interrupted(stop: interrupt.StopRequest, folder: RunFolder, where: str) -> interrupt.Interrupted:
    """What tells that the run in `folder` stopped, and how it goes on."""
    go_on = f"go on with  {command(f'resume={shown(folder.path)}')}"
    if in_grid(folder):
        go_on = f"run the same command again to go on with the grid, or {go_on}"
    return interrupt.Interrupted(stop.signal, f"{where}; {go_on}")


def in_grid(folder: RunFolder) -> bool:
    """Whether a run is a job of a grid."""
    parent = parent_of(folder.path)
    return parent is not None and read_json(parent / "run.json").get("kind") == "grid"


def search(run: Run, phase: str, train: "Loader", folder: RunFolder, rates: Sequence[float]) -> float:
    """Ask the LR finder for the head's rate, in a phase and as the run stands; `rates` are those of the groups to 1."""
    from expkit.lr_finder.search import find_lr

    settings = check_lr_find(run.config.lr_find)
    pulse = Pulse()

    def watch(number: int, lr: float, loss: float) -> None:
        pulse.beat(lambda: searched(number, settings.num_it, lr, loss))

    lr = find_lr(run.trainer, train, rates, settings, folder, watch=watch)
    scaled = "" if settings.scale == 1 else f" x lr_find.scale={settings.scale:g}"
    print(f"learning rate of the head: {lr:.3g}, from the LR finder in the phase {phase} ({settings.suggest}{scaled})")
    return lr


def searched(number: int, steps: int, lr: float, loss: float) -> str:
    """How far a search of a learning rate is, after the step with this number."""
    return f"LR finder: step {number + 1}/{steps}  lr {lr:.1e}  loss {loss:.4f}"


def report(folder: RunFolder, hint: str | None) -> None:
    """Print what the run came to, and how to look at it."""
    from rich.console import Console

    from expkit.record.progress import result_table
    from expkit.words import duration, figure

    console = Console()
    result = read_json(folder.result, "metrics", "best_epoch", "objective", "seconds", "images_per_second")
    console.print(result_table(result["metrics"], result["best_epoch"]))
    name, value = result["objective"]["name"], result["objective"]["value"]
    lines = [
        *(tested(result["test"]) if "test" in result else []),
        f"{name} {figure(value)} in {duration(result['seconds'])}, {result['images_per_second']:.0f} images/s",
        f"  folder   {shown(folder.path)}",
        *([f"  compare  {hint}"] if hint else []),
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def tested(test: dict[str, Any]) -> list[str]:
    """A line on the test set."""
    accuracy, (low, high) = test["metrics"]["accuracy"], test["intervals"]["accuracy"]
    loss = test["metrics"]["loss"]
    return [f"test_accuracy {accuracy:.4f} ({low:.4f} - {high:.4f})  test_loss {loss:.4f}  on {test['images']} images"]


@contextmanager
def tracking(config: Config, folder: RunFolder) -> Iterator[Tracker]:
    """Track what the block leaves in `folder`, and close the tracked run as the block ends."""
    tracker: Tracker = build(config.tracking, folder, group="tracking")
    is_new = not folder.tracking.exists() and parent_of(folder.path) is None
    # Before torch is imported: MLflow's own imports take seconds, and the sender does them meanwhile.
    tracker.start()
    status, tags = "KILLED", {}
    try:
        yield tracker
        status = "FINISHED"
    except interrupt.Interrupted as stop:
        log.info("%s", stop)
        raise
    except Exception as error:
        # The command line shows it; here it is kept for whoever reads the folder later.
        refused = is_new and is_refusal(error) and not folder.has_begun
        status, tags = WITHDRAWN if refused else "FAILED", {"reason": str(error)}
        log.info("failed: %s", error, exc_info=not isinstance(error, UserError))
        raise
    finally:
        tracker.finish(status, tags=tags)
