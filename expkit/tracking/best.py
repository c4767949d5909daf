"""The best run of a study or a grid, by what its finished runs came to: their own files say it, and no database."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from expkit.command import shown
from expkit.config.files import load_yaml
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.tracking.nested import nested_in
from expkit.whole_files import read_json

BEST = "best:"
"""What stands before the folder of a study or a grid where its best run is meant."""


class Candidate(NamedTuple):
    """A trial of a study, or a job of a grid, that came to its end with a number."""

    number: int
    metric: str
    value: float
    """The objective; of a trial with several seeds the mean over its runs."""
    folder: Path
    """The run that has the weights."""


def best_in(sweep: Path) -> Candidate:
    """The best of what has finished in the folder of a study or a grid, the earliest of equals.

    Raises UserError where the folder is neither, nothing has finished, or the best ran on another machine.
    """
    facts = read_json(sweep / "run.json")
    if "kind" not in facts:
        raise UserError(f"{BEST}{sweep} {not_a_sweep(sweep)}")
    found = candidates(sweep, facts.get("params", {}).get("repeats", 1))
    metrics = sorted({one.metric for one in found})
    if not found:
        what = "trial" if facts["kind"] == "study" else "job"
        raise UserError(
            f"{BEST}{sweep}: no {what} of it has finished with a number yet; the command that began it goes on with it"
        )
    if len(metrics) > 1:
        raise UserError(f"{BEST}{sweep}: its jobs have objectives that do not compare ({', '.join(metrics)}); name one")
    sign = -1 if load_yaml(RunFolder(found[0].folder, "").config).objective.mode == "max" else 1
    best = min(found, key=lambda one: (sign * one.value, one.number))
    tags = facts.get("tags", {})
    if "best_value" in tags and sign * float(tags["best_value"]) < sign * best.value:
        raise UserError(
            f"{BEST}{sweep}: its best trial is {tags['best_trial']} ({best.metric} {float(tags['best_value']):.4f}), "
            "which ran on another machine and has no folder here: name it there, or by its MLflow run id"
        )
    return best


def candidates(sweep: Path, repeats: int) -> list[Candidate]:
    """What has finished, each trial of a study with all its `repeats` runs."""
    finished = defaultdict[int, list[RunFolder]](list)
    for path in nested_in(sweep):
        run = RunFolder(path, "")
        if run.result.exists():
            finished[next(iter(read_json(run.facts, "params")["params"].values()))].append(run)
    found = []
    for number, runs in finished.items():
        objectives = [read_json(run.result, "objective")["objective"] for run in runs]
        values = [one["value"] for one in objectives if one["value"] is not None]
        if len(values) == len(runs) == repeats:
            weighty = [run for run in runs if run.exported_weights.exists()]
            folder = (weighty or runs)[-1].path
            found.append(Candidate(number, objectives[0]["name"], sum(values) / repeats, folder))
    return found


def not_a_sweep(path: Path) -> str:
    """Why a folder has no best run, and what may have been meant."""
    if not path.is_dir():
        return "leads nowhere: give the folder of a study or a grid, or the MLflow run id of one"
    if (path / "config.yaml").exists():
        return f"is a run itself: leave {BEST} out"
    inside = next((one for one in sorted(path.glob("**/sweep_*")) if "kind" in read_json(one / "run.json")), None)
    example = f", such as {BEST}{shown(inside)}" if inside else ""
    return f"is the folder of no study and no grid: give that of one{example}"
