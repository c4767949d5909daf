"""What a power cut or a bad disk takes from a run costs no trained weights, and never a word less."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from expkit.errors import UserError
from expkit.model.weights import read_weights
from expkit.run_folder import RunFolder
from expkit.task.training import train
from expkit.trainer.loop import Trainer
from expkit.whole_files import read_json
from tests.conftest import PLAIN, SMALL_MODEL, composed
from tests.record.test_recorder import points

CONFIG = (
    *("+experiment=digits", "data.classes=[0, 1, 2]", "data.valid_pct=0.3", "image_size=16", "batch_size=64"),
    *(*SMALL_MODEL, *PLAIN, "num_workers=0", "epochs=3", "trainer.checkpoint_every=2"),
)
STEPS = 5
"""Steps an epoch."""


class Cut(BaseException):
    """The end of a process that nothing may handle."""


class Disk:
    """Knows which bytes of a folder's files were flushed, and takes the others away."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top, self.sizes = top, {}
        flush, replace = os.fsync, os.replace

        def fsync(number):
            flush(number)
            self.sizes[os.readlink(f"/proc/self/fd/{number}")] = os.fstat(number).st_size

        def move(one, other):
            replace(one, other)
            self.sizes[str(other)] = self.sizes.pop(str(one), 0)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", move)

    def lose_power(self) -> list[str]:
        """Cut each file to what was flushed of it; the names of those that lost something."""
        lost = []
        for path in [path for path in self.top.rglob("*") if path.is_file() and path.stat().st_size]:
            size = self.sizes.get(str(path))
            if size is None:
                path.unlink()
            elif size < path.stat().st_size:
                os.truncate(path, size)
                lost.append(path.name)
        return lost


def new_folder(path: Path) -> RunFolder:
    return RunFolder.create(path, "test", composed(*CONFIG), [])


def cut_at(step: int, config, folder: RunFolder, monkeypatch) -> None:
    """Train until the process ends without a word before a step."""
    with monkeypatch.context() as patch:
        whole_step = Trainer.step

        def checked(self, *args):
            if self.state.step == step:
                raise Cut
            return whole_step(self, *args)

        patch.setattr(Trainer, "step", checked)
        with pytest.raises(Cut):
            train(config, folder, report=False)


def left_in(folder: RunFolder) -> dict[str, object]:
    """What is the same whenever the run was cut: weights, scores and metrics."""
    names = ("train_loss", "valid_loss", "valid_accuracy", "best_valid_accuracy", "batch/train_loss", "hp/lr_0")
    return {
        "weights": {name: tensor.tolist() for name, tensor in load_file(folder.exported_weights).items()},
        "metrics": {name: points(folder, name) for name in names},
        "result": {key: value for key, value in read_json(folder.result).items() if "second" not in key},
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that nothing happened to."""
    from omegaconf import OmegaConf

    from expkit.config.schema import check_config

    folder = new_folder(tmp_path_factory.mktemp("whole") / "run")
    train(check_config(OmegaConf.to_container(composed(*CONFIG), resolve=True)), folder, report=False)
    return left_in(folder)


@pytest.mark.parametrize("step", [1, 2 * STEPS - 1, 2 * STEPS + 3])
def test_after_a_power_cut_a_run_goes_on_to_the_same_end(config_of, tmp_path, monkeypatch, trained, step):
    config, folder = config_of(*CONFIG), new_folder(tmp_path / "run")
    with monkeypatch.context() as patch:
        disk = Disk(tmp_path, patch)
        disk.sizes |= {str(path): path.stat().st_size for path in folder.path.rglob("*") if path.is_file()}
        cut_at(step, config, folder, monkeypatch)
        assert {"traces.bin", "metrics.jsonl"} & set(disk.lose_power()) or step == 1
    assert folder.last_checkpoint.exists() == (step > 1)
    train(config, folder, report=False)
    assert left_in(folder) == trained
    assert not folder.earlier_checkpoint.exists()


@pytest.mark.parametrize("lost", ["traces.bin", "metrics.jsonl"])
def test_files_beside_a_checkpoint_may_be_lost(config_of, tmp_path, monkeypatch, trained, lost):
    config, folder = config_of(*CONFIG), new_folder(tmp_path / "run")
    cut_at(2 * STEPS + 3, config, folder, monkeypatch)
    (folder.path / lost).unlink()
    train(config, folder, report=False)
    assert left_in(folder) == trained
    table = pq.read_table(folder.traces)
    empty = 2 * STEPS + 2 if lost == "traces.bin" else 0
    assert table["train_loss"].to_pylist()[:empty] == table["lr_0"].to_pylist()[:empty] == [None] * empty
    assert table.slice(empty)["train_loss"].null_count == 0
    assert (f"steps 0 to {empty - 1} will be missing in traces.parquet" in folder.log.read_text()) == (empty > 0)


def flip(path: Path, place: float) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "flipped": lambda path: flip(path, 0.5),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_where_the_last_checkpoint_is_damaged_the_one_before_is_taken(
    config_of, tmp_path, monkeypatch, trained, damage
):
    config, folder = config_of(*CONFIG), new_folder(tmp_path / "run")
    cut_at(2 * STEPS + 3, config, folder, monkeypatch)
    DAMAGE[damage](folder.last_checkpoint)
    train(config, folder, report=False)
    log = folder.log.read_text()
    assert f"going on at step {2 * STEPS}" in log
    assert "the run goes on from the checkpoint before" in log
    assert str(folder.last_checkpoint) in log
    assert left_in(folder) == trained


def test_where_both_checkpoints_are_damaged_the_last_is_named(config_of, tmp_path, monkeypatch):
    config, folder = config_of(*CONFIG), new_folder(tmp_path / "run")
    cut_at(STEPS, config, folder, monkeypatch)
    for path in (folder.last_checkpoint, folder.earlier_checkpoint):
        os.truncate(path, 100)
    with pytest.raises(UserError, match=r"last\.pt is damaged.*earlier\.pt is damaged.*remove both, and  python"):
        train(config, folder, report=False)
    assert folder.last_checkpoint.exists()


@pytest.mark.parametrize("place", [0.5, 0.999])
def test_one_bit_of_exported_weights_is_noticed(config_of, tmp_path, monkeypatch, place):
    config, folder = config_of(*CONFIG), new_folder(tmp_path / "run")
    cut_at(2 * STEPS, config, folder, monkeypatch)
    flip(folder.best_weights, place)
    with pytest.raises(UserError, match=r"best\.safetensors is damaged \(its checksum is wrong\); bring a whole copy"):
        read_weights(folder.best_weights)
