"""task=evaluate: exactly what validation saw, other data by class names, views, a temperature, and user mistakes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.task.evaluating import evaluate
from expkit.task.training import train
from expkit.trained.classifier import Trained
from expkit.whole_files import read_json
from tests.conftest import SMALL_MODEL
from tests.forked import expkit

DIGITS = ("+experiment=digits", "data.classes=[0, 1, 2]", "image_size=16", "batch_size=32", "epochs=2", "tracking=none")
QUICK = {"resamples": 20}
RUINED = ("transfer.phases.head.lr=30", "transfer.phases.all.lr=30", "objective={metric: valid_loss, mode: min}")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trained(config_of, tmp_path):
    """Train a config as the command line does; the config, and its folder."""

    def run(*overrides: str):
        config = config_of(*overrides)
        folder = RunFolder.create(tmp_path / "run", "test", vars(config), [])
        train(config, folder, report=False)
        return config, folder

    return run


def colours(root, *more: str) -> tuple[str, ...]:
    common = (*SMALL_MODEL, "image_size=32", "batch_size=8", "epochs=1", "tracking=none", "num_workers=0")
    return ("data=folders", f"data.root={root}", *common, *more)


def rows(path) -> list[dict]:
    return pq.read_table(path).to_pylist()


SAME = {"loss": "valid_loss", "accuracy": "valid_accuracy", "error_rate": "valid_error_rate"}


@pytest.mark.parametrize(
    "overrides",
    [
        (*DIGITS, *SMALL_MODEL),
        (*DIGITS, "objective.at=last", *SMALL_MODEL, "augment=side_on"),
        (*DIGITS, "transfer=fine_tune"),
        (*DIGITS, "transfer=frozen_precompute"),
        (*DIGITS, *SMALL_MODEL, "augment=side_on", "transfer=frozen_views"),
        (*DIGITS, *SMALL_MODEL, "augment=side_on", "transfer=full_recipe", "epochs=4"),
        # The best epoch is the first one, on features: later rates ruin the model.
        (*DIGITS, *SMALL_MODEL, "augment=side_on", "transfer=full_recipe", "epochs=4", *RUINED),
    ],
    ids=[
        "scratch",
        "last",
        "fine_tune",
        "frozen_precompute",
        "frozen_views",
        "full_recipe",
        "full_recipe, on features",
    ],
)
def test_on_its_own_data_a_run_comes_to_exactly_what_its_result_says(trained, overrides):
    config, folder = trained(*overrides)
    found = evaluate(config, folder, **QUICK)["parts"]["valid"]
    result = read_json(folder.result)
    expected = result["metrics"][config.objective["at"]]
    assert {name: found["metrics"][name] for name in SAME} == {name: expected[own] for name, own in SAME.items()}
    assert found["metrics"]["f1_macro"] == pytest.approx(expected["valid_f1"], rel=1e-12)
    if config.objective["at"] == "best":
        assert rows(folder.path / "evaluations" / "own" / "valid.parquet") == rows(folder.predictions)
    if "tta" in result["metrics"]:
        averaged = evaluate(config, folder, tta=config.transfer["tta"], **QUICK)["parts"]["valid"]["metrics"]
        assert {name: averaged[name] for name in SAME} == {
            name: result["metrics"]["tta"][own] for name, own in SAME.items()
        }


def test_of_image_files_too_and_twice_the_same(trained, colour_folders):
    config, folder = trained(*colours(colour_folders))
    first = evaluate(config, folder, **QUICK)
    expected = read_json(folder.result)["metrics"]["best"]
    assert {name: first["parts"]["valid"]["metrics"][name] for name in SAME} == {
        name: expected[own] for name, own in SAME.items()
    }
    points = folder.metrics.read_bytes()
    assert evaluate(replace(config, num_workers=2), folder, **QUICK) == first
    assert folder.metrics.read_bytes() == points, "what is known is not written again"
    place = folder.path / "evaluations" / "own"
    assert read_json(place / "evaluation.json") == json.loads(json.dumps(first))
    assert sorted(path.name for path in place.iterdir()) == [
        *("confusion_valid.csv", "confusion_valid.png", "evaluation.json", "valid.parquet")
    ]
    matrix = [line.split(",") for line in (place / "confusion_valid.csv").read_text().splitlines()]
    assert [line[0] for line in matrix] == ["label \\ prediction", "blue", "red"]
    assert sum(int(cell) for line in matrix[1:] for cell in line[1:]) == 16
    last = {line["name"]: line["value"] for line in map(json.loads, folder.metrics.read_text().splitlines())}
    assert last["valid/accuracy"] == expected["valid_accuracy"]


def test_views_average_as_beta_and_use_max_say(trained, colour_folders):
    config, folder = trained(*colours(colour_folders, "augment=side_on"))
    plain = evaluate(config, folder, **QUICK)["parts"]["valid"]["metrics"]
    assert evaluate(config, folder, tta=2, beta=1.0, **QUICK)["parts"]["valid"]["metrics"] == pytest.approx(
        plain, rel=1e-5
    )
    views = evaluate(config, folder, tta=2, beta=0.0, **QUICK)["parts"]["valid"]["metrics"]
    assert views["loss"] != pytest.approx(plain["loss"], rel=1e-4)
    largest = evaluate(config, folder, tta=2, use_max=True, **QUICK)["parts"]["valid"]["metrics"]
    assert largest["loss"] not in (pytest.approx(plain["loss"]), pytest.approx(views["loss"]))
    assert {path.name for path in (folder.path / "evaluations").iterdir()} == {
        *("own", "own_tta2_beta1", "own_tta2_beta0", "own_tta2_max")
    }
    with pytest.raises(UserError, match=r"task\.use_max is about augmented views"):
        evaluate(config, folder, use_max=True)
    for keys, why in (({"beta": 0.5}, "say of how many"), ({"beta": 0.5, "tta": 2, "use_max": True}, "there is none")):
        with pytest.raises(UserError, match=rf"^task\.beta=0\.5 is the share .* {why}"):
            evaluate(config, folder, **keys)


def test_other_data_is_matched_by_class_names_never_by_numbers(trained, config_of, colour_folders, capsys):
    config, folder = trained(*colours(colour_folders))
    evaluate(config, folder, **QUICK)
    other = colour_folders.parent / "more colours"
    shutil.copytree(colour_folders, other)
    for split in ("train", "valid"):
        shutil.copytree(other / split / "blue", other / split / "amber")  # comes before blue, and looks like it
        (other / split / "red" / "0.jpg").unlink()
    more = config_of(*colours(other))
    before = sorted((folder.path / "evaluations").rglob("*"))
    with pytest.raises(
        UserError, match=r"(?s)task\.classes=common; there are 1 that the model does not know:\n  amber"
    ):
        evaluate(more, folder)
    assert sorted((folder.path / "evaluations").rglob("*")) == before
    content = evaluate(more, folder, classes="common", **QUICK)
    assert content["parts"]["valid"]["images"] == 15
    known = {row["file"]: row for row in rows(folder.path / "evaluations" / "own" / "valid.parquet")}
    found = rows(folder.path / "evaluations" / "more_colours" / "valid.parquet")
    assert {row["file"] for row in found} == known.keys() - {"valid/red/0.jpg"}
    for row in found:
        assert row | {"loss": 0, "confidence": 0} == known[row["file"]] | {"loss": 0, "confidence": 0}
        assert row["loss"] == pytest.approx(known[row["file"]]["loss"], rel=1e-4)
    assert "more_colours/valid/accuracy" in folder.metrics.read_text()
    told = capsys.readouterr().err
    assert "left out 8 images without a label that the model knows" in told
    assert "this is not the data that the run was trained with" in told
    assert "cut off as valid" not in told
    evaluate(config_of(*colours(other / "train"), "data.valid_pct=0.2"), folder, classes="common", **QUICK)
    assert "that are cut off as valid, of 65: task.split=all takes all of them" in capsys.readouterr().err

    shutil.rmtree(other / "train" / "amber")
    shutil.rmtree(other / "valid" / "amber")
    for split in ("train", "valid"):
        (other / split / "red").rename(other / split / "Red")
    with pytest.raises(UserError, match=r"(?s)does not know:\n  Red\nand 1 of the model that the data lacks:\n  red"):
        evaluate(config_of(*colours(other)), folder)


def test_a_test_set_is_scored_and_all_images_are_as_one_set(trained, colour_folders):
    shutil.copytree(colour_folders / "valid", colour_folders / "test")
    config, folder = trained(*colours(colour_folders))
    parts = evaluate(config, folder, **QUICK)["parts"]
    assert list(parts) == ["valid", "test"]
    assert parts["test"]["metrics"] == parts["valid"]["metrics"]
    whole = evaluate(config, folder, split="all", name="everything", **QUICK)["parts"]
    assert {name: part["images"] for name, part in whole.items()} == {"all": 44 + 16 + 16}
    assert (folder.path / "evaluations" / "everything" / "all.parquet").exists()
    own = (folder.path / "evaluations" / "own" / "evaluation.json").read_text()
    trained_on = evaluate(config, folder, split="train", **QUICK)
    assert trained_on["name"] == "own_train"
    assert (folder.path / "evaluations" / "own" / "evaluation.json").read_text() == own
    assert '"train/accuracy"' in folder.metrics.read_text()


def test_one_image_of_each_class_is_scored_and_an_evaluation_of_others_stays(
    trained, config_of, colour_folders, tmp_path, capsys
):
    _, folder = trained(*colours(colour_folders))
    for place in ("here", "there"):
        for word in ("red", "blue"):
            (tmp_path / place / "few" / word).mkdir(parents=True)
            shutil.copy(colour_folders / "valid" / word / "1.jpg", tmp_path / place / "few" / word / f"{place}.jpg")
    here, there = (config_of(*colours(tmp_path / place / "few")) for place in ("here", "there"))
    with pytest.raises(UserError, match=r"^no class has two images, .* or score all .* with task\.split=all$"):
        evaluate(here, folder)
    first = evaluate(here, folder, split="all", **QUICK)
    assert (first["name"], first["parts"]["all"]["images"]) == ("few_all", 2)
    capsys.readouterr()
    assert evaluate(here, folder, split="all", **QUICK) == first
    assert "evaluations/" not in capsys.readouterr().err
    assert evaluate(there, folder, split="all", **QUICK)["name"] == "few_all_2"
    assert "evaluations/few_all is of other images, and stays: this one is evaluations/few_all_2" in (
        capsys.readouterr().err
    )
    assert evaluate(there, folder, split="all", **QUICK)["name"] == "few_all_2"
    assert read_json(folder.path / "evaluations" / "few_all" / "evaluation.json") == json.loads(json.dumps(first))
    evaluate(here, folder, split="train", name="few_all_2", **QUICK)
    assert "evaluations/few_all_2 was of other images: this one replaces it" in capsys.readouterr().err
    assert not (folder.path / "evaluations" / "few_all_2" / "all.parquet").exists()


def test_a_labelled_test_set_is_scored_once_as_training_ends(trained, colour_folders, capsys):
    shutil.copytree(colour_folders / "valid", colour_folders / "test")
    (colour_folders / "test" / "red" / "0.jpg").unlink()
    config, folder = trained(*colours(colour_folders))
    test = read_json(folder.result)["test"]
    assert test["images"] == 15
    assert "on 15 images" in capsys.readouterr().out
    last = {line["name"]: line["value"] for line in map(json.loads, folder.metrics.read_text().splitlines())}
    assert last["test/accuracy"] == test["metrics"]["accuracy"]
    assert not [name for name in last if name.startswith("valid/")]
    later = evaluate(config, folder)["parts"]["test"]
    assert {key: later[key] for key in test} == test


def test_no_test_set_is_scored_without_labels_or_where_it_is_not_wanted(trained, colour_folders):
    shutil.copytree(colour_folders / "valid", colour_folders / "test")
    config, folder = trained(*colours(colour_folders))
    before = read_json(folder.result)
    shutil.rmtree(folder.path)
    train(config, RunFolder.create(folder.path, "test", vars(config), []), evaluate_test=False)
    after = read_json(folder.result)
    assert "test" in before
    assert "test" not in after
    assert {key: after[key] for key in ("metrics", "best_epoch")} == {
        key: before[key] for key in ("metrics", "best_epoch")
    }
    assert not (folder.path / "evaluations").exists()


def test_a_damaged_image_of_the_test_set_does_not_undo_a_training(trained, colour_folders, capsys):
    shutil.copytree(colour_folders / "valid", colour_folders / "test")
    (colour_folders / "test" / "red" / "3.jpg").write_bytes(b"no image")
    _, folder = trained(*colours(colour_folders))
    assert "test" not in read_json(folder.result)
    told = capsys.readouterr().err
    assert "the test set was not scored (" in told
    assert "3.jpg" in told


def test_a_training_calibrates_where_it_is_asked(trained):
    config, folder = trained(*DIGITS, *SMALL_MODEL)
    shutil.rmtree(folder.path)
    train(config, RunFolder.create(folder.path, "test", vars(config), []), calibrate=True)
    temperature = read_json(folder.calibration)["temperature"]
    assert read_json(folder.result)["temperature"] == temperature == Trained.of_run(folder).temperature != 1


def test_a_run_that_is_not_finished_is_scored_by_its_best_weights_and_that_is_said(trained, capsys):
    config, folder = trained(*DIGITS, *SMALL_MODEL)
    best = read_json(folder.result)["metrics"]["best"]
    folder.result.unlink()
    folder.exported_weights.unlink()
    content = evaluate(config, folder, **QUICK)
    assert content["parts"]["valid"]["metrics"]["loss"] == best["valid_loss"]
    assert content["finished"] is False
    told = capsys.readouterr().err
    assert "is not finished: what is used are the weights of its best epoch so far" in told
    folder.best_weights.unlink()
    with pytest.raises(UserError, match="stopped before its first epoch ended, so it has no weights yet: go on"):
        evaluate(config, folder)


def test_a_temperature_is_kept_with_the_run_and_every_prediction_has_it(trained, config_of, caplog):
    config, folder = trained(*DIGITS, *SMALL_MODEL)
    before = evaluate(config, folder, **QUICK)["parts"]["valid"]["metrics"]
    after = evaluate(config, folder, calibrate=True, **QUICK)
    temperature = read_json(folder.calibration)["temperature"]
    assert temperature != pytest.approx(1, abs=0.01)
    assert after["temperature"] == temperature
    scores = after["parts"]["valid"]["metrics"]
    assert scores["accuracy"] == before["accuracy"]
    assert scores["loss"] < before["loss"]
    assert Trained.of_run(folder).temperature == temperature
    assert evaluate(config, folder, **QUICK) == after
    assert evaluate(config, folder, calibrate=True, **QUICK)["temperature"] == temperature, "not one upon the other"
    with pytest.raises(UserError, match=r"task\.calibrate fits the temperature on the validation images"):
        evaluate(config_of(*DIGITS, "data.valid_pct=0.3"), folder, calibrate=True)
    weights = load_file(folder.exported_weights)
    save_file(
        {name: tensor * 2 if "head" in name else tensor for name, tensor in weights.items()}, folder.exported_weights
    )
    assert Trained.of_run(folder).temperature == 1
    assert "calibration.json is of other weights than " in caplog.text
    with folder.calibration.open("w") as file:
        file.write('{"temperature": "2"}')
    with pytest.raises(UserError, match=r"calibration\.json is damaged \(temperature must be a number"):
        Trained.of_run(folder)


def test_what_a_user_can_mend_is_a_sentence_and_leaves_nothing(trained, config_of, colour_folders):
    config, folder = trained(*colours(colour_folders))
    with pytest.raises(UserError, match=r"task\.split=test: the data has no test set"):
        evaluate(config, folder, split="test")
    with pytest.raises(
        UserError, match=r"task\.tta=2 averages over augmented views, but the run's augmentation is not"
    ):
        evaluate(config, folder, tta=2)
    with pytest.raises(UserError, match=r"task\.name must be letters"):
        evaluate(config, folder, name="../elsewhere")
    shutil.move(colour_folders, f"{colour_folders}.away")
    with pytest.raises(UserError, match=r"data\.root: .* does not exist"):
        evaluate(config, folder)
    shutil.move(f"{colour_folders}.away", colour_folders)
    weights = folder.exported_weights.read_bytes()
    folder.exported_weights.write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        evaluate(config, folder)
    folder.exported_weights.unlink()
    with pytest.raises(UserError, match="has no weights"):
        evaluate(config, folder)
    assert not (folder.path / "evaluations").exists()


def test_on_the_command_line_the_scores_come_to_the_same_mlflow_run(tmp_path, colour_folders, monkeypatch):
    import mlflow

    for number in range(2):
        (colour_folders / "test" / "red").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 48, 3), 200, np.uint8)).save(colour_folders / "test" / "red" / f"{number}.jpg")
    overrides = [one for one in colours(colour_folders) if one != "tracking=none"]
    status, out, err = expkit(*overrides, "hydra.run.dir=run", cwd=tmp_path)
    assert status == 0, err
    run_id = read_json(tmp_path / "run" / "tracking.json")["run_id"]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    before = client.get_run(run_id)
    status, out, err = expkit(f"run={run_id}", "task=evaluate", "task.resamples=20", cwd=tmp_path)
    assert status == 0, err
    assert "test has no image of 1 class, which counts nowhere" in out
    after = client.get_run(run_id)
    content = read_json(tmp_path / "run" / "evaluations" / "own" / "evaluation.json")
    assert after.data.metrics["test/accuracy"] == content["parts"]["test"]["metrics"]["accuracy"]
    assert after.data.metrics["valid/loss"] == after.data.metrics["valid_loss"]
    assert (after.info.status, after.info.end_time) == ("FINISHED", before.info.end_time)
    files = {one.path for one in client.list_artifacts(run_id, "evaluations/own")}
    assert "evaluations/own/evaluation.json" in files
    assert len(client.search_logged_models([after.info.experiment_id])) == 1

    status, out, err = expkit("run=run", "task=evaluate", "task.calibrate=true", "task.resamples=20", cwd=tmp_path)
    assert status == 0, err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    table = pq.read_table(tmp_path / "run" / "evaluations" / "own" / "valid.parquet").to_pandas()
    found = model.predict([str(colour_folders / file) for file in table["file"]])
    np.testing.assert_allclose(found["confidence"], table["confidence"], rtol=1e-4)

    status, out, err = expkit("run=run", "task=evaluate", "task.split=nonsense", cwd=tmp_path)
    assert (status, err.count("\n")) == (1, 1), err
    assert "task.split" in err
