"""What a sweep leaves in its folder: its best run as a config, all trials as a table, and pictures."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from expkit.command import shown
from expkit.config.composed import experiment, written
from expkit.config.schema import GROUPS, ROOT, Config
from expkit.model.weights_file import NAMES
from expkit.run_folder import RunFolder
from expkit.screen import console, say
from expkit.sweep.show.line import short
from expkit.sweep.show.page import BEST_YAML, PAGE, make_page, reproduce, run_of
from expkit.sweep.space.composing import Composer
from expkit.sweep.space.jobs import Sweep
from expkit.sweep.study import FAILED, STOPPED, best_so_far, count, is_lost, standing, value_of
from expkit.sweep.work.trial import OVERRIDES
from expkit.task.next_steps import next_comparison, next_steps
from expkit.tracking.best import BEST
from expkit.tracking.finding import config_of
from expkit.tracking.notes import MLFLOW_RUN_NOTE, markdown
from expkit.tracking.registering import registered, send_model
from expkit.urls import hide
from expkit.whole_files import write_whole

SHOWN = 10
"""So many of the best trials are shown with the study."""
PATHS = ("root", "file", "source", "weights")
"""Keys of the data and the model that may be paths."""


def write_report(sweep: Sweep, base: Config, study: optuna.Study) -> FrozenTrial | None:
    """Write the best run as a config, the tables and the page; gives the best trial that came to its end, if any.

    Has the model of the best trial sent to the store, where its folder lies on this machine.
    """
    trials, metric = study.get_trials(deepcopy=False), base.objective["metric"]
    write_trials(sweep.folder, trials)
    best = best_so_far(study, trials)
    if best is None:
        limit = sweep.settings.timeout
        why = f" within hydra.sweeper.timeout={limit:g} seconds" if limit else ""
        say(f"no trial of the study {study.study_name} came to its end{why}; folder {shown(sweep.folder)}")
        picture(sweep, base, study)
        return None
    if run := run_of(sweep.folder, best):
        send_model(run, base.tracking)
    for name, text in best_files(sweep, metric, study.study_name, best).items():
        write_whole(sweep.folder / name, partial(Path.write_text, data=text, encoding="utf-8"))
    found = {
        "name": "optuna",
        "best_params": best.params,
        "best_value": value_of(best),
    }  # as Hydra's Optuna plugin has it
    write_whole(sweep.folder / "optimization_results.yaml", lambda path: OmegaConf.save(OmegaConf.create(found), path))
    folder = RunFolder(sweep.folder, "")
    write_metrics(folder, study, trials, metric)
    folder.note(tags=tags_of(sweep, best) | {MLFLOW_RUN_NOTE: description(study, trials, metric)})
    picture(sweep, base, study)
    return best


def picture(sweep: Sweep, base: Config, study: optuna.Study) -> None:
    """Draw the study and write its page, unless `task.report=false`: then there is none of an earlier state either."""
    if base.task["report"]:
        make_page(sweep.folder, study)
    else:
        (sweep.folder / PAGE).unlink(missing_ok=True)


def tell(sweep: Sweep, study: optuna.Study, best: FrozenTrial, metric: str, hint: str | None) -> None:
    """Print the best trial, how to look at it and train it again, and what can be done with its model next.

    `hint` is the command that shows the study in its store.
    """
    counted, run = count(study.get_trials(deepcopy=False)), run_of(sweep.folder, best)
    others = {"pruned": counted.pruned, "failed": counted.failed}
    told = ", ".join(f"{number} {what}" for what, number in others.items() if number)
    name = f"{mean_over(sweep)}{metric}"
    lines = [
        f"{name} {value_of(best):.4f} in trial {best.number}, the best of {counted.finished}{told and f' ({told})'}",
        *(f"  {key} {short(value)}" for key, value in best.params.items()),
        f"  folder   {shown(sweep.folder)}",
        *([f"  report   {shown(page)}"] if (page := sweep.folder / PAGE).exists() else []),
        f"  again    {reproduce(sweep.folder, best)}" + ("  # its first seed" if sweep.settings.repeats > 1 else ""),
        *([f"  model    registered as {version}"] if run and (version := registered(run)) else []),
        *([f"  compare  {hint}"] if hint else []),
        *([next_comparison(sweep.folder)] if counted.complete > 1 else []),
        *(next_steps(f"{BEST}{shown(sweep.folder)}", experiment(sweep.config.hydra)) if run else []),
    ]
    console(report=True).print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def mean_over(sweep: Sweep) -> str:
    """What to write before the objective of a trial of several runs."""
    repeats = sweep.settings.repeats
    return f"mean over {repeats} seeds of " if repeats > 1 else ""


def tags_of(sweep: Sweep, best: FrozenTrial) -> dict[str, str]:
    """What the run of the study says of the best trial, and of how it was found; another command may change both."""
    params = {f"best.{key}": str(value) for key, value in best.params.items()}
    how = {key: str(getattr(sweep.settings, key)) for key in ("sampler", "pruner", "seed", "n_trials")}
    return {"best_trial": str(best.number), "best_value": str(value_of(best)), **params, **how}


def write_metrics(folder: RunFolder, study: optuna.Study, trials: list[FrozenTrial], metric: str) -> None:
    """The objective and the best so far, by trial, as metrics of the study."""
    lines = []
    better = min if study.direction == optuna.study.StudyDirection.MINIMIZE else max
    best: float | None = None
    for trial in trials:
        if trial.state == TrialState.COMPLETE and trial.datetime_complete is not None:
            own = value_of(trial)
            best = own if best is None else better(best, own)
            time = int(trial.datetime_complete.timestamp() * 1000)
            for name, value in ((metric, own), (f"best_{metric}", best)):
                lines.append(json.dumps({"name": name, "value": value, "step": trial.number, "timestamp": time}) + "\n")
    write_whole(folder.metrics, lambda path: path.write_text("".join(lines), encoding="utf-8"))


def description(study: optuna.Study, trials: list[FrozenTrial], metric: str) -> str:
    """The best trials as a table that the MLflow UI shows with the study."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = sorted(complete, key=lambda trial: standing(study, value_of(trial), trial.number))[:SHOWN]
    rows = [
        {"trial": trial.number, metric: value_of(trial)} | {key: short(value) for key, value in trial.params.items()}
        for trial in best
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return f"The best of {len(trials)} trials:\n\n{markdown(columns, rows)}"


def best_files(sweep: Sweep, metric: str, study: str, best: FrozenTrial) -> dict[Path, str]:
    """The best trial as an experiment: the choice of each group, and every value as it was; file -> content.

    Choices that lie in a folder of the user's come along, and paths are absolute, so that nothing else is needed.
    """
    composed, choices = Composer(sweep.context, sweep.config).job(best.user_attrs[OVERRIDES])
    values = written(config_of(composed), composed)
    config = {key: value for key, value in values.items() if key not in ("task", "name")}
    config["tracking"].pop("register", None)  # its model is registered, and to train it again is no new version
    if hide(str(config["tracking"])) != str(config["tracking"]):
        config["tracking"]["uri"] = "???"  # a password that somebody typed: to be given again
    for group in ("data", "model"):
        config[group] = {key: from_anywhere(key, value) for key, value in config[group].items()}
    own = {group: choices[group] for group in GROUPS if not (ROOT / "conf" / group / f"{choices[group]}.yaml").exists()}
    files = {
        BEST_YAML.parents[1] / group / f"{name}.yaml": OmegaConf.to_yaml(OmegaConf.create(config[group]))
        for group, name in own.items()
        if group in config
    }
    for group in GROUPS:
        if group in config:
            config[group] = beside(group, choices[group], config[group], own)
    chosen = [{f"override /{group}": choices[group]} for group in GROUPS if group != "task"]
    header = (
        "# @package _global_\n"
        f"# {reproduce(sweep.folder, best)}\n"
        f"# Trial {best.number} of the study {study}: {mean_over(sweep)}{metric} {value_of(best)}\n"
    )
    return files | {BEST_YAML: header + OmegaConf.to_yaml(OmegaConf.create({"defaults": chosen, **config}))}


def beside(group: str, choice: str, node: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, Any]:
    """What an experiment says of a group beside its choice: no target, so that another choice is not undone in silence.

    Of tracking, which has no part in the result, only what is not as the choice has it.
    """
    kept = dict(node)
    if group in own or node.get("_target_") == f"expkit.{group}.{choice}":
        del kept["_target_"]
    if group == "tracking" and group not in own:
        usual = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / group / f"{choice}.yaml"))
        assert isinstance(usual, dict)
        kept = {key: value for key, value in kept.items() if key not in usual or usual[key] != value}
    return kept


def from_anywhere(key: str, value: object) -> object:
    """A value of the config with the path of what is there made absolute."""
    if not isinstance(value, str) or value in NAMES or not (key in PATHS or value.endswith(".npy")):
        return value
    return str(Path(value).resolve()) if Path(value).exists() else value


def write_trials(folder: Path, trials: list[FrozenTrial]) -> None:
    """trials.csv and trials.parquet: a row for each trial."""
    table = pd.DataFrame([row_of(trial) for trial in trials])
    params = sorted({key for trial in trials for key in trial.params})
    for key in params:  # of one type a column, so that parquet takes it
        column = table[f"params.{key}"]
        if not all(isinstance(value, int | float) for value in column.dropna()):
            table[f"params.{key}"] = column.map(str, na_action="ignore")
    write_whole(folder / "trials.csv", lambda path: table.to_csv(path, index=False))
    write_whole(folder / "trials.parquet", lambda path: table.to_parquet(path, index=False))


def row_of(trial: FrozenTrial) -> dict[str, Any]:
    """One trial: its number, how it ended, value, epochs reported, times and params."""
    return {
        "number": trial.number,
        "state": "LOST" if is_lost(trial) else trial.state.name,
        "value": trial.value,
        "reason": trial.user_attrs.get(FAILED, trial.user_attrs.get(STOPPED)),
        "reports": len(trial.intermediate_values),
        "start": trial.datetime_start,
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        **{f"params.{key}": value for key, value in trial.params.items()},
    }
