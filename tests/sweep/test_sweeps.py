"""Whole sweeps on real data, in this process."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
import torch
import yaml
from mlflow import MlflowClient
from optuna.trial import TrialState
from PIL import Image

from expkit.errors import UserError
from expkit.sweep.show.page import reproduce
from expkit.sweep.show.report import best_files
from expkit.sweep.study import FAILED, WORKER
from expkit.sweep.work.trial import OVERRIDES
from expkit.tracking.finding import find_run
from tests import forked
from tests.conftest import PLAIN
from tests.sweep.conftest import TINY, expkit, trials_of

LR = "optim.lr=tag(log, interval(1e-4, 1e-1))"
SHOWN = ("tracking=mlflow", "tracking.register=digits", "task.report=true")
"""In place of PLAIN."""


def result_of(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def points(folder: Path) -> list[tuple[str, float, int]]:
    """All metrics of a run but for their times."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["name"], line["value"], line["step"]) for line in lines]


@pytest.fixture(scope="module")
def seeded(tmp_path_factory) -> tuple[Path, str]:
    """A tracked sweep seeded by the LR finder, and what it said."""
    cwd = tmp_path_factory.mktemp("seeded")
    status, out, err = expkit(*SHOWN, "+sweeps=lr_wd_pct_start", "hydra.sweeper.n_trials=8", cwd=cwd)
    assert status == 0, err
    return cwd, out


def folder_of(cwd: Path) -> Path:
    return cwd / "outputs" / "digits" / "sweep_digits-lr_wd_pct_start"


def study_of(cwd: Path) -> optuna.Study:
    return optuna.load_study(study_name="digits-lr_wd_pct_start", storage=f"sqlite:///{folder_of(cwd)}/study.db")


def test_the_first_trial_is_what_the_lr_finder_suggests_with_the_other_defaults(seeded):
    study = study_of(seeded[0])
    suggested = json.loads((folder_of(seeded[0]) / "lr_find" / "lr_find.json").read_text())["lr"]
    first = study.trials[0]
    assert first.params == {"optim.lr": suggested, "optim.wd": 0.01, "sched.pct_start": 0.25}
    space = first.distributions["optim.lr"]
    assert (space.low, space.high, space.log) == (suggested / 10, suggested * 10, True)
    assert Image.open(folder_of(seeded[0]) / "lr_find" / "plots" / "lr_find.png").width > 300


def test_each_trial_has_the_folder_of_a_hydra_job_and_a_run(seeded):
    study, folder = study_of(seeded[0]), folder_of(seeded[0])
    assert [trial.number for trial in study.trials] == list(range(8))
    for trial in study.trials:
        own = folder / str(trial.number)
        overrides = yaml.safe_load((own / ".hydra" / "overrides.yaml").read_text())
        shared = [text for text in TINY if text not in PLAIN]
        assert overrides[:-3] == [*shared, *SHOWN, "+sweeps=lr_wd_pct_start"]
        assert {text.split("=")[0] for text in overrides[-3:]} == set(trial.params)
        composed = yaml.safe_load((own / ".hydra" / "config.yaml").read_text())
        assert composed["optim"]["lr"] == trial.params["optim.lr"]
        hydra = yaml.safe_load((own / ".hydra" / "hydra.yaml").read_text())["hydra"]
        assert (hydra["job"]["num"], hydra["mode"], hydra["runtime"]["output_dir"]) == (
            trial.number,
            "MULTIRUN",
            str(own),
        )
        assert "1 epoch of" not in (own / "expkit.log").read_text()
        assert (own / "expkit.log").stat().st_size
        if trial.state == TrialState.COMPLETE:
            assert result_of(own)["objective"] == {"name": "valid_accuracy", "value": trial.value}
            assert list(trial.intermediate_values) == [1, 2]


def test_what_a_sweep_says(seeded):
    best = study_of(seeded[0]).best_trial
    out = seeded[1]
    assert "beginning the study digits-lr_wd_pct_start: 0 of 8 trials have finished" in out
    assert f"valid_accuracy {best.value:.4f} in trial {best.number}, the best of 8" in out
    assert "python -m expkit --config-dir outputs/digits/sweep_digits-lr_wd_pct_start/best +experiment=best" in out
    best_run = "run=best:outputs/digits/sweep_digits-lr_wd_pct_start"
    assert out.count("task=predict") == out.count(f"  predict  python -m expkit {best_run} task=predict") == 1


def test_the_best_run_is_trained_again_bit_by_bit(seeded):
    cwd, best = seeded[0], study_of(seeded[0]).best_trial
    own = folder_of(cwd) / str(best.number)
    command = f"--config-dir {folder_of(cwd).relative_to(cwd)}/best +experiment=best hydra.run.dir=again"
    # A process of its own has other hashes than the sweep had.
    subprocess.run([sys.executable, "-m", "expkit", *command.split()], cwd=cwd, check=True, capture_output=True)
    again = cwd / "again"
    assert points(again) == points(own)
    for name in ("checkpoints/best.safetensors", "checkpoints/model.safetensors"):
        assert (again / name).read_bytes() == (own / name).read_bytes()
    assert result_of(again)["objective"] == result_of(own)["objective"]


def test_a_sweep_leaves_tables_pictures_and_the_best_params(seeded):
    folder, study = folder_of(seeded[0]), study_of(seeded[0])
    table = pd.read_parquet(folder / "trials.parquet")
    assert table["number"].tolist() == list(range(8))
    assert table["value"].tolist() == [trial.value for trial in study.trials]
    assert table["params.optim.lr"].tolist() == [trial.params["optim.lr"] for trial in study.trials]
    assert pd.read_csv(folder / "trials.csv").shape == table.shape
    for name in ("history", "slice", "parallel", "importance"):
        assert Image.open(folder / "plots" / f"{name}.png").width > 300
    page = (folder / "report.html").read_text()
    assert f"trial {study.best_trial.number}, the best of 8" in page
    assert "run=best:outputs/digits/sweep_digits-lr_wd_pct_start task=predict" in page
    (folder / "report.html").unlink()
    status, out, err = forked.expkit("task=report", f"run={folder}", cwd=seeded[0])
    assert (status, out) == (0, "outputs/digits/sweep_digits-lr_wd_pct_start/report.html\n"), err
    assert (folder / "report.html").read_text() == page
    best = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert best == {"name": "optuna", "best_params": study.best_params, "best_value": study.best_value}
    assert not (folder / ".workers").exists()


def test_the_store_has_the_model_of_the_best_trial_and_of_no_other(seeded):
    client = MlflowClient(f"sqlite:///{seeded[0]}/outputs/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    trials = client.search_runs([experiment.experiment_id], "params.trial LIKE '%'")
    assert len(trials) == 8
    (study,) = client.search_runs([experiment.experiment_id], "tags.kind = 'study'")
    best = study.data.tags["best_trial"]
    (logged,) = client.search_logged_models([experiment.experiment_id])
    assert [logged.source_run_id] == [run.info.run_id for run in trials if run.data.params["trial"] == best]
    (version,) = client.search_model_versions("name = 'digits'")
    assert (version.run_id, int(version.version)) == (logged.source_run_id, 1)
    assert find_run(f"best:{folder_of(seeded[0])}").path == folder_of(seeded[0]) / best
    own = folder_of(seeded[0]) / best
    image = np.zeros((16, 16, 3), np.uint8)
    model = mlflow.pyfunc.load_model(logged.artifact_location)
    assert model.predict(pd.DataFrame({"image": [image]}))["class"][0] in result_of(own)["classes"]


def test_a_study_is_gone_on_with_as_if_it_had_never_stopped(seeded, swept, directory):
    """Three trials, then eight: the same as eight at once, with one search of a learning rate."""
    swept("+sweeps=lr_wd_pct_start", "hydra.sweeper.n_trials=3")
    began = (folder_of(directory) / "lr_find" / "lr_find.json").stat().st_mtime_ns
    swept("+sweeps=lr_wd_pct_start", "hydra.sweeper.n_trials=8")
    assert (folder_of(directory) / "lr_find" / "lr_find.json").stat().st_mtime_ns == began
    ours, theirs = study_of(directory).trials, study_of(seeded[0]).trials
    assert [trial.params for trial in ours] == [trial.params for trial in theirs]
    assert [(trial.state, trial.value) for trial in ours] == [(trial.state, trial.value) for trial in theirs]
    swept("+sweeps=lr_wd_pct_start", "hydra.sweeper.n_trials=8")
    assert len(study_of(directory).trials) == 8


def test_another_search_under_the_same_name_is_refused_with_the_difference(swept):
    name = "hydra.sweeper.study_name=digits-search"
    swept(LR, "hydra.sweeper.n_trials=1", name)
    with pytest.raises(UserError) as refused:
        swept(
            name,
            "optim.lr=tag(log, interval(1e-4, 1))",
            "optim.wd=interval(0, 1)",
            "batch_size=32",
            "hydra.sweeper.n_trials=1",
        )
    assert str(refused.value).splitlines() == [
        "the study digits-search searched otherwise; give another hydra.sweeper.study_name, or take back:",
        "  space: optim.lr was 'tag(log, interval(0.0001, 0.1))', is now 'tag(log, interval(0.0001, 1.0))'",
        "  space: optim.wd was nothing, is now 'interval(0.0, 1.0)'",
        "  config: batch_size was 64, is now 32",
    ]


def test_the_best_run_needs_nothing_but_its_own_folder(prepared, directory, monkeypatch):
    """A choice of the user's own comes along, and paths lead from anywhere."""
    (directory / "own" / "transfer").mkdir(parents=True)
    (directory / "own" / "transfer" / "mine.yaml").write_text(
        "_target_: expkit.transfer.recipe\nphases: {warm: {epochs: 1, trains: head}, all: {epochs: rest}}\n"
    )
    (directory / "my photos").mkdir()
    base = ("data=folders", "data.root=my photos", "transfer=mine", f"hydra.searchpath=[file://{directory}/own]")
    sweep, _ = prepared("hydra/sweeper=expkit", LR, "hydra.sweeper.study_name=my study", base=base)
    overrides = [*sweep.search.fixed, "optim.lr=0.01"]
    attrs = {OVERRIDES: overrides, WORKER: {"threads": torch.get_num_threads()}}
    best = optuna.trial.create_trial(value=0.5, user_attrs=attrs)
    files = best_files(sweep, "valid_accuracy", "my study", best)
    for name, text in files.items():
        (sweep.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (sweep.folder / name).write_text(text)
    *_, flag, where, chosen = shlex.split(reproduce(sweep.folder, best))
    assert (flag, chosen) == ("--config-dir", "+experiment=best")
    found = (directory / where).resolve()
    monkeypatch.chdir("/")
    again = prepared("hydra/sweeper=expkit", LR, base=(chosen, f"hydra.searchpath=['file://{found}']"))[1]
    assert again.transfer["phases"]["warm"] == {"epochs": 1, "trains": "head"}
    assert again.data["root"] == str(directory / "my photos")
    assert again.data["_target_"] == "expkit.data.folders"
    other = prepared("hydra/sweeper=expkit", LR, "tracking=none", base=(chosen, f"hydra.searchpath=['file://{found}']"))
    assert other[1].tracking["_target_"] == "expkit.tracking.none"
    with pytest.raises(UserError, match=r"no key of optim"):
        prepared("hydra/sweeper=expkit", LR, "optim=sgd", base=(chosen, f"hydra.searchpath=['file://{found}']"))


def test_a_study_that_was_given_no_name_is_called_after_what_it_searches(prepared):
    def name(*overrides: str) -> str:
        return prepared("hydra/sweeper=expkit", *overrides)[0].folder.name

    one = name(LR)
    assert one.startswith("sweep_digits-optim.lr-")
    assert name(LR, "hydra.sweeper.n_trials=3", "num_workers=1") == one
    others = [name(LR.replace("1e-1", "1")), name(LR, "batch_size=32"), name(LR, "hydra.sweeper.repeats=2")]
    others += [name(LR, "optim.wd=0.1,0.2"), name("optim=sgd,adam")]
    assert len({one, *others}) == 6
    assert name("+sweeps=lr_wd_pct_start", "batch_size=32") == "sweep_digits-lr_wd_pct_start"
    assert name("+sweeps=lr_wd_pct_start", LR).startswith("sweep_digits-lr_wd_pct_start-optim.lr-")


def test_a_folder_of_another_study_is_refused(swept, directory):
    swept(LR, "hydra.sweeper.n_trials=1")
    with pytest.raises(UserError, match="holds trials of a study that is not in hydra"):
        swept(LR, "hydra.sweeper.n_trials=1", "hydra.sweeper.storage=sqlite:///other.db")


def test_a_trial_that_fails_is_kept_with_its_reason_and_the_sweep_goes_on(swept, capsys):
    sweep = swept("optim.lr=choice(1e-3, 1e30)", "optim.wd=choice(0.0, 0.01)", "hydra.sweeper.sampler=grid")
    trials = trials_of(sweep)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2 + [TrialState.FAIL] * 2
    for trial in trials[2:]:
        assert "the training loss became" in trial.user_attrs[FAILED]
        assert "the training loss became" in (sweep.folder / str(trial.number) / "expkit.log").read_text()
    out = capsys.readouterr().out
    assert "trial 2: failed: the training loss became" in out
    assert "in trial 0, the best of 4 (2 failed)" in out


def test_where_all_trials_fail_the_sweep_fails_with_a_summary(directory):
    status, _, err = expkit(
        "optim.lr=choice(1e29, 1e30)", "hydra/sweeper=expkit", "hydra.sweeper.n_trials=2", cwd=directory
    )
    assert status == 1
    assert "error: all 2 trials failed:\n  trial 0: the training loss became" in err
    assert "Traceback" not in err


def test_a_hopeless_trial_is_pruned(swept):
    sweep = swept(
        "optim.lr=choice(1e-2, 3e-2, 1e-1, 1e-9)",
        "hydra.sweeper.sampler=grid",
        "hydra.sweeper.pruner={_target_: optuna.pruners.MedianPruner, n_startup_trials: 3}",
    )
    last = trials_of(sweep)[-1]
    assert last.state == TrialState.PRUNED
    assert list(last.intermediate_values) == [1]
    assert "after epoch 1 of 2" in (sweep.folder / "3" / "expkit.log").read_text()
    assert not (sweep.folder / "3" / "result.json").exists()
    assert not (sweep.folder / "3" / "checkpoints").exists()


def test_repeats_are_runs_of_their_own_and_their_mean_counts(swept):
    sweep = swept(LR, "hydra.sweeper.n_trials=2", "hydra.sweeper.repeats=3", "seed=5", "hydra.sweeper.pruner=none")
    for trial in trials_of(sweep):
        runs = [sweep.folder / str(trial.number) / f"seed_{seed}" for seed in (5, 6, 7)]
        values = [result_of(run)["objective"]["value"] for run in runs]
        assert trial.value == pytest.approx(sum(values) / 3)
        assert [yaml.safe_load((run / "config.yaml").read_text())["seed"] for run in runs] == [5, 6, 7]
        assert list(trial.intermediate_values) == [1, 2, 3, 4, 5, 6]
    best = max(trials_of(sweep), key=lambda trial: (trial.value, -trial.number))
    with_weights = {path.parents[1] for path in sweep.folder.glob("*/*/checkpoints/model.safetensors")}
    assert sweep.folder / str(best.number) / "seed_5" in with_weights
    assert {path.name for path in with_weights} == {"seed_5"}  # as in best.yaml
    again = (sweep.folder / "best" / "experiment" / "best.yaml").read_text()
    assert f"mean over 3 seeds of valid_accuracy {best.value}" in again
    assert yaml.safe_load(again)["seed"] == 5


def test_a_grid_runs_each_point_once_in_hydras_order(swept):
    sweep = swept(
        "optim=choice(sgd, adam)", "epochs=range(1, 3)", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=3"
    )
    expected = [("sgd", 1), ("sgd", 2), ("adam", 1)]
    assert [(trial.params["optim"], trial.params["epochs"]) for trial in trials_of(sweep)] == expected
    swept("optim=choice(sgd, adam)", "epochs=range(1, 3)", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=30")
    points = [(trial.params["optim"], trial.params["epochs"]) for trial in trials_of(sweep)]
    assert points == [*expected, ("adam", 2)]


def test_a_space_with_fewer_points_than_trials_is_told(swept, capsys):
    told = "the space has 2 points only, so trials repeat; hydra.sweeper.sampler=grid runs each once"
    swept("optim=choice(sgd, adam)", "epochs=1", "hydra.sweeper.n_trials=3", "hydra.sweeper.study_name=drawn")
    assert told in capsys.readouterr().out
    swept("optim=choice(sgd, adam)", "epochs=1", "hydra.sweeper.sampler=grid", "hydra.sweeper.study_name=grid")
    assert told not in capsys.readouterr().out


def test_conditions_add_params_to_the_trials_that_they_suit(swept):
    sweep = swept("+sweeps=optimizer_and_schedule", "hydra.sweeper.n_trials=8", "hydra.sweeper.sampler=random")
    trials = trials_of(sweep)
    assert len({trial.params["optim"] for trial in trials}) > 1
    for trial in trials:
        assert ("optim.mom" in trial.params) == (trial.params["optim"] == "sgd")
        composed = yaml.safe_load((sweep.folder / str(trial.number) / "config.yaml").read_text())
        assert composed["optim"]["_target_"] == f"expkit.optim.{trial.params['optim']}"
        assert composed["optim"]["lr"] == trial.params["optim.lr"]


def test_conditions_give_way_to_what_the_command_line_says(swept):
    conditions = "hydra.sweeper.conditions=expkit.sweep.conditions.by_optimizer"
    sweep = swept(
        "optim=choice(adam, sgd)",
        "optim.lr=0.02",
        conditions,
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.sampler=random",
    )
    trials = trials_of(sweep)
    assert {"sgd"} < {trial.params["optim"] for trial in trials}
    for trial in trials:
        assert "optim.lr" not in trial.params
        assert ("optim.mom" in trial.params) == (trial.params["optim"] == "sgd")
        composed = yaml.safe_load((sweep.folder / str(trial.number) / "config.yaml").read_text())
        assert composed["optim"]["lr"] == 0.02


def test_other_conditions_under_the_same_name_are_refused(swept, directory, monkeypatch):
    monkeypatch.setenv("EXPKIT_TRUST", "my_conditions")
    monkeypatch.syspath_prepend(str(directory))
    arguments = ("optim=choice(adam, sgd)", "hydra.sweeper.conditions=my_conditions.rates", "epochs=1")
    text = "def rates(params):\n    return {'optim.lr': 'interval(0.01, 0.02)'}\n"
    (directory / "my_conditions.py").write_text(text)
    swept(*arguments, "hydra.sweeper.n_trials=1")
    (directory / "my_conditions.py").write_text(text.replace("interval(0.01, 0.02)", "tag(log, interval(0.01, 0.02))"))
    sys.modules.pop("my_conditions")  # as in the process of a later command
    with pytest.raises(UserError, match=r"conditions: optim.lr was \['interval\(0.01, 0.02\)'\], is now \['tag\(log"):
        swept(*arguments, "hydra.sweeper.n_trials=2")


def test_what_keeps_a_study_from_its_first_trial_may_be_changed(swept):
    sweep = ("+sweeps=lr_wd_pct_start", "hydra.sweeper.n_trials=1", "epochs=1")
    with pytest.raises(UserError, match=r"the loss exceeded|became NaN"):
        swept(*sweep, "lr_find.start_lr=1e25", "lr_find.end_lr=1e38")
    assert len(trials_of(swept(*sweep))) == 1


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_each_sampler_draws_what_it_would_have_drawn_without_a_stop(swept, sampler):
    space = (LR, "optim.wd=interval(0, 0.1)", "epochs=1", f"hydra.sweeper.sampler={sampler}")
    whole = trials_of(swept(*space, "hydra.sweeper.n_trials=12", "hydra.sweeper.study_name=whole"))
    for n_trials in (6, 12):
        sweep = swept(*space, f"hydra.sweeper.n_trials={n_trials}", "hydra.sweeper.study_name=parts")
    assert [trial.params for trial in trials_of(sweep)] == [trial.params for trial in whole]
    assert len({trial.params["optim.lr"] for trial in whole}) == 12


def test_another_seed_draws_otherwise(swept):
    one = trials_of(swept(LR, "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=a"))
    two = trials_of(swept(LR, "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=b", "hydra.sweeper.seed=1"))
    assert one[0].params != two[0].params


def test_no_trial_begins_after_the_timeout(swept):
    sweep = swept(LR, "hydra.sweeper.n_trials=1000", "hydra.sweeper.timeout=2")
    assert 1 <= len(trials_of(sweep)) < 1000
    assert {trial.state for trial in trials_of(sweep)} <= {TrialState.COMPLETE, TrialState.PRUNED}


@pytest.mark.parametrize("names", [("who? a", "who? b"), ("feat%2Flr", "feat/lr")])
def test_projects_whose_names_a_url_would_take_apart_have_studies_of_their_own(swept, directory, monkeypatch, names):
    for name in names:
        project = directory / name
        project.mkdir(parents=True)
        monkeypatch.chdir(project)
        swept(LR, "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=mine")
        (folder,) = project.glob("outputs/digits/sweep_mine")
        assert (folder / "0" / "result.json").is_file(), "or the study of the other was found"
        assert (folder / "study.db").is_file()
