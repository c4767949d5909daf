"""`task=train`: train an experiment and leave its whole record."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from expkit import interrupt
from expkit.check import checked
from expkit.command import command, shown
from expkit.config.lr_find import check_lr_find
from expkit.config.schema import Config
from expkit.errors import Unavailable, UserError
from expkit.logs import logging_to
from expkit.pulse import Pulse
from expkit.run_folder import RunFolder
from expkit.screen import console, say
from expkit.task.evaluating import after_training
from expkit.task.idle import warn_of_idle
from expkit.task.next_steps import next_steps
from expkit.task.stopping import how_to_go_on, stopping
from expkit.tracking import Tracker
from expkit.tracking.ending import tracked
from expkit.tracking.nested import parent_of
from expkit.tracking.registering import registered
from expkit.whole_files import read_json
from expkit.wiring import Kept, Run, assemble, schedules_of

if TYPE_CHECKING:
    from expkit.feed.loading import Loader
    from expkit.record.recorder import Recorder
    from expkit.trainer.loop import Observer, Trainer

log = logging.getLogger("expkit")


@checked
def train(
    config: Config, folder: RunFolder, *, evaluate_test: bool = True, calibrate: bool = False, report: bool = True
) -> float:
    """Train the experiment and leave its whole record in `folder`; a run that was stopped goes on where it stood.

    In the end, `evaluate_test` scores a labelled test set, by which nothing is chosen, and `calibrate` fits a
    temperature on the validation images, which all predictions of the run have. With `report`, pictures of the mistakes
    are drawn and report.html is written.

    Gives the value of the objective, NaN where it came out as no number. Raises UserError for what the user can mend,
    Interrupted after SIGINT or SIGTERM.
    """
    with folder.held(), logging_to(folder.log):
        with tracked(config.tracking, folder) as tracker:
            if not folder.result.exists():
                record = WholeRecord(folder, tracker, {"evaluate_test": evaluate_test, "calibrate": calibrate}, report)
                train_run(config, folder, tracker, record)
        tell(folder, tracker.hint())
        value = read_json(folder.result, "objective")["objective"]["value"]
        return math.nan if value is None else float(value)


class Record(Protocol):
    """What a run leaves besides its metrics, traces and result.json, and who watches it for that."""

    is_whole: bool
    """Whether the weights are evaluated over augmented views too, where the recipe says so."""

    def begin(self, run: Run, recorder: "Recorder") -> "Sequence[Observer]":
        """The observers of a run that is built, and restored where it goes on."""

    def write(self, run: Run, recorder: "Recorder") -> Mapping[str, Any]:
        """Write the weights that training came to, if any; gives what result.json is to say besides."""

    def draw(self, run: Run, recorder: "Recorder", result: Mapping[str, Any]) -> None:
        """Draw what a person looks at, if anything, by the content of result.json."""


def train_run(
    config: Config, folder: RunFolder, tracker: Tracker, record: Record, kept: Kept | None = None
) -> dict[str, Any]:
    """Build, go on from a checkpoint if there is one, train all phases and write; gives the content of result.json.

    So does every run: one of its own or of a grid, with a `WholeRecord`, and one of a trial, with a `record` of the
    sweep's and what the runs of its process `kept`.
    """
    began = time.monotonic()
    with stopping(partial(how_to_go_on, folder, "stopped")) as stop:
        with stop.heeded():
            run = assemble(config, kept, precision_of(folder))

        from expkit.record.advice import advice
        from expkit.record.recorder import Recorder
        from expkit.record.result import average_views, result_of, write_result

        run.trainer.stop = stop
        saved = go_on(run, folder)
        earlier = run.trainer.state.seconds
        log.info(run.describe())
        steps = run.epochs * run.feed.epoch_steps
        recorder = Recorder(folder, steps, advice(config, run.trainer), config.objective["metric"], saved)
        observers = [recorder, *record.begin(run, recorder)]
        with closing(run.feed), closing_all(observers):
            run.trainer.observe(observers)
            train_phases(run, folder)
            if run.recipe.tta and record.is_whole:
                with stop.heeded():
                    average_views(config, folder, run, recorder)
        with stop.heeded():
            more = record.write(run, recorder)
            seconds = earlier + time.monotonic() - began
            result = result_of(config, run, recorder, tracker.run_id(), seconds) | dict(more)
            record.draw(run, recorder, result)
            write_result(folder, result)
    return result


class WholeRecord:
    """Leaves everything of a run: checkpoints to go on from, the best epoch's weights and predictions, and pictures."""

    is_whole = True

    def __init__(self, folder: RunFolder, tracker: Tracker, scoring: dict[str, bool], report: bool) -> None:
        self.folder = folder
        self.report = report
        self.tracker = tracker
        self.scoring = scoring
        """The keys of `train` that say what is done with the weights in the end."""

    def begin(self, run: Run, recorder: "Recorder") -> "Sequence[Observer]":
        """Say what a person should know before a long training, and keep what a resume is to find."""
        from expkit.record.checkpoint import Best, Checkpoints
        from expkit.record.progress import ProgressBar

        say(run.describe())
        warn_of_precision(self.folder, run.precision)
        self.tracker.look()
        warn_of_idle(run.config, run.recipe, run.data, len(run.trainer.hypers.dropouts))
        self.folder.note(fingerprint=run.data.fingerprint, accept_data=False)
        if not run.trainer.state.epochs:  # else it is noted of the best so far
            self.note_outcome(run, 1)
        return [
            Best(self.folder, recorder, run.config.objective["metric"], run.data, partial(self.note_outcome, run)),
            Checkpoints(self.folder, recorder, run.data.fingerprint, run.feed.epoch_steps),
            ProgressBar(recorder, run.epochs, run.feed.epoch_steps, len(run.data.valid), run.recipe.tta),
        ]

    def write(self, run: Run, recorder: "Recorder") -> Mapping[str, Any]:
        """Export the weights, and score them on the test set."""
        from expkit.record.result import chosen_epoch, export_weights

        export_weights(run.config, self.folder, run)
        self.note_outcome(run, chosen_epoch(run.config, recorder))
        return after_training(run.config, self.folder, run.data, **self.scoring)

    def note_outcome(self, run: Run, epoch: int) -> None:
        """Keep what the weights of an epoch are used by until there is a result."""
        from expkit.record.result import what_is_known

        place = {"epoch": epoch, "epochs": run.epochs, "phase": run.recipe.phase_of(epoch).name}
        self.folder.note(outcome=what_is_known(run, epoch) | {"head_only": run.body is not None} | place)

    def draw(self, run: Run, recorder: "Recorder", result: Mapping[str, Any]) -> None:
        """Draw the curves and, where that is wanted, the mistakes and report.html."""
        from expkit.record.result import draw_plots
        from expkit.report.making import make_report

        draw_plots(self.folder, run, recorder)
        if not self.report:
            return
        try:
            make_report(run.config, run.recipe, self.folder, result, run.data)
        except Unavailable:  # the disk is full, and result.json would not fit either
            raise
        except UserError as error:
            later = command(f"run={shown(self.folder.path)}", "task=report")
            log.warning("report.html was not made (%s); once that is mended, make it by  %s", error, later)


def warn_of_precision(folder: RunFolder, precision: str) -> None:
    """Warn where a run that goes on computes otherwise than it began, as precision=auto does on another machine."""
    began = precision_of(folder)
    if began not in (None, precision):
        log.warning(
            "the run began in %s and goes on in %s, as trainer.precision says on this machine: its weights will not be "
            "those of a run that was never stopped",
            *(began, precision),
        )


def precision_of(folder: RunFolder) -> str | None:
    """The precision that a run which goes on began in; None where it begins."""
    began: str | None = read_json(folder.facts).get("outcome", {}).get("precision")
    return began


def go_on(run: Run, folder: RunFolder) -> dict[str, Any] | None:
    """Restore the checkpoint of a run that was stopped, if there is one; gives what the recorder goes on from.

    Raises UserError where it does not fit.
    """
    from expkit.record.checkpoint import newest_checkpoint

    accept = bool(read_json(folder.facts).get("accept_data"))
    saved = newest_checkpoint(folder, run.data.fingerprint, run.feed.epoch_steps, accept_data=accept)
    if saved is None:
        return None
    restore(run.trainer, saved, folder)
    state = run.trainer.state
    log.info("going on at step %d, epoch %d", state.step, state.epochs + 1)
    record: dict[str, Any] | None = saved.get("record")
    return record


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


@contextmanager
def closing_all(observers: "Sequence[Observer]") -> Iterator[None]:
    """Close observers as the block ends, the last one first."""
    with ExitStack() as stack:
        for observer in observers:
            stack.callback(observer.close)
        yield


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
        told = how_to_go_on(folder, f"stopped after step {trainer.state.step}")
        raise interrupt.Interrupted(trainer.stop.signal, told) from None


def search(run: Run, phase: str, train: "Loader", folder: RunFolder, rates: Sequence[float]) -> float:
    """Ask the LR finder for the head's rate, in a phase and as the run stands; `rates` are those of the groups to 1."""
    from expkit.lr_finder.search import find_lr

    settings = check_lr_find(run.config.lr_find)
    pulse = Pulse()

    def watch(number: int, lr: float, loss: float) -> None:
        pulse.beat(lambda: searched(number, settings.num_it, lr, loss))

    lr = find_lr(run.trainer, train, rates, settings, folder, watch=watch)
    scaled = "" if settings.scale == 1 else f" x lr_find.scale={settings.scale:g}"
    say(f"learning rate of the head: {lr:.3g}, from the LR finder in the phase {phase} ({settings.suggest}{scaled})")
    return lr


def searched(number: int, steps: int, lr: float, loss: float) -> str:
    """How far a search of a learning rate is, after the step with this number."""
    return f"LR finder: step {number + 1}/{steps}  lr {lr:.1e}  loss {loss:.4f}"


def tell(folder: RunFolder, hint: str | None) -> None:
    """Print what the run came to, how to look at it, and for a run on its own what can be done next."""
    from expkit.record.progress import result_table
    from expkit.words import duration, figure

    where = console(report=True)
    result = read_json(folder.result, "metrics", "best_epoch", "objective", "seconds", "images_per_second")
    where.print(result_table(result["metrics"], result["best_epoch"]))
    page = folder.path / "report.html"
    name, value = result["objective"]["name"], result["objective"]["value"]
    lines = [
        *([tested(result["test"])] if "test" in result else []),
        f"{name} {figure(value)} in {duration(result['seconds'])}, {result['images_per_second']:.0f} images/s",
        f"  folder   {shown(folder.path)}",
        *([f"  report   {shown(page)}"] if page.exists() else []),
        *([f"  model    registered as {version}"] if (version := registered(folder)) else []),
        *([f"  compare  {hint}"] if hint else []),
        *([] if parent_of(folder.path) else next_steps(str(shown(folder.path)), folder.experiment)),
    ]
    where.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def tested(test: Mapping[str, Any]) -> str:
    """A line on the test set."""
    from expkit.words import figure, many

    low, high = test["intervals"]["accuracy"]
    accuracy, loss = (figure(test["metrics"][name]) for name in ("accuracy", "loss"))
    images = many(test["images"], "image", "images")
    return f"test_accuracy {accuracy} ({figure(low)} - {figure(high)})  test_loss {loss}  on {images}"
