"""report.html of a study: what its best trial came to and differs in, what mattered, and all trials, in one page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from expkit import page
from expkit.command import command, shown
from expkit.run_folder import RunFolder
from expkit.sweep.show.line import short
from expkit.sweep.show.pictures import draw_pictures
from expkit.sweep.study import FAILED, WORKER, best_so_far, count, is_lost, standing, value_of
from expkit.sweep.work.trial import WEIGHTS
from expkit.task.next_steps import next_commands
from expkit.tracking.best import BEST
from expkit.urls import hide
from expkit.whole_files import read_json
from expkit.words import duration

PAGE = "report.html"
BEST_YAML = Path("best", "experiment", "best.yaml")
"""Where the best run lies in a sweep's folder, as a config that --config-dir finds."""
ROWS = 1000
"""So many trials are in the table, the best ones first."""
REASONS = 10
"""So many reasons of failures are told."""
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}


def make_page(folder: Path, study: optuna.Study) -> Path:
    """Draw the pictures of a study and write the page that shows them, in its folder; gives the page.

    None of its trials need have come to its end.
    """
    trials, facts = study.get_trials(deepcopy=False), read_json(folder / "run.json", "experiment")
    best, counted, searched = best_so_far(study, trials), count(trials), study.user_attrs.get("searches") or {}
    config: Mapping[str, Any] = searched.get("config", {})
    metric, tags = str(config.get("objective.metric", "objective")), facts.get("tags", {})
    draw_pictures(folder / "plots", study, trials, metric)
    path = folder / PAGE
    page.write_page(
        path,
        "expkit.sweep.show",
        experiment=facts["experiment"],
        name=study.study_name,
        metric=metric,
        best=best,
        counted=counted,
        repeats=searched.get("sweep", {}).get("repeats", 1),
        took=span(trials),
        differs=differences(best, config) if best else [],
        uses=uses_of(folder, best, facts["experiment"]) if best else {},
        failures=failures(trials),
        charts={one.stem: page.of_file(one) for one in sorted((folder / "plots").glob("*.png"))},
        keys=keys_of(trials),
        rows=[row_of(trial) for trial in in_order(study, trials)[:ROWS]],
        left=max(0, len(trials) - ROWS),
        space=searched.get("space", {}),
        conditions=searched.get("conditions", {}),
        how={key: tags[key] for key in ("sampler", "pruner", "seed", "n_trials") if key in tags},
        config={key: hide(str(value)) for key, value in config.items()},
    )
    return path


def uses_of(folder: Path, best: FrozenTrial, experiment: str) -> dict[str, str]:
    """What can be done with the best trial, each with the command for it."""
    # A study that was stopped has not written it yet.
    uses = {"Train it again": reproduce(folder, best)} if (folder / BEST_YAML).exists() else {}
    if run_of(folder, best):
        told = next_commands(f"{BEST}{shown(folder)}", experiment)
        uses |= {"Classify new images": told["predict"], "Score it": told["score"], "Take it elsewhere": told["export"]}
    return uses | {"Make this page again": command("task=report", f"run={shown(folder)}")}


def run_of(folder: Path, best: FrozenTrial) -> RunFolder | None:
    """The run that has the weights of the best trial; None where it is on another machine."""
    run = RunFolder(folder / best.user_attrs.get(WEIGHTS, str(best.number)), "")
    return run if run.exported_weights.exists() else None


def reproduce(folder: Path, best: FrozenTrial) -> str:
    """The command that trains the best run again, bit by bit: on as many threads as its worker had."""
    threads = best.user_attrs[WORKER]["threads"]
    alike = f"OMP_NUM_THREADS={threads} " if threads != torch.get_num_threads() else ""
    return alike + command("--config-dir", shown(folder / BEST_YAML.parts[0]), "+experiment=best")


def span(trials: Sequence[FrozenTrial]) -> str:
    """How long trials ran, all together; empty where none has ended."""
    spent = [trial.duration.total_seconds() for trial in trials if trial.duration]
    return duration(sum(spent)) if spent else ""


def differences(best: FrozenTrial, config: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What the best trial has otherwise than the base config: key, value there, value of the trial."""
    rows = [(key, configured(config, key), short(value)) for key, value in best.params.items()]
    return [row for row in rows if row[1] != row[2]]


def configured(config: Mapping[str, Any], key: str) -> str:
    """What a config, given as its leaves, has under a key: a value, a whole node, or the choice of a group."""
    key = key.lstrip("+").replace("/", ".")
    if key in config:
        return short(config[key])
    if target := config.get(f"{key}._target_"):
        return str(target).rpartition(".")[2]
    below = f"{key}."
    inside = [f"{name[len(below) :]} {short(value)}" for name, value in config.items() if name.startswith(below)]
    return ", ".join(inside)


def failures(trials: Sequence[FrozenTrial]) -> list[tuple[str, int]]:
    """Why trials failed, the commonest reason first, and how many for each."""
    return Counter(trial.user_attrs[FAILED] for trial in trials if FAILED in trial.user_attrs).most_common(REASONS)


def in_order(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials as the table has them: the best first, then those without a result, by number."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    others = [trial for trial in trials if trial.state not in (TrialState.COMPLETE, TrialState.WAITING)]
    return [*sorted(complete, key=lambda trial: standing(study, value_of(trial), trial.number)), *others]


def keys_of(trials: Sequence[FrozenTrial]) -> list[str]:
    """The params of all trials, in the order in which they first occur."""
    return list(dict.fromkeys(key for trial in trials for key in trial.params))


def row_of(trial: FrozenTrial) -> dict[str, Any]:
    """A trial in the table."""
    failed = "lost, run again" if is_lost(trial) else "failed"
    return {
        "number": trial.number,
        "state": STATES.get(trial.state, failed),
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "epochs": len(trial.intermediate_values),
        "took": duration(trial.duration.total_seconds()) if trial.duration else "",
        "params": {key: short(value) for key, value in trial.params.items()},
    }
