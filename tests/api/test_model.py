"""The model of a run from Python: predictions, scores and exports, as the command line makes them."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import expkit
from expkit.errors import UserError
from expkit.whole_files import read_json


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


def test_a_device_that_is_not_here_is_named(trained):
    for device in ("cuda:99", "tpu", "meta"):
        with pytest.raises(UserError, match=f"^device={device} is not to be had here"):
            expkit.load(trained.folder, device=device)
    assert expkit.load(trained.folder, device="auto").classes == trained.load().classes


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


def test_scores_are_those_of_the_command_line_as_frames(trained, capsys):
    found = trained.load().evaluate(resamples=20)
    content = read_json(found.folder / "evaluation.json")
    scores = content["parts"]["valid"]
    assert found.metrics.loc["valid"].to_dict() == scores["metrics"]
    assert found.metrics.loc["valid", "accuracy"] == trained.value
    assert found.intervals.loc["valid", "accuracy"].tolist() == scores["intervals"]["accuracy"]
    assert found.by_class.loc[("valid", "3"), "images"] == found.confusion.loc[("valid", "3")].sum()
    assert found.predictions.loc["valid"].equals(trained.predictions)
    right = found.predictions.eval("label == prediction").mean()
    assert right == np.trace(found.confusion) / len(found.predictions) == trained.value
    first = found.confused.loc[("valid", 0)]
    assert found.confusion.loc[("valid", first["label"]), first["prediction"]] == first["images"]
    shown = found._repr_html_()
    assert f"{trained.value:.4f}" in shown
    assert "data:image/png;base64," in shown


def test_other_data_is_a_folder_or_overrides(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for split in ("train", "valid"):
        for digit in ("3", "7"):
            (tmp_path / "more=photos" / split / digit).mkdir(parents=True)
            for number in range(3):
                pixels = draw.integers(0, 256, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "more=photos" / split / digit / f"{number}.png")
    model = trained.load()
    with pytest.raises(UserError, match=r"there are 8 that the data lacks|task\.classes=common"):
        model.evaluate("more=photos")
    keys = {"classes": "common", "split": "all", "resamples": 0}
    by_folder = model.evaluate("more=photos", name="by_folder", **keys)
    assert by_folder.metrics.index.tolist() == ["all"]
    assert len(by_folder.predictions) == 12
    overrides = ["data=folders", 'data.root="more=photos"', "batch_size=5"]
    by_overrides = model.evaluate(*overrides, name="by_overrides", **keys)
    pd.testing.assert_frame_equal(by_folder.predictions, by_overrides.predictions)


def test_an_export_is_that_of_the_command_line(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = trained.load()
    out = model.export("digits_out")
    assert out == tmp_path / "digits_out"
    assert read_json(out / "export.json")
    with pytest.raises(UserError, match=r"task\.out=.*digits_out exists already"):
        model.export("digits_out")
    with pytest.raises(UserError, match=r"task\.format must be one of .*, got 'onx'; did you mean 'onnx'"):
        model.export("other", format="onx")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ttaa": 2}, "task.ttaa is no key of task; did you mean 'tta'"),
        ({"tta": "two"}, "task.tta must be a whole number of at least 0, got 'two'"),
        ({"use_max": True}, "task.use_max is about augmented views"),
    ],
)
def test_wrong_keys_are_told_as_on_the_command_line(trained, keys, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        trained.load().evaluate(**keys)
