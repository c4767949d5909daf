"""A signal at any moment of a run ends it with a checkpoint, and a resume leaves what the whole run would have left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from expkit import interrupt
from expkit.features.extraction import Body
from expkit.run_folder import RunFolder
from expkit.task.evaluating import evaluate
from expkit.task.searching import lr_find
from expkit.task.training import train
from expkit.trainer.loop import Trainer
from expkit.whole_files import read_json
from tests.conftest import SMALL_MODEL, composed
from tests.trainer.test_loop import equal

CONFIG = (
    *("+experiment=digits", "data.classes=[0, 1, 2]", "data.valid_pct=0.3", "image_size=16", "batch_size=64"),
    *(*SMALL_MODEL, "augment=side_on", "augment.flip=0.0", "tracking=none", "num_workers=0"),
    *("transfer=full_recipe", "epochs=4", "transfer.tta=2", "optim.lr=auto", "lr_find.num_it=20"),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))


def new_folder(path: Path) -> RunFolder:
    return RunFolder.create(path, "test", composed(*CONFIG), [])


def signal_at(monkeypatch, owner, name: str, call: int, number: int = signal.SIGTERM) -> list[int]:
    """Send this process a signal in the given call of a method, counted from 1; the calls are counted in the list."""
    method, calls = getattr(owner, name), []

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)
    return calls


def left_in(folder: RunFolder) -> dict[str, object]:
    """What a finished run left, but for times."""
    points = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    result = read_json(folder.result)
    return {
        "metrics": [(point["name"], point["step"], point["value"]) for point in points],
        "result": {key: value for key, value in result.items() if "second" not in key},
        "traces": pq.read_table(folder.traces),
        "predictions": pq.read_table(folder.predictions),
        "files": sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()),
        "pictures": [path.read_bytes() for path in sorted(folder.plots.iterdir())],
    }


def weights_in(folder: RunFolder) -> list:
    return [tensor for file in (folder.exported_weights, folder.best_weights) for tensor in load_file(file).values()]


def test_a_signal_at_any_moment_is_heeded_and_a_resume_leaves_the_same(config_of, tmp_path, monkeypatch):
    config = config_of(*CONFIG)
    whole = new_folder(tmp_path / "whole")
    with monkeypatch.context() as patch:
        calls = signal_at(patch, Trainer, "logits", 0)
        train(config, whole)
    expected = left_in(whole)
    assert len(calls) == 59  # 20 of the LR finder, 5 + 1, 2 (5 + 3) and 5 + 3 of the phases, 3 x 3 of the views
    for call in (26, 49, 55):  # the validations that end the first and the last phase, and a view
        folder = new_folder(tmp_path / str(call))
        with monkeypatch.context() as patch:
            signal_at(patch, Trainer, "logits", call)
            with pytest.raises(interrupt.Interrupted, match=re.escape(f"resume={folder.path}")) as stop:
                train(config, folder)
        assert stop.value.status == 143
        assert folder.last_checkpoint.exists()
        train(config, folder)
        assert left_in(folder) == expected, call
        assert equal(weights_in(folder), weights_in(whole)), call


def test_a_recipe_stopped_after_its_phase_on_features_is_used_as_that_validated(
    config_of, tmp_path, monkeypatch, capsys
):
    config, folder = config_of(*CONFIG), new_folder(tmp_path / "run")
    with monkeypatch.context() as patch:
        signal_at(patch, Trainer, "logits", 28)
        with pytest.raises(interrupt.Interrupted):
            train(config, folder)
    points = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    scores = evaluate(config, folder, resamples=0)["parts"]["valid"]["metrics"]
    assert [scores["loss"]] == [point["value"] for point in points if point["name"] == "valid_loss"]
    assert "the weights of its best epoch so far (1 of 4, phase precomputed)" in capsys.readouterr().err


@pytest.mark.parametrize("owner_and_name", [(Body, "features"), (Trainer, "logits")], ids=["precompute", "search"])
@pytest.mark.parametrize("task", [train, lr_find])
def test_precomputing_and_a_search_end_at_once(config_of, tmp_path, monkeypatch, task, owner_and_name):
    config, folder = config_of(*CONFIG), new_folder(tmp_path / "run")
    with monkeypatch.context() as patch:
        calls = signal_at(patch, *owner_and_name, 3, signal.SIGINT)
        with pytest.raises(interrupt.Interrupted) as stop:
            task(config, folder)
    assert stop.value.status == 130
    assert len(calls) < 20
    handlers = {signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    assert handlers == {signal.default_int_handler, signal.SIG_DFL}


@pytest.mark.parametrize("place", ["expkit.record.result.draw_plots", "expkit.record.result.export_weights"])
def test_a_signal_while_the_result_is_written_is_heeded(config_of, tmp_path, monkeypatch, place):
    import expkit.record.result

    config = config_of(*CONFIG, "transfer=scratch", "epochs=1", "optim.lr=0.01")
    folder = new_folder(tmp_path / "run")
    with monkeypatch.context() as patch:
        signal_at(patch, expkit.record.result, place.rpartition(".")[2], 1)
        with pytest.raises(interrupt.Interrupted):
            train(config, folder)
    assert not folder.result.exists()
    train(config, folder)
    assert folder.result.exists()


STUCK = """
import os
from dataclasses import replace
from expkit.data import folders

class Images:
    def __init__(self, images):
        self.images, self.read_so_far, self.labels = images, [], images.labels
    def __len__(self):
        return len(self.images)
    def name(self, index):
        return self.images.name(index)
    def read(self, index, size=None):
        self.read_so_far.append(index)
        if len(self.read_so_far) > 60:  # in the second epoch
            open("waiting", "w").close()
            open("fifo").read()
        return self.images.read(index, size)

def stuck(*, root: str):
    data = folders(root=root)
    return replace(data, train=Images(data.train))
"""


def test_a_signal_does_not_wait_for_a_read_that_never_ends(colour_folders, tmp_path):
    (tmp_path / "own.py").write_text(STUCK)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "stuck.yaml").write_text(f"_target_: own.stuck\nroot: {colour_folders}\n")
    os.mkfifo(tmp_path / "fifo")
    path = os.pathsep.join(map(str, (tmp_path, Path(__file__).parents[1])))
    env = {**os.environ, "PYTHONPATH": path, "EXPKIT_TRUST": "own"}
    command = [sys.executable, "-m", "expkit", "--config-dir", "conf", "data=stuck", *SMALL_MODEL]
    command += ["image_size=16", "batch_size=8", "num_workers=0", "tracking=none", "hydra.run.dir=run"]
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "waiting").exists() and process.poll() is None:
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert re.fullmatch(r"stopped after step \d+; go on with  python -m expkit resume=run\n", err)
    assert (tmp_path / "run" / "checkpoints" / "last.pt").exists()


def test_a_job_ends_with_the_process_that_sent_it():
    job = "from expkit.interrupt import *; import time\nwith listen() as stop, ending_with_parent():\n"
    job += "    print('here', flush=True)\n    while not stop.signal: time.sleep(0.01)\n    print(stop.signal)"
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    process = subprocess.Popen([sys.executable, "-c", parent, job], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "here\n"
    process.kill()
    assert process.communicate(timeout=60)[0] == "15\n"


def test_a_signal_for_which_a_block_does_not_end_reaches_whoever_listened_before():
    for error, told in ((None, signal.SIGTERM), (ValueError(), signal.SIGTERM), (interrupt.Interrupted(15, ""), 0)):
        with interrupt.listen() as outer:
            with suppress(ValueError, interrupt.Interrupted), interrupt.listen() as inner:
                os.kill(os.getpid(), signal.SIGTERM)
                assert outer.signal == 0
                if error:
                    raise error
            assert (inner.signal, outer.signal) == (signal.SIGTERM, told)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
