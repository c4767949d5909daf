"""The `task` group: what can be done with a composed experiment."""

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from expkit import interrupt
from expkit.check import checked
from expkit.config import Config
from expkit.errors import UserError
from expkit.run import assemble, build, epochs_of
from expkit.run_folder import RunFolder, read_json
from expkit.tracking import Tracker

log = logging.getLogger("expkit")

DRAWN = 1000
"""Points of a phase in a drawn schedule."""


@checked
def train(config: Config, folder: RunFolder) -> float:
    """Train the experiment and leave its whole record in `folder`; a run that was stopped goes on where it stood.

    Gives the value of the objective. Raises UserError for what the user can mend, Interrupted after SIGINT or SIGTERM.
    """
    with folder.held(), logging_to(folder):
        tracker = build(config.tracking, folder)
        # Before torch is imported: MLflow's own imports take seconds, and the sender does them meanwhile.
        tracker.start()
        status = "KILLED"
        try:
            if not folder.result.exists():
                train_to_end(config, folder, tracker)
            status = "FINISHED"
        except interrupt.Interrupted as stop:
            log.info("%s", stop)
            raise
        except Exception as error:
            # The command line shows it; here it is kept for whoever reads the folder later.
            status = "FAILED"
            log.info("failed: %s", error, exc_info=not isinstance(error, UserError))
            raise
        finally:
            tracker.finish(status)
        report(folder, tracker.hint())
        return float(read_json(folder.result)["objective"]["value"])


def train_to_end(config: Config, folder: RunFolder, tracker: Tracker) -> None:
    """Build, train and write the result."""
    began = time.monotonic()
    run = assemble(config)

    from expkit.checkpoint import Best, Checkpoints, load_checkpoint
    from expkit.progress import ProgressBar
    from expkit.recorder import Recorder
    from expkit.result import write_result
    from expkit.trainer.loop import Stopped

    trainer = run.trainer
    if folder.last_checkpoint.exists():
        trainer.load_state_dict(load_checkpoint(folder.last_checkpoint, run.data.fingerprint))
        log.info("going on at step %d, epoch %d", trainer.state.step, trainer.state.epochs + 1)
    earlier = trainer.state.seconds
    log.info(run.describe())
    recorder = Recorder(folder, run.epochs * trainer.train.batches)
    best = Best(folder, recorder, config.objective["metric"], run.data)
    progress = ProgressBar(recorder, run.epochs)
    with interrupt.listen() as trainer.stop, closing(progress), closing(recorder), closing(trainer):
        trainer.observe([recorder, best, Checkpoints(folder, recorder, run.data.fingerprint), progress])
        try:
            for phase in run.phases[trainer.state.phase :]:
                trainer.fit(phase, build(config.sched, run.peaks, phase.epochs))
        except Stopped:
            raise interrupt.Interrupted(
                trainer.stop.signal,
                f"stopped after step {trainer.state.step}; go on with  python -m expkit resume={shown(folder.path)}",
            ) from None
    write_result(config, folder, run, recorder, tracker.run_id(), earlier + time.monotonic() - began)


@checked
def plot_schedule(config: Config, folder: RunFolder) -> None:
    """Draw the schedules of the experiment as its optimizer would hold them, without data or training.

    Leaves plots/schedule.png in `folder`. Raises UserError for schedules that do not fit the epochs or layer groups.
    """
    import numpy as np

    from expkit.plots import draw_schedule
    from expkit.trainer.hypers import Hypers

    # Weights and the number of classes change nothing in a schedule, and the data may not be here.
    model = build({**config.model, "weights": None}, 2)
    optimizer = build(config.optim, model)
    hypers = Hypers(model, optimizer, config.trainer.get("label_smoothing", 0.0))
    peaks = optimizer.get("lr")
    epochs: list[float] = []
    rows: list[list[float]] = []
    before = 0
    for phase in build(config.transfer, epochs_of(config)):
        apply = hypers.follow(build(config.sched, peaks, phase.epochs))
        for t in np.arange(DRAWN) / DRAWN:
            apply(float(t))
            epochs.append(before + float(t) * phase.epochs)
            rows.append(hypers.read())
        before += phase.epochs
    columns = dict(zip(hypers.columns, np.array(rows).T, strict=True))
    path = folder.plots / "schedule.png"
    draw_schedule(path, np.array(epochs), columns, optimizer.groups, "epoch")
    print(path)


def report(folder: RunFolder, hint: str | None) -> None:
    """Print what the run came to, and how to look at it."""
    from rich.console import Console

    from expkit.progress import duration, result_table

    console = Console()
    result = read_json(folder.result)
    console.print(result_table(result["metrics"], result["best_epoch"]))
    name, value = result["objective"]["name"], result["objective"]["value"]
    lines = [
        f"{name} {value:.4f} in {duration(result['seconds'])}, {result['images_per_second']:.0f} images/s",
        f"  folder   {shown(folder.path)}",
        *([f"  compare  {hint}"] if hint else []),
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def shown(path: Path) -> Path:
    """A path as a person types it: from the working directory where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@contextmanager
def logging_to(folder: RunFolder) -> Iterator[None]:
    """Log to expkit.log with times, and plainly to standard error."""
    file, screen = logging.FileHandler(folder.log, encoding="utf-8"), logging.StreamHandler()
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    screen.setLevel(logging.WARNING)
    screen.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root = logging.getLogger("expkit")
    root.setLevel(logging.INFO)
    root.propagate = False
    for handler in (file, screen):
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in (file, screen):
            root.removeHandler(handler)
            handler.close()
