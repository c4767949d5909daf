"""`task=compare`: runs side by side, and whether what differs between them is more than chance."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.check import Count, NotNegativeInt, checked
from expkit.command import shown
from expkit.config.schema import BETTER, Config
from expkit.errors import UserError
from expkit.logs import warning_on_screen
from expkit.run_folder import RunFolder
from expkit.task.earlier_run import data_node
from expkit.task.reporting import data_of
from expkit.tracking.finding import find_run, path_of
from expkit.tracking.nested import nested_in
from expkit.whole_files import read_json, write_whole
from expkit.words import many

if TYPE_CHECKING:
    from expkit.comparison.runs import Compared
    from expkit.comparison.standings import Comparison
    from expkit.data.items import Images

PLACE = "comparison"
"""The folder of a comparison's files."""


@checked
def compare(
    config: Config,
    folder: RunFolder,
    *,
    runs: str | list[str],
    top: Count = 12,
    resamples: Count = 1000,
    examples: NotNegativeInt = 24,
) -> "Comparison":
    """Compare finished runs of the same classes: what differs in their configs, curves, scores, classes and images.

    Whether a difference is more than chance says, for two runs, the exact test of McNemar on the validation images that
    one of both alone tells rightly; runs that differ in nothing but the seed are one setup, with mean and standard
    deviation, and a paired t-test over the seeds that both setups have. Differences in accuracy have bootstrap
    intervals. A run that was validated on other images than most is compared on those that it shares with the first;
    where no two have the same images, those count that all have. Which are compared on what is said.

    Leaves comparison/ in the folder: comparison.html, comparison.png, runs.csv, setups.csv, curves.csv, classes.csv and
    images.csv. The experiment does not matter.

    Args:
        config: the experiment; of it the store counts that has runs named by their MLflow id.
        folder: its folder.
        runs: several runs, each named as by run=RUN, the first of which the others are set beside; or the folder of a
            study, a grid or of runs, whose best one is the first.
        top: of a folder so many of the best setups are compared.
        resamples: bootstrap samples for the intervals.
        examples: images on the page that the runs disagree on, those first that divide them most.

    Raises UserError where there is no such run, fewer than two, one of them twice, or they have different classes.
    """
    if folder.has_begun or folder.result.exists():
        raise UserError("task=compare takes its runs by task.runs=[RUN,RUN]: leave run=RUN out")
    uri = config.tracking.get("uri")
    folders = below(runs, uri) if isinstance(runs, str) else named(runs, uri)
    from expkit.comparison.answers import answers_of
    from expkit.comparison.page import write_page
    from expkit.comparison.picture import draw_comparison
    from expkit.comparison.runs import read_run
    from expkit.comparison.standings import compare as side_by_side
    from expkit.comparison.tables import tables_of
    from expkit.task.comparison_table import show

    with warning_on_screen():
        compared, notes = best_of(folders, top) if isinstance(runs, str) else (list(map(read_run, folders)), [])
        found = side_by_side(compared, resamples=resamples, notes=notes)
        answers = answers_of(found)
        place = folder.path / PLACE
        for name, table in tables_of(found).items():
            write_whole(place / f"{name}.csv", partial(table.to_csv, index=False))
        draw_comparison(place / "comparison.png", found)
        images, lacking = images_of(found, examples)
        page = place / "comparison.html"
        write_page(page, found, answers, place / "comparison.png", examples=examples, images=images, lacking=lacking)
        show(found, answers, page)
    return found


def named(runs: list[str], uri: str | None) -> list[RunFolder]:
    """The runs that a list names. Raises UserError for fewer than two, and for one that is named twice."""
    if len(runs) < 2:
        raise UserError(
            "task.runs needs two runs at least, task.runs=[RUN,RUN], or the folder of a study or a grid, "
            "task.runs=FOLDER"
        )
    names: dict[Path, str] = {}
    folders = []
    for run in runs:
        folder = find_run(run, uri)
        if earlier := names.get(folder.path):
            again = "twice" if earlier == run else f"as {earlier} and as {run}"
            raise UserError(f"task.runs names the run {shown(folder.path)} {again}: name each once")
        names[folder.path] = run
        folders.append(folder)
    return folders


def below(runs: str, uri: str | None) -> list[RunFolder]:
    """All runs below a folder. Raises UserError where fewer than two are finished."""
    path = Path(runs).expanduser()
    path = path if path.is_dir() else path_of(runs, uri)
    if (path / "config.yaml").exists():
        raise UserError(f"task.runs={runs} is one run: name another to compare it with, task.runs=[{runs},RUN]")
    every = [RunFolder.at(one) for one in runs_below(path)]
    finished = sum(one.result.exists() for one in every)
    if finished < 2:
        what = "no run that is finished lies there" if not finished else "one finished run alone lies there"
        rest = f", besides {many(len(every) - finished, 'other', 'others')}" if len(every) > finished else ""
        raise UserError(
            f"task.runs={runs}: {what}{rest}; give the folder of a study or a grid, or runs by name, "
            "task.runs=[RUN,RUN]"
        )
    return every


def best_of(folders: list[RunFolder], top: int) -> "tuple[list[Compared], list[str]]":
    """The finished runs of the `top` best setups, the best first; and what was left out, in sentences."""
    from expkit.comparison.configs import setups_of
    from expkit.comparison.runs import read_run

    read = [read_run(one) for one in folders if one.result.exists()]
    notes = []
    if left := len(folders) - len(read):
        notes.append(f"Left out: {many(left, 'run', 'runs')} that did not come to an end, as pruned trials do not.")
    metric = read[0].objective if len({one.objective for one in read}) == 1 else "valid_accuracy"
    sign = -1 if BETTER[metric] == "max" else 1

    def rank(group: "tuple[Compared, ...]") -> float:
        """The mean of a setup's scores, the best lowest."""
        scores = [one.score(metric) for one in group]
        known = [score for score in scores if score is not None]
        return sign * sum(known) / len(known) if len(known) == len(scores) else float("inf")

    groups = sorted((setup.runs for setup in setups_of(read)), key=rank)
    if len(groups) > top:
        notes.append(f"Shown are the best {top} of {len(groups)} by {metric}; task.top={len(groups)} compares all.")
    return [run for group in groups[:top] for run in group], notes


def runs_below(folder: Path) -> list[Path]:
    """The folders of the trainings below a folder, those in studies and grids too."""
    found: list[Path] = []
    for path in nested_in(folder):
        facts = read_json(path / "run.json")
        if "kind" in facts:
            found += runs_below(path)
        elif any((path / name).exists() for name in ("traces.parquet", "traces.bin")):  # a search of a rate has none
            found.append(path)
    return found


def images_of(found: "Comparison", examples: int) -> "tuple[Images | None, str]":
    """The images that the first run with predictions was validated on; None where they are gone, and then why."""
    if found.shared is None or not examples or not len(found.shared.changed):
        return None, ""
    run = found.shared.runs[0]
    try:
        data, lacking = data_of(data_node(run.folder), run.fingerprint or "")
    except UserError as error:
        return None, str(error)
    return data.valid if data else None, lacking
