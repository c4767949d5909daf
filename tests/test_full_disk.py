"""Every write of a run's record fails once: one sentence with the path, and what was there is whole."""

import errno
import json
import os
import resource
import shutil
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from expkit.errors import UserError
from expkit.lr_finder.record import append_metrics
from expkit.lr_finder.suggestions import Curve
from expkit.model.weights import read_weights, save_weights
from expkit.record.checkpoint import Checkpoints, load_checkpoint
from expkit.record.plots import draw_losses, read_traces
from expkit.record.recorder import Recorder, read_metrics
from expkit.run_folder import RunFolder
from expkit.task.training import train
from expkit.whole_files import append, write_json, write_whole
from tests.conftest import SMALL_MODEL
from tests.trainer.test_loop import PHASES, fit, small_trainer

SHORT = ("image_size=32", "batch_size=16", "num_workers=0", "tracking=none")

FILLS: dict[str, object] = {"folder": None, "failed": []}
"""Where a file cannot be begun or put in place: None at present, and the names of those that have failed so far."""


def fill(event, args):
    """Fail as a full disk does, once for each file; called by Python itself before a file is opened or renamed."""
    if FILLS["folder"] is None or event not in ("open", "os.rename"):
        return
    path = args[1] if event == "os.rename" else args[0]
    if isinstance(path, int) or (event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    path = Path(os.fsdecode(path))
    name = path.name.removeprefix(".").removesuffix(".partial")
    probed = path == FILLS["folder"] or name.startswith("filelock-probe")
    if path.is_relative_to(FILLS["folder"]) and not probed and name not in FILLS["failed"]:
        FILLS["folder"] = None
        FILLS["failed"].append(name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


sys.addaudithook(fill)


@contextmanager
def files_of_at_most(size):
    """A limit on the size of files fails like a full disk, and needs no disk of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def leave_record(folder):
    """All that a run writes, as it comes."""
    write_json(folder.facts, {"experiment": "toy", "text": "x" * 300})
    folder.note(fingerprint="0123")
    trainer, curve = small_trainer(), np.linspace(0.1, 1, 20)
    append_metrics(folder, "lr_find", Curve(curve, curve, curve, 20), {"valley": 0.1})
    recorder = Recorder(folder, 18)
    trainer.observe([recorder, Checkpoints(folder, recorder, "0123", 6)])
    try:
        fit(trainer, *PHASES)
    finally:
        recorder.close()
    write_whole(folder.best_weights, partial(save_weights, trainer.model))
    draw_losses(folder.plots / "losses.png", read_traces(folder), recorder.history, 6, {"all": 0})


def check_whole(folder, fingerprint="0123", epoch_steps=6):
    """Whatever lies there can be read."""
    for path in folder.path.rglob("*"):
        match path.suffix:
            case ".json":
                assert json.loads(path.read_text())
            case ".pt":
                assert load_checkpoint(path, fingerprint, epoch_steps)
            case ".safetensors":
                assert read_weights(path)
            case ".partial":
                pytest.fail(f"{path} was left behind")
    assert read_metrics(folder, 0)


def test_whatever_write_fails_is_named_and_spoils_nothing(tmp_path):
    failed, size = set(), 0
    whole = RunFolder(tmp_path / "whole", "toy")
    leave_record(whole)
    largest = max(path.stat().st_size for path in whole.path.rglob("*"))
    while size < largest:
        folder = RunFolder(tmp_path / str(size), "toy")
        with (
            files_of_at_most(size),
            pytest.raises(UserError, match=r"could not be written \(") as error,
        ):
            leave_record(folder)
        name = str(error.value).partition(" could")[0].removeprefix(f"{folder.path}/")
        assert "/" not in name.removeprefix("checkpoints/").removeprefix("plots/")
        failed.add(name)
        check_whole(folder)
        size = 2 * size + 40
    assert failed >= {"run.json", "metrics.jsonl", "plots/losses.png"}


def test_writes_behind_larger_ones_are_named_too(tmp_path):
    folder = RunFolder(tmp_path, "toy")
    trainer, recorder = small_trainer(), Recorder(folder, 18)
    trainer.observe([recorder])
    with files_of_at_most(100), pytest.raises(UserError, match=r"checkpoints/last\.pt could not be written"):
        Checkpoints(folder, recorder, "0123", 6).save(trainer)
    with files_of_at_most(100), pytest.raises(UserError, match=r"traces\.bin could not be written"):
        append(recorder.rows, bytes(1000))
    with files_of_at_most(100), pytest.raises(UserError, match=r"traces\.parquet could not be written"):
        recorder.close()
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "traces.bin", "checkpoints"}


def test_what_was_there_before_a_failed_write_is_kept(tmp_path):
    path = tmp_path / "w.safetensors"
    write_whole(path, partial(save_weights, torch.nn.Linear(2, 2)))
    with files_of_at_most(100), pytest.raises(UserError, match=r"w\.safetensors could not be written"):
        write_whole(path, partial(save_weights, torch.nn.Linear(64, 64)))
    assert read_weights(path)["weight"].shape == (2, 2)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


def test_each_file_of_a_run_fails_once_and_the_run_goes_on(tmp_path, monkeypatch, config_of, colour_folders):
    """Through the whole of `task=train`: every file that it writes is there once when the disk is full."""
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))
    config = config_of("data=folders", f"data.root={colour_folders}", *SMALL_MODEL, "epochs=2", *SHORT)
    whole = RunFolder.create(tmp_path / "whole", "toy", vars(config), [])
    train(config, whole)
    folder = RunFolder(tmp_path / "run", "toy")
    while not folder.result.exists():
        said, FILLS["folder"] = "", folder.path
        try:
            if not folder.config.exists():
                RunFolder.create(folder.path, "toy", vars(config), [])
            train(config, folder)
        except UserError as error:
            said = str(error)
        if FILLS["folder"] is None:
            assert f"{FILLS['failed'][-1]} could not be written (No space left on device)" in said
        FILLS["folder"] = None
        if folder.metrics.exists() and folder.metrics.stat().st_size:
            check_whole(folder, json.loads(folder.facts.read_text())["fingerprint"], 2)
    made = {path.name.removeprefix(".") for path in whole.path.rglob("*") if path.is_file()}
    assert set(FILLS["failed"]) == made | {"traces.bin", "earlier.pt"}, "these two go as the run ends"
    assert read_metrics(folder, 2) == read_metrics(whole, 2)
    for name in ("checkpoints/model.safetensors", "predictions.parquet", "traces.parquet"):
        assert (folder.path / name).read_bytes() == (whole.path / name).read_bytes(), name


def test_a_store_that_does_not_fit_is_told_by_what_lacks(tmp_path, monkeypatch):
    """Not by what MLflow says of the tables that it has half made."""
    from expkit.tracking.store import make_sqlite

    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with files_of_at_most(200_000), pytest.raises(OSError, match=r"No space left on device: .*mlflow\.db"):
        make_sqlite(tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()
