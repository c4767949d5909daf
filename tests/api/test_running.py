"""expkit from Python, as a notebook calls it."""

import os

import pytest
from PIL import Image

import expkit
from expkit.errors import UserError
from expkit.interrupt import Interrupted
from expkit.trainer.loop import Trainer
from expkit.whole_files import read_json
from tests.api.conftest import SMALL
from tests.test_stops import signal_at


def test_a_run_leaves_what_the_command_line_leaves(trained):
    result = read_json(trained.folder / "result.json")
    assert trained.value == result["objective"]["value"]
    assert trained.metrics.loc["best", "valid_accuracy"] == result["metrics"]["best"]["valid_accuracy"]
    assert trained.history["valid_loss"].tolist() == [result["metrics"]["last"]["valid_loss"]]
    assert trained.predictions.columns.tolist() == ["file", "label", "prediction", "confidence", "loss"]
    assert "valid_accuracy" in trained._repr_html_()


def test_what_other_tasks_give_is_usable(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = expkit.run(*SMALL, "task=lr_find", "lr_find.num_it=20", "lr_find.suggest=minimum")
    assert found.value == found.suggestions["minimum"]
    groups, phases = expkit.run(*SMALL, "task=summary").value.values()
    assert groups["parameters"].sum() == phases.loc["all", "parameters"] > 0
    picture = expkit.run(*SMALL, "task=plot_schedule")
    assert picture.value == picture.folder / "plots" / "schedule.png"
    assert picture.value.exists()
    run = f"run={trained.folder}"
    scores = expkit.run(run, "task=evaluate", "task.resamples=20").value
    assert scores.metrics.loc["valid", "accuracy"] == trained.value
    Image.new("RGB", (20, 20)).save("a.png")
    for out in ("p.csv", "p.parquet"):
        table = expkit.run(run, "task=predict", "task.source=a.png", f"task.out={out}").predictions
        assert table["class"].tolist() == trained.load().predict("a.png")["class"].tolist()
    assert expkit.run(run, "task=export", "task.out=exported").value == tmp_path / "exported"


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = (*SMALL, "hydra.run.dir=run", "epochs=2")
    with monkeypatch.context() as patch:
        signal_at(patch, Trainer, "evaluate", 2)
        with pytest.raises(Interrupted):
            expkit.run(*told)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"expkit\.resume\(RUN\)"):
        expkit.run("resume=../run")
    run = expkit.resume("../run")
    assert run.folder == tmp_path / "run"
    assert run.value == run.metrics.loc["best", "valid_accuracy"]
    assert len(run.history) == 2
    assert os.getcwd() == str(tmp_path / "elsewhere")


def test_a_mistake_is_an_exception_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="epocs is no key of the config; did you mean 'epochs'"):
        expkit.run(*SMALL, "epocs=1")
    with pytest.raises(UserError, match="digitz is no choice of experiment"):
        expkit.compose("+experiment=digitz")
    with pytest.raises(UserError, match="is no run folder"):
        expkit.load(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_run_that_was_refused_but_what_lay_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="in Python: call expkit"):
        expkit.compose(*SMALL, "+sweeps=lr_wd_pct_start")
    for refused in ("model.weights=nowhere.pt", "batch_size=1"):
        with pytest.raises(UserError):
            expkit.run(*SMALL, refused, "hydra.run.dir=a/${seed}")
        assert not list(tmp_path.iterdir())
    (tmp_path / "a" / "0").mkdir(parents=True)
    (tmp_path / "a" / "0" / "notes.txt").write_text("mine")
    with pytest.raises(UserError):
        expkit.run(*SMALL, "batch_size=1", "hydra.run.dir=a/${seed}")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "0", "notes.txt"]


def test_a_config_is_composed_without_running(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = expkit.compose("+experiment=digits", "optim.lr=0.01")
    assert config["optim"]["lr"] == 0.01
    assert config["data"]["_target_"] == "expkit.data.digits"
    assert not list(tmp_path.iterdir())
