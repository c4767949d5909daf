"""expkit from Python, as a notebook calls it."""

import pytest

import expkit
from expkit.errors import UserError
from expkit.whole_files import read_json
from tests.api.conftest import SMALL


def test_a_run_leaves_what_the_command_line_leaves(trained):
    result = read_json(trained.folder / "result.json")
    assert trained.value == result["objective"]["value"]
    assert trained.metrics.loc["best", "valid_accuracy"] == result["metrics"]["best"]["valid_accuracy"]
    assert trained.history["valid_loss"].tolist() == [result["metrics"]["last"]["valid_loss"]]
    assert trained.predictions.columns.tolist() == ["file", "label", "prediction", "confidence", "loss"]
    assert "valid_accuracy" in trained._repr_html_()


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
