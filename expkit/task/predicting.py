"""`task=predict`: the class of each of many images, by a run that was trained."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from expkit import interrupt
from expkit.check import Count, checked
from expkit.config.schema import Config
from expkit.errors import UserError
from expkit.logs import warning_on_screen
from expkit.run_folder import RunFolder
from expkit.screen import say
from expkit.task.earlier_run import refuse_fresh
from expkit.words import duration, many

if TYPE_CHECKING:
    from expkit.trained.classifier import Trained
    from expkit.trained.predictions import Predicted
    from expkit.trained.showing import Show
    from expkit.trained.sources import Source
    from expkit.trained.tables import Wanted
    from expkit.trained.tally import Tally

SHOWN = 10
"""Classes that are counted on the screen."""


@checked
def predict(
    config: Config,
    folder: RunFolder,
    *,
    source: str | list[str],
    out: str = "predictions.csv",
    top_k: Count = 1,
    probabilities: bool = False,
    column: str | None = None,
    root: str | None = None,
) -> Path | None:
    """Write the class of each image of a source, and the probability of it, to a table; gives its path.

    The model, how it reads images, its classes and their calibration come from the run alone; of the config count
    `batch_size`, `num_workers` and the trainer's device, threads and precision. Files that cannot be read are listed in
    OUT.unreadable.csv. The same command goes on where it was stopped or killed.

    Args:
        config: the config of the run.
        folder: its folder.
        source: a folder (all images below it), a glob, a file, a list of files, a table (.csv, .tsv) or text (.txt)
            with paths, a zip, or "-": paths from standard input.
        out: the table, .csv or .parquet; "-" is CSV on standard output, written as it comes. Its column `file` has
            names from the folder on or within the zip, otherwise paths as they were given.
        top_k: how many of the likeliest classes are given: `class_2`, `confidence_2` and so on.
        probabilities: whether to give the probability of every class, as columns `p_CLASS`.
        column: the column of a table that has the paths; None: the only one, or the one called file, path, image.
        root: the folder that relative paths in a list lead from; None: the one that holds the list, for standard input
            the working directory.

    Raises UserError where there is nothing to classify or to classify by, or where the table is there already.
    """
    from expkit.trained.machine import on_this_machine
    from expkit.trained.output import STANDARD_OUTPUT, check_out
    from expkit.trained.sources import source_of
    from expkit.trained.tables import Wanted

    refuse_fresh(
        folder,
        "task=predict needs the run whose model is to be used: write  run=RUN task=predict task.source=PHOTOS  in "
        "place of an experiment",
    )
    check_out(out)
    with warning_on_screen():
        images = source_of(source, column, root)
        for note in images.notes:
            say(note, stderr=True)
        trained = on_this_machine(config, folder)
        if top_k > len(trained.classes):
            raise UserError(f"task.top_k={top_k} is more than the model has classes, {len(trained.classes)}")
        wanted = Wanted(trained.classes, top_k, probabilities)
        write(config, trained, images, wanted, out)
        return None if out == STANDARD_OUTPUT else Path(out).absolute()


def write(config: Config, trained: "Trained", source: "Source", wanted: "Wanted", out: str) -> None:
    """Classify all images of a source that have no row yet. Raises Interrupted after SIGINT or SIGTERM."""
    from expkit.trained.output import output_to
    from expkit.trained.predictions import predictions
    from expkit.trained.showing import Show

    with interrupt.listen() as stop, output_to(out, trained, wanted) as output:
        try:
            with stop.heeded():
                names = output.rest(source.names())
            with Show(source.total, output.tally.done) as show:
                made = predictions(trained, source, names, batch_size=config.batch_size, num_workers=config.num_workers)
                with closing(made):
                    while batch := next_of(made, stop):
                        output.add(batch, wanted.columns(batch.probabilities))
                        show.add(len(batch.names))
            output.finish()
        except interrupt.Stopped:
            again = "; the same command goes on" if out != "-" else ""
            raise interrupt.Interrupted(
                stop.signal, f"stopped after {many(output.tally.done, 'image', 'images')}{again}"
            ) from None
    report(output.tally, show, out)


def next_of(made: "Generator[Predicted]", stop: interrupt.StopRequest) -> "Predicted | None":
    """The next batch; a signal ends the wait for it at once, but never the writing of one."""
    with stop.heeded():
        return next(made, None)


def report(tally: "Tally", show: "Show", out: str) -> None:
    """Print how many images were classified, how fast, and as what; on standard error where rows are on the other.

    Raises UserError where none was.
    """
    from expkit.trained.output import STANDARD_OUTPUT, unreadable_list

    listed = "named above" if out == STANDARD_OUTPUT else f"listed in {unreadable_list(Path(out))}"
    if not tally.done:
        raise UserError("task.source gave no path, so there is nothing to classify")
    if not tally.counts:
        told = "the only image cannot" if tally.done == 1 else f"none of the {tally.done} images could"
        raise UserError(f"{told} be read; what is wrong is {listed}")
    before = f" ({show.first} were done before)" if show.first else ""
    lines = [f"{many(tally.done, 'image', 'images')} in {duration(show.seconds)}, {show.speed:.0f} images/s{before}"]
    if tally.unreadable:
        lines.append(f"{tally.unreadable} of them could not be read, {listed}")
    total, common = tally.counts.total(), tally.counts.most_common(SHOWN)
    width = max(len(name) for name, _ in common)
    lines += [f"  {name:<{width}}  {count:>8}  {count / total:6.1%}" for name, count in common]
    if others := len(tally.counts) - len(common):
        lines.append(f"  and {others} more classes")
    if out != STANDARD_OUTPUT:
        lines.append(f"  file  {out}")
    say("\n".join(lines), stderr=out == STANDARD_OUTPUT)
