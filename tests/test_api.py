"""expkit from Python, as a notebook calls it."""

import logging
import os
import signal
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import expkit
from expkit.errors import UserError
from expkit.run_folder import read_json
from tests.conftest import SMALL_MODEL

SMALL = ("+experiment=digits", "epochs=1", "image_size=16", "num_workers=0", "tracking=none", *SMALL_MODEL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("project"))
    try:
        yield expkit.run(*SMALL)
    finally:
        os.chdir(before)


def test_a_run_leaves_what_the_command_line_leaves(trained):
    result = read_json(trained.folder / "result.json")
    assert trained.value == result["objective"]["value"]
    assert trained.metrics.loc["best", "valid_accuracy"] == result["metrics"]["best"]["valid_accuracy"]
    assert trained.history["valid_loss"].tolist() == [result["metrics"]["last"]["valid_loss"]]
    assert trained.predictions.columns.tolist() == ["file", "label", "prediction", "confidence", "loss"]
    assert "valid_accuracy" in trained._repr_html_()


def test_the_model_predicts_what_was_validated(trained):
    from expkit.data import digits

    images = digits().valid
    pictures = [images.read(index) for index in range(40)]
    table = expkit.load(trained.folder).predict(pictures, probabilities=True)
    wanted = trained.predictions.head(40)
    assert table["class"].tolist() == wanted["prediction"].tolist()
    np.testing.assert_allclose(table["confidence"], wanted["confidence"], rtol=1e-5)
    shares = table.filter(like="p_")
    assert shares.columns.tolist() == [f"p_{digit}" for digit in range(10)]
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(shares.max(axis=1), table["confidence"])


def test_images_are_given_in_any_form(trained, tmp_path):
    model = trained.load()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    array = np.asarray(picture)
    forms = [picture, array, array.transpose(2, 0, 1), tmp_path / "a.png", str(tmp_path / "a.png")]
    tables = [model.predict(form if isinstance(form, os.PathLike | str) else [form]) for form in forms]
    assert all(table.equals(tables[0]) for table in tables)
    twice = pd.concat([tables[0]] * 2, ignore_index=True)
    # Sums over a batch of another size may differ in their last bits.
    pd.testing.assert_frame_equal(model.predict(np.stack([array, array])), twice, rtol=1e-5)
    empty = model.predict([])
    assert (len(empty), empty.columns.tolist()) == (0, ["class", "confidence"])


def test_a_mistake_is_an_exception_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="epocs is no key of the config; did you mean 'epochs'"):
        expkit.run(*SMALL, "epocs=1")
    with pytest.raises(UserError, match="digitz is no choice of experiment"):
        expkit.compose("+experiment=digitz")
    with pytest.raises(UserError, match="is no run folder"):
        expkit.load(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_of_the_process_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def state():
        logger = logging.getLogger("expkit")
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return os.getcwd(), logger.level, logger.propagate, logger.handlers[:], logging.root.handlers[:], handlers

    before = state()
    values = [expkit.run(*SMALL).value]
    assert state() == before
    thread = threading.Thread(target=lambda: values.append(expkit.run(*SMALL).value))
    thread.start()
    thread.join()
    assert values[0] == values[1]
    assert state() == before


def test_a_config_is_composed_without_running(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = expkit.compose("+experiment=digits", "optim.lr=0.01")
    assert config["optim"]["lr"] == 0.01
    assert config["data"]["_target_"] == "expkit.data.digits"
    assert not list(tmp_path.iterdir())
