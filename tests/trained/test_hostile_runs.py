"""A run's folder may come from anyone: code that its config names is run only where the user trusts it."""

import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import expkit
from expkit.__main__ import resume, run_of
from expkit.build import build
from expkit.errors import UserError
from expkit.model.weights import save_weights
from expkit.run_folder import RunFolder
from expkit.task.evaluating import evaluate
from expkit.task.exporting import export
from expkit.task.predicting import predict
from expkit.whole_files import read_json, write_json
from tests.conftest import SMALL_MODEL, composed

MINE = ["+experiment=digits", "image_size=16", "num_workers=0", "tracking=none", *SMALL_MODEL]
GROUPS = ("augment", "data", "model", "optim", "sched", "task", "tracking", "trainer", "transfer")


@pytest.fixture
def folder(tmp_path, monkeypatch, config_of):
    """A finished run that predicts, in the working directory; beside it a module that tells whether it was run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("EXPKIT_TRUST", raising=False)
    Path("payload.py").write_text("open('executed', 'w').close()\ndef go(*args, **keys): open('called', 'w').close()\n")
    folder = RunFolder.create(tmp_path / "run", "digits", composed(*MINE), MINE)
    torch.manual_seed(0)
    folder.exported_weights.parent.mkdir()
    save_weights(build(config_of(*MINE).model, 2, group="model"), folder.exported_weights)
    reading = {"alpha": "white", "white": None, "arrays": None}
    write_json(folder.result, {"classes": ["a", "b"], "reading": reading, "precision": "fp32"})
    assert expkit.load(folder.path).classes == ["a", "b"]
    yield folder
    assert not Path("executed").exists()
    assert not Path("called").exists()
    assert "payload" not in sys.modules


def name(folder, group, target):
    """Let the run's config name something else for a group, with an argument of its choice."""
    config = OmegaConf.load(folder.config)
    config[group] = {"_target_": target, "command": "touch called"}
    OmegaConf.save(config, folder.config)


@pytest.mark.parametrize("target", ["payload.go", "os.system", "subprocess.getoutput", "expkit.run_folder.write_whole"])
@pytest.mark.parametrize("group", ["model", "augment"])
def test_what_uses_a_runs_model_runs_no_code_that_its_config_names(folder, config_of, group, target):
    from expkit.tracking.model import log_model

    name(folder, group, target)
    Image.new("RGB", (16, 16)).save("photo.png")
    told = rf"^{folder.config}: {group}\._target_: {target} (is nothing that a config may name|belongs to another)"
    mine = config_of(*MINE)
    for use in (
        lambda: expkit.load(folder.path),
        lambda: evaluate(mine, folder),
        lambda: export(mine, folder, out="out"),
        lambda: predict(mine, folder, source="photo.png", out="out.csv"),
    ):
        with pytest.raises(UserError, match=told):
            use()
    if not target.startswith("expkit."):
        with pytest.raises(UserError, match=rf"^{group}\._target_: {target} is nothing that a config may name"):
            log_model(folder, "nowhere")


@pytest.mark.parametrize("group", GROUPS)
def test_neither_a_task_on_a_run_nor_its_resume_runs_code_that_its_config_names(folder, group):
    name(folder, group, "payload.go")
    untrusted = rf"{group}\._target_: payload\.go is nothing that a config may name"
    refused = f"^{folder.config}(, with what is given beside the run)?: {untrusted}"
    if group != "task":
        with pytest.raises(UserError, match=refused):
            run_of("run", ["task=lr_find"])
    folder.result.unlink()
    began_with = OmegaConf.to_container(OmegaConf.load(folder.config))  # as whoever made the folder would say
    write_json(folder.facts, read_json(folder.facts) | {"config": began_with})
    with pytest.raises(UserError, match=refused):
        resume("run", [])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr_find.suggest", "payload.go"),
        ("transfer.phases.all.sched", {"_target_": "payload.go"}),
        ("transfer.phases.all.augment", {"_target_": "payload.go"}),
        ("sched", {"_target_": "expkit.sched.custom", "hypers": {"lr": {"_target_": "payload.go"}}}),
        ("data", {"_target_": "expkit.data.array", "source": "payload.go"}),
    ],
)
def test_nor_does_what_is_named_deeper_in_it(folder, key, value):
    config = OmegaConf.load(folder.config)
    OmegaConf.update(config, key, value, merge=False)
    OmegaConf.save(config, folder.config)
    with pytest.raises(UserError, match=r"payload\.go"):
        run_of("run", ["task=lr_find"])


def test_weights_of_a_run_are_taken_without_its_config(folder, config_of):
    name(folder, "model", "payload.go")
    model = build(config_of(*MINE, "model.weights=run").model, 2, group="model")
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


def test_a_damaged_config_is_told_in_a_sentence(folder):
    config = OmegaConf.load(folder.config)
    for damage, told in [
        ({"model": None}, "has no model with a _target_"),
        ({"image_size": "x"}, "image_size must be"),
    ]:
        OmegaConf.save(OmegaConf.merge(config, damage), folder.config)
        with pytest.raises(UserError, match=told):
            expkit.load(folder.path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [({"precision": "fp8"}, "precision must be fp32 or bf16"), ({"classes": ["a", "a"]}, "classes has 'a' twice")],
)
def test_a_result_that_was_edited_is_told_in_a_sentence(folder, damage, told):
    write_json(folder.result, read_json(folder.result) | damage)
    with pytest.raises(UserError, match=rf"result\.json is damaged \({told}.*\): put a whole copy in its place$"):
        expkit.load(folder.path)
