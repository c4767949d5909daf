"""A sweep from Python: a study or a grid, as -m runs it, in a process that goes on."""

import importlib
import inspect
import os
import pickle
import threading
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

import expkit
from expkit.errors import UserError
from expkit.whole_files import read_json

TINY = (
    *("+experiment=digits", "data.classes=[0,1,2]", "image_size=16", "epochs=2", "transfer=frozen_precompute"),
    *("tracking=none", "num_workers=0"),
)
STUDY = (*TINY, "+sweeps=lr_wd_pct_start", "hydra.sweeper.n_trials=3")

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture(scope="module")
def study(project):
    return expkit.sweep(*STUDY)


def test_a_study_gives_its_trials_and_its_best(study, project):
    assert study.folder == project / "outputs" / "digits" / "sweep_digits-lr_wd_pct_start"
    trials = study.trials
    assert trials["number"].tolist() == [0, 1, 2]
    best = trials.loc[trials["value"].idxmax()]
    assert (study.best.number, study.best.value, study.best.metric) == (best["number"], best["value"], "valid_accuracy")
    assert study.best.params == {key: best[f"params.{key}"] for key in ("optim.lr", "optim.wd", "sched.pct_start")}
    assert read_json(study.best.folder / "result.json")["objective"]["value"] == best["value"]
    assert study.load().folder == study.best.folder
    assert study.load().evaluate(resamples=0, quiet=True).metrics.loc["valid", "accuracy"] == best["value"]
    page = expkit.run(f"run={study.folder}", "task=report", quiet=True).value
    assert page == study.folder / "report.html"
    shown = study._repr_html_()
    assert f"valid_accuracy {best['value']:.4f} in trial {best['number']} of 3" in shown
    assert shown.index(f"<th>{best['number']}</th>") == min(shown.index(f"<th>{number}</th>") for number in range(3))


def test_the_same_call_goes_on_in_any_thread_and_leaves_the_process_as_it_was(study, unchanged):
    found = []
    more = (*STUDY[:-1], "hydra.sweeper.n_trials=4", f"hydra.sweep.dir={study.folder}")
    thread = threading.Thread(target=lambda: found.append(expkit.sweep(*more)))
    thread.start()
    thread.join()
    assert found[0].trials["number"].tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(found[0].trials[:3], study.trials)
    expkit.sweep(*more)


def test_a_grid_gives_its_jobs_and_says_why_one_failed(unchanged, capsys):
    grid = expkit.sweep(*TINY, "optim.lr=0.01,1e30")
    assert grid.trials[["number", "state", "params.optim.lr"]].to_numpy().tolist() == [
        [0, "COMPLETE", 0.01],
        [1, "FAIL", 1e30],
    ]
    assert "the training loss became nan" in grid.trials.loc[1, "reason"]
    assert (grid.best.number, grid.best.params) == (0, {"optim.lr": 0.01})
    assert grid.load().classes == ["0", "1", "2"]
    told = capsys.readouterr()
    assert [line for line in told.out.splitlines() if line.startswith("job")] == [
        "job 0: optim.lr=0.01",
        "job 1: optim.lr=1e+30",
    ]
    assert "job 1 failed: the training loss became nan" in told.err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+sweeps=lr_wd_pct_star"], "sweeps=lr_wd_pct_star is no choice of sweeps; did you mean 'lr_wd_pct_start'"),
        (["+sweeps=lr_wd_pct_start", "hydra.sweeper.n_trial=3"], "hydra.sweeper.n_trial is no key of hydra.sweeper"),
        (["optim.foo=1,2"], "all 2 jobs failed:\n  job 0: optim.foo is no key of optim"),
        (["optim=sgd,adam", "hydra.sweep.dir=taken"], "taken holds jobs.csv, which would be written over"),
    ],
    ids=["choice", "key", "jobs", "folder"],
)
def test_a_mistake_is_a_sentence(unchanged, overrides, message, capsys):
    os.mkdir("taken")
    (Path("taken") / "jobs.csv").touch()
    with pytest.raises(UserError) as caught:
        expkit.sweep(*TINY, *overrides)
    assert message in str(caught.value)
    assert "error: " not in capsys.readouterr().err


def test_the_package_of_the_same_name_is_found_by_every_way():
    import expkit.sweep.study as by_name
    from expkit.sweep.conditions import by_optimizer

    assert importlib.import_module("expkit.sweep.study") is by_name is expkit.sweep.study
    assert pickle.loads(pickle.dumps(by_optimizer)) is by_optimizer
    with mock.patch("expkit.sweep.study.count", None):
        assert by_name.count is None
    assert list(inspect.signature(expkit.sweep).parameters) == ["overrides", "config_dir", "quiet"]
