import re
from pathlib import Path

import pytest
import torch
from torchvision import models

from expkit.errors import UserError
from expkit.model import efficientnet_lite0, resnet18, timm, xresnet18
from expkit.model.head_only import HeadOnly
from expkit.model.weights import save_weights
from expkit.model.weights_file import NAMES, weights_file
from expkit.run_folder import RunFolder
from expkit.tracking.finding import config_of
from expkit.whole_files import write_json
from tests.conftest import composed


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """The folder of a run on five classes that has saved its best epoch and is not finished."""
    folder = RunFolder.create(tmp_path / "outputs" / "digits" / "one", "digits", {"seed": 0}, [])
    folder.best_weights.parent.mkdir()
    save_weights(resnet18(5), folder.best_weights)
    return folder


def finish(folder: RunFolder, model: torch.nn.Module) -> None:
    save_weights(model, folder.exported_weights)
    write_json(folder.result, {"classes": list("abcde")})


def test_a_finished_run_gives_its_exported_weights(run, monkeypatch):
    model = resnet18(5)
    finish(run, model)
    monkeypatch.chdir(run.path.parents[1])
    assert weights_file("digits/one") == run.exported_weights
    taken = resnet18(5, weights="digits/one")
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in taken.state_dict().items())


def test_an_mlflow_run_id_leads_to_its_folder(run, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    finish(run, resnet18(5))
    made = client.create_run("0", tags={"folder": str(run.path)})
    config = config_of(composed("+experiment=digits", f"model.weights={made.info.run_id}"))
    assert weights_file(config.model["weights"]) == run.exported_weights
    with pytest.raises(UserError, match=r"model\.weights: 0{32} is neither a run folder nor the id of a run"):
        config_of(composed("+experiment=digits", f"model.weights='{'0' * 32}'"))


def test_the_body_of_a_run_serves_other_classes(run):
    finish(run, resnet18(5))
    with pytest.raises(UserError, match=r"5 classes, the model's 7.*weights_part=body"):
        resnet18(7, weights=str(run.path))
    model = resnet18(7, weights=str(run.path), weights_part="body")
    assert model.head[6].out_features == 7


@pytest.mark.parametrize(
    "build", [resnet18, xresnet18, efficientnet_lite0, lambda *wired, **keys: timm(*wired, name="test_vit", **keys)]
)
def test_an_unfinished_run_is_refused_with_its_best_epoch_as_a_way_out(run, build):
    for features in (None, 1024):
        with pytest.raises(UserError, match=f"{run.path} is not finished.*resume={run.path}.*{run.best_weights}"):
            build(5, features, weights=str(run.path))
    run.best_weights.unlink()
    with pytest.raises(UserError, match=rf"resume={re.escape(str(run.path))}$"):
        build(5, weights=str(run.path))


def test_the_head_alone_of_an_unfinished_frozen_run_is_no_way_out(run):
    save_weights(HeadOnly(torch.nn.Linear(8, 5)), run.best_weights)
    with pytest.raises(UserError, match=rf"resume={re.escape(str(run.path))}$"):
        weights_file(str(run.path))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"model.weights: .* is no run folder: it has no config.yaml"):
        weights_file(str(tmp_path))


@pytest.mark.parametrize("weights", ["none.pt", "none.safetensors", "outputs/digits/none"])
def test_a_path_that_leads_nowhere_is_refused(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"there is no file and no run folder {weights}"):
        weights_file(weights)


def test_names_are_never_files_even_where_a_folder_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        Path(name).mkdir()
    published = models.get_model_weights("resnet18").__members__ | models.get_model_weights("resnet34").__members__
    assert [weights_file(name) for name in (*NAMES, *published, "a_name_yet_to_come")].count(None) == len(NAMES) + 3
    (tmp_path / "w.pt").touch()
    assert weights_file("w.pt") == Path("w.pt")
