import subprocess
import sys

import pytest
import torch

from expkit.errors import UserError
from expkit.model.weights import save_weights
from expkit.record.checkpoint import Best, load_checkpoint
from expkit.record.recorder import Recorder, best_epoch
from expkit.run_folder import RunFolder, refuse_links
from expkit.task.training import warn_of_precision
from expkit.tracking import make_parent, send_rest
from expkit.whole_files import read_json, write_json
from tests.trainer.test_loop import small_trainer


def test_what_becomes_known_of_a_run_is_kept_with_its_facts(tmp_path):
    folder = RunFolder.create(tmp_path, "pets", {}, ["epochs=3"], parent="..")
    folder.note(fingerprint="0123")
    facts = read_json(folder.facts)
    assert (facts["experiment"], facts["parent"], facts["fingerprint"]) == ("pets", "..", "0123")


def test_a_run_that_goes_on_in_another_precision_is_told_so(tmp_path, caplog):
    folder = RunFolder(tmp_path, "test")
    warn_of_precision(folder, "fp32")
    folder.note(outcome={"precision": "bf16"})
    warn_of_precision(folder, "bf16")
    assert not caplog.records
    warn_of_precision(folder, "fp32")
    assert caplog.messages[0].startswith("the run began in bf16 and goes on in fp32")


def test_a_run_is_held_by_one_process_at_a_time(tmp_path):
    folder = RunFolder(tmp_path, "test")
    code = f"""
from pathlib import Path
from expkit.run_folder import RunFolder
with RunFolder(Path({str(tmp_path)!r}), "test").held():
    pass
"""
    with folder.held():
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process trains this run" in other.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_is_found_again_and_not_trained_over(tmp_path):
    RunFolder.create(tmp_path, "pets", {"epochs": 3}, ["epochs=3"])
    assert RunFolder.at(tmp_path) == RunFolder(tmp_path, "pets")
    assert RunFolder.at(tmp_path).config.read_text() == "epochs: 3\n"
    with pytest.raises(UserError, match="holds a run already: go on with  python -m expkit resume="):
        RunFolder.create(tmp_path, "pets", {}, [])
    with pytest.raises(UserError, match=f"run.json is a part of a run: name its folder, {tmp_path}"):
        RunFolder.at(tmp_path / "run.json")


def test_an_export_is_no_run(tmp_path):
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(UserError, match="is an export, which is used without expkit: name the run"):
        RunFolder.at(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no config\.yaml"):
        RunFolder.at(tmp_path)


STATE = {
    "fingerprint": "0123",
    "epoch_steps": 4,
    "model": {},
    "optimizer": {"kind": "SGD", "groups": {}, "state": {}, "hypers": {}, "frozen": 0},
    "state": {"phase": 0, "epoch": 0, "batch": 0, "step": 0, "epochs": 0, "seconds": 0.0, "found": {}},
}


@pytest.fixture
def last(tmp_path):
    """A checkpoint of a run on data 0123, of 4 steps an epoch."""
    path = tmp_path / "my run" / "checkpoints" / "last.pt"
    path.parent.mkdir(parents=True)
    torch.save(STATE | {"model": {"weight": torch.ones(1000)}}, path)
    return path


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path, last):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"state": Evil()}, last)
    with pytest.raises(UserError, match="holds more than tensors"):
        load_checkpoint(last, "0123", 4)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "zeros", "hole", "text", "list", "state dict"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(last, damage):
    data = last.read_bytes()
    hole = data.index(b"\x00\x00\x80\x3f" * 100) + 400
    contents = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "zeros": bytes(len(data)),
        "hole": data[:hole] + bytes(512) + data[hole + 512 :],
        "text": b"PK half",
    }
    if damage in contents:
        last.write_bytes(contents[damage])
    else:
        torch.save([1] if damage == "list" else {"weight": torch.ones(3)}, last)
    with pytest.raises(
        UserError, match=r"last\.pt (is|holds) .*remove it, and  python -m expkit 'resume=.*my run'"
    ) as e:
        load_checkpoint(last, "0123", 4)
    assert "\n" not in str(e.value)


def test_a_checkpoint_of_other_data_is_refused_unless_these_are_accepted(last):
    assert load_checkpoint(last, "0123", 4)["fingerprint"] == "0123"
    with pytest.raises(UserError, match=r"the data changed since .* 'resume=.*/my run' 'resume\.allow=\[data\]'"):
        load_checkpoint(last, "4567", 4)
    assert load_checkpoint(last, "4567", 4, accept_data=True)["fingerprint"] == "0123"
    with pytest.raises(UserError, match="an epoch had 4 steps and has 5 now"):
        load_checkpoint(last, "4567", 5, accept_data=True)


def test_weights_of_a_channels_last_model_are_saved(tmp_path):
    from safetensors.torch import load_file

    model = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    save_weights(model, tmp_path / "weights.safetensors")
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["weight"], model.weight)


def test_the_best_epoch_is_the_earliest_of_the_best():
    history = [{"valid_loss": loss, "valid_accuracy": 1 - loss} for loss in (0.5, 0.2, 0.3, 0.2)]
    assert best_epoch(history, "valid_loss") == 2
    assert best_epoch(history, "valid_accuracy") == 2


def test_an_epoch_that_is_no_number_is_never_the_best():
    assert best_epoch([{"valid_loss": float("nan")}, {"valid_loss": 0.5}], "valid_loss") == 2


@pytest.mark.parametrize("content", ["", "\0\0\0\0", "{", '{"a": 1', "[1]", "\xff\xfe", '"text"', "null"])
@pytest.mark.parametrize("name", ["run.json", "result.json", "tracking.json"])
def test_a_damaged_file_of_a_run_is_named_with_what_to_do(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=rf"{name} is damaged \(.*\): put a whole copy") as error:
        read_json(tmp_path / name)
    assert ("sent to tracking anew" in str(error.value)) == (name == "tracking.json")


def test_a_run_whose_facts_are_gone_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(UserError, match=r"run\.json is missing: put a whole copy"):
        RunFolder.at(tmp_path)
    (tmp_path / "run.json").write_text('{"experiment": "toy"}')
    with pytest.raises(UserError, match=r"run\.json lacks 'started_in'"):
        RunFolder.at(tmp_path)


def test_what_is_kept_of_the_best_epoch_is_looked_at_as_a_run_goes_on(tmp_path):
    trainer, folder = small_trainer(), RunFolder(tmp_path, "toy")
    best = Best(folder, Recorder(folder, 18), "valid_loss", data=None, note=lambda epoch: None)
    best.start(trainer)  # nothing is kept before the first epoch
    trainer.state.epochs = 1
    with pytest.raises(UserError, match=r"there is no file .*best\.safetensors"):
        best.start(trainer)
    folder.best_weights.parent.mkdir()
    save_weights(trainer.model, folder.best_weights)
    folder.predictions.write_bytes(b"PAR1 half")
    with pytest.raises(UserError, match=r"predictions\.parquet is missing or damaged: put a whole copy"):
        best.start(trainer)
    folder.best_weights.write_bytes(folder.best_weights.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"best\.safetensors is damaged"):
        best.start(trainer)


@pytest.mark.parametrize("name", ["metrics.jsonl", "expkit.log", ".lock", "checkpoints", "plots", ".hydra/config.yaml"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_out_of_a_run_folder_is_refused_before_anything_is_written_through_it(tmp_path, name, there):
    target = tmp_path / "home" / "target"
    target.parent.mkdir()
    if there:
        target.write_text("mine")
    folder = RunFolder(tmp_path / "run", "test")
    (folder.path / name).parent.mkdir(parents=True)
    (folder.path / name).symlink_to(target)
    with (
        pytest.raises(UserError, match=rf"{name} is a link out of the run's folder, to {target}, and"),
        folder.held(),
    ):
        pass
    assert target.exists() == there
    assert not there or target.read_text() == "mine"


def test_links_that_stay_in_a_run_folder_and_one_to_the_whole_do_no_harm(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "latest.log").symlink_to("expkit.log")
    with RunFolder(tmp_path / "run", "test").held():
        assert (tmp_path / "disk" / ".lock").exists()


def test_links_out_of_a_study_and_its_runs_are_refused(tmp_path):
    study = make_parent(
        tmp_path / "study", "toy", kind="study", name="a", tracking={"_target_": "expkit.tracking.none"}
    )
    trial = study.path / "0"
    trial.mkdir()
    write_json(trial / "run.json", {"experiment": "toy"})
    (trial / ".tracking.lock").symlink_to(tmp_path / "target")
    refuse_links(study.path, nested=False)
    with pytest.raises(UserError, match=r"0/\.tracking\.lock is a link out"):
        send_rest(study.path)
    (study.path / "tracking.log").symlink_to(tmp_path / "target")
    with pytest.raises(UserError, match=r"study/tracking\.log is a link out"):
        make_parent(study.path, "toy", kind="study", name="a", tracking={})
