"""Everything that can be wrong with a sweep is said before anything runs or is written."""

import subprocess
import sys

import pytest

from expkit.errors import UserError
from tests import forked

LR = "optim.lr=tag(log, interval(1e-4, 1e-1))"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "the sweep has nothing to search: give a space, such as 'optim.lr=tag"),
        ([LR, "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials must be a whole number of at least 1, got 0"),
        ([LR, "hydra.sweeper.n_jobs=two"], "hydra.sweeper.n_jobs must be a whole number of at least 1, got 'two'"),
        ([LR, "hydra.sweeper.timeout=0"], "hydra.sweeper.timeout must be a number above 0 or null, got 0"),
        ([LR, "hydra.sweeper.seed=-1"], "hydra.sweeper.seed must be"),
        ([LR, "hydra.sweeper.repeats=0"], "hydra.sweeper.repeats must be"),
        ([LR, "hydra.sweeper.study_name=a/b"], "hydra.sweeper.study_name names a folder too, so 'a/b' cannot be"),
        ([LR, "+hydra.sweeper.trials=3"], "hydra.sweeper.trials is no key of hydra.sweeper; did you mean 'n_trials'?"),
        ([LR, "hydra.sweeper.storage=sweeps.db"], "hydra.sweeper.storage must be the URL of a database"),
        ([LR, "hydra.sweeper.storage=oracle://a/b"], "of kind sqlite, postgresql, mysql, .* got 'oracle'"),
        ([LR, "hydra.sweeper.storage='sqlite:///:memory:'"], "a database in memory, which processes cannot share"),
        ([LR, "hydra.sweeper.storage='sqlite:///who? a/s.db'"], "storage=.* write sqlite.pysqlite:///who%3F%20a/s.db"),
        ([LR, "hydra.sweeper.sampler=tpo"], "hydra.sweeper.sampler=tpo is no sampler; did you mean 'tpe'?"),
        ([LR, "hydra.sweeper.pruner=mediam"], "hydra.sweeper.pruner=mediam is no pruner; did you mean 'median'?"),
        (
            [LR, "hydra.sweeper.sampler={n_startup_trials: 3}"],
            "hydra.sweeper.sampler must be a short name or a node with",
        ),
        (
            [LR, "hydra.sweeper.sampler={_target_: optuna.samplers.TPESampler, n_startup: 3}"],
            "hydra.sweeper.sampler.n_startup is no key of optuna.samplers.TPESampler; did you mean 'n_startup_trials'?",
        ),
        (
            [LR, "hydra.sweeper.sampler={_target_: optuna.samplers.TPESampler, seed: 3}"],
            "hydra.sweeper.sampler.seed has no effect here; give hydra.sweeper.seed",
        ),
        (
            [LR, "hydra.sweeper.sampler={_target_: optuna.pruners.MedianPruner}"],
            "hydra.sweeper.sampler._target_: optuna.pruners.MedianPruner is no sampler",
        ),
        (
            [LR, "hydra.sweeper.sampler={_target_: optuna.samplers.GridSampler}"],
            "optuna.samplers.GridSampler is no sampler; for a grid write grid",
        ),
        (
            [LR, "hydra.sweeper.sampler={_target_: os.system}"],
            "hydra.sweeper.sampler._target_: os.system is nothing that a config may name",
        ),
        (
            [LR, "hydra.sweeper.pruner={_target_: optuna.pruners.MedianPruner, n_startup_trials: -1}"],
            "hydra.sweeper.pruner: optuna.pruners.MedianPruner refuses these keys",
        ),
        ([LR, "hydra.sweeper.sampler=grid"], "grid needs values that can be counted, but optim.lr is tag"),
        (
            [
                "optim=choice(sgd, adam)",
                "hydra.sweeper.sampler=grid",
                "hydra.sweeper.conditions=expkit.sweep.conditions.by_optimizer",
            ],
            "it has no place beside hydra.sweeper.conditions",
        ),
        ([LR, "hydra.sweeper.sampler=cmaes"], "hydra.sweeper.sampler=cmaes needs two numbers or more"),
        ([LR, "optim=sgd,adam", "hydra.sweeper.sampler=cmaes"], "cmaes searches numbers only, but optim is a choice"),
        ([LR, "hydra.sweeper.direction=maximise"], "hydra.sweeper.direction must be one of maximize, minimize"),
        (
            [LR, "hydra.sweeper.direction=minimize"],
            "hydra.sweeper.direction must be maximize, since objective.mode is max for valid_accuracy; got minimize",
        ),
        ([LR, "objective.metric=valid_loss"], "objective.mode must be min for valid_loss, got 'max'"),
        (
            ["optim.lrr=interval(0, 1)"],
            "a trial with optim.lrr=0.0 cannot run: optim.lrr is no key of optim; did you mean 'lr'",
        ),
        (["optim.lr=interval(-1, 1)"], "a trial with optim.lr=-1.0 cannot run: optim.lr must be"),
        (["sched.pct_start=interval(0.1, 1)"], "a trial with sched.pct_start=1.0 cannot run: sched.pct_start must be"),
        (["optim=choice(adam, sgdd)"], "a trial with optim=sgdd cannot run: optim=sgdd is no choice of optim"),
        (
            ["optim=choice(adam, sgd)", "optim.sqr_mom=interval(0.9, 0.99)"],
            "a trial with optim=sgd optim.sqr_mom=0.99 cannot run: optim.sqr_mom is no key of optim",
        ),
        (["epochs=int(interval(0, 3))"], "a trial with epochs=0 cannot run: epochs must be a whole number"),
        (["epochs=interval(1, 3)"], "a trial with epochs=1.0 cannot run: epochs must be a whole number"),
        (
            ["objective.metric=valid_f1,valid_accuracy"],
            "objective.metric cannot be searched: the trials of a study share it",
        ),
        (["tracking=none,mlflow"], "tracking cannot be searched"),
        (["transfer.tta=0,4"], "transfer.tta cannot be searched: it has no part in the objective"),
        ([LR, "hydra.sweeper.conditions=expkit.sweep.conditions.by_optimiser"], "has no 'by_optimiser'"),
        (
            [LR, "hydra.sweeper.conditions=os.getcwd"],
            "hydra.sweeper.conditions: os.getcwd is nothing that a config may name",
        ),
        (
            [LR, "hydra.sweeper.conditions=expkit.sweep.space.spaces.text_of"],
            "hydra.sweeper.conditions: expkit.sweep.space.spaces.text_of is nothing that a config may name",
        ),
        (
            [LR, "hydra.sweeper.conditions=expkit.sweep.conditions.by_optimizer"],
            r"expkit.sweep.conditions.by_optimizer\({'optim.lr': 0.0001}\) raised KeyError: 'optim'",
        ),
    ],
)
def test_a_mistake_is_named_before_anything_runs(prepared, directory, overrides, message):
    with pytest.raises(UserError, match=message):
        prepared("hydra/sweeper=expkit", *overrides)
    assert not list(directory.iterdir())


def test_a_sweep_of_another_task_is_refused(prepared, directory):
    with pytest.raises(UserError, match="a sweep trains each trial: leave out task="):
        prepared("hydra/sweeper=expkit", LR, "task=lr_find", base=("+experiment=digits",))
    assert not list(directory.iterdir())


def test_it_is_said_once_that_trials_average_over_no_views(prepared, capsys):
    sweep, _ = prepared("hydra/sweeper=expkit", LR, "transfer=scratch,full_recipe", "augment=side_on", "epochs=4")
    told = "transfer.tta=4 has no part in trials, whose objective is of an epoch"
    assert capsys.readouterr().out.count(told) == 1
    assert sweep.searches["space"]["transfer"] == "choice(scratch, full_recipe)"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            "{optim.lr: 'interval(1)'}",
            "hydra.sweeper.params.optim.lr: 'optim.lr=interval(1)' is not written in Hydra's",
        ),
        ("{optim.lr: {around: slope}}", "hydra.sweeper.params.optim.lr.around must be lr_find, got 'slope'"),
        ("{optim: [sgd, adam]}", "hydra.sweeper.params.optim must be a choice or a space, got a list; write choice("),
        ("{optim: {lr: 'interval(0, 1)'}}", "hydra.sweeper.params.optim must be a choice or a space, got a mapping"),
    ],
)
def test_a_mistake_in_a_sweep_file_is_named_with_its_key(directory, params, message):
    folder = directory / "own" / "sweeps"
    folder.mkdir(parents=True)
    text = "# @package _global_\ndefaults:\n  - override /hydra/sweeper: expkit\nhydra:\n  sweeper:\n    params: "
    (folder / "wrong.yaml").write_text(f"{text}{params}\n")
    arguments = ("-m", "--config-dir", "own", "+experiment=digits", "+sweeps=wrong")
    status, _, err = forked.expkit(*arguments, cwd=directory)
    assert status == 1
    assert f"error: {message}" in err
    assert "Traceback" not in err
    assert [path.name for path in directory.iterdir()] == ["own"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["hydra/sweeper=expkit", "+hydra.sweeper.params.optim=sgd"],
            "hydra.sweeper.params are for a sweep, and one run would ignore them: add -m",
        ),
        (["optim.lr=interval(0, 1)", "-m"], "interval(...) is searched by Optuna: add hydra/sweeper=expkit"),
    ],
)
def test_a_search_without_what_it_takes_is_refused(directory, arguments, message):
    status, _, err = forked.expkit("+experiment=digits", *arguments, cwd=directory)
    assert status == 1
    assert message in err
    assert not list(directory.glob("outputs/*/*/*/"))


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:///text.db", "storage=sqlite:////.*/text.db cannot be used .file is not a database.; name another"),
        ("sqlite:///folder", "storage=sqlite:////.*/folder is a folder; name a file in it"),
        ("sqlite:///text.db/study.db", "storage=sqlite:////.*/study.db: its folder cannot be made .File exists"),
    ],
)
def test_a_path_that_is_no_database_is_named(swept, directory, storage, message):
    (directory / "text.db").write_text("not a database")
    (directory / "folder").mkdir()
    with pytest.raises(UserError, match=message):
        swept(LR, f"hydra.sweeper.storage={storage}")
    assert (directory / "text.db").read_text() == "not a database"


def test_a_mistake_is_answered_before_torch_is_imported(directory):
    code = """
import sys
sys.argv = ["expkit", "-m", "+experiment=digits", "hydra/sweeper=expkit", "optim.lr=interval(-1, 1)"]
from expkit.__main__ import main
try:
    main()
except SystemExit as end:
    assert end.code == 1
assert not {"torch", "mlflow", "optuna", "pandas", "matplotlib"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_conditions_of_the_users_must_give_spaces(prepared, tmp_path, monkeypatch):
    (tmp_path / "my_wrong_conditions.py").write_text("def words(params): return 'optim.lr'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EXPKIT_TRUST", "my_wrong_conditions")
    with pytest.raises(UserError, match=r"my_wrong_conditions\.words must give a mapping of keys to spaces, got"):
        prepared("hydra/sweeper=expkit", LR, "hydra.sweeper.conditions=my_wrong_conditions.words")


@pytest.mark.parametrize("name", ["trials.csv", "best", "plots", "multirun.yaml", "run.json", "3/metrics.jsonl"])
def test_what_a_study_would_write_over_is_named(directory, prepared, name):
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_text("mine")
    with pytest.raises(UserError, match=rf"{name.rpartition('/')[2]}, which would be .* another hydra\.sweep\.dir"):
        prepared("hydra/sweeper=expkit", LR, "hydra.sweep.dir=.")
    assert (directory / name).read_text() == "mine"


def test_a_study_of_ones_own_is_gone_on_with_in_its_folder(directory, prepared):
    (directory / "run.json").write_text('{"experiment": "digits", "kind": "study"}')
    (directory / "trials.csv").write_text("number")
    prepared("hydra/sweeper=expkit", LR, "hydra.sweep.dir=.")
