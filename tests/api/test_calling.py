"""A call from Python leaves the process as it was, whatever becomes of it, and from whatever thread."""

import gc
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import expkit
from expkit.errors import UserError
from tests.api.conftest import SMALL


def state():
    """What a program may have set, and a call must leave alone."""
    loggers = [logging.getLogger(name) for name in (None, "expkit", "hydra", "mlflow", "optuna", "sqlalchemy")]
    return {
        "directory": os.getcwd(),
        "environment": {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"},
        "handlers of signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "logging": [(one.level, one.propagate, one.disabled, one.handlers[:]) for one in loggers],
        "warnings": warnings.filters[:],
        "hooks": (sys.excepthook, sys.stdout, sys.stderr, sys.path[:]),
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "torch": (
            *(torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled()),
            *(torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark),
        ),
        "Hydra": GlobalHydra.instance().hydra,
        "garbage": (gc.isenabled(), gc.get_freeze_count(), gc.get_threshold()),
    }


@pytest.fixture
def unchanged(trained, tmp_path, monkeypatch):
    """Check a call in a program that has its own ways; all that is imported at first has been imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.yaml").write_text("mine: 1\n")
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    with initialize_config_dir(str(tmp_path / "own"), version_base="1.2"):
        before = state()
        yield
        after = state()
        assert {key: after[key] for key in after if after[key] != before[key]} == {}
        assert compose("config").mine == 1


def test_a_run_with_its_own_threads_leaves_the_process_as_it_was(unchanged):
    expkit.run(*SMALL, "trainer.threads=1")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epocs=1"], "epocs is no key of the config; did you mean 'epochs'"),
        (["optim.lr=1e30"], "the training loss became nan"),
        (["data=folders", "data.root=nowhere"], "nowhere does not exist"),
    ],
    ids=["key", "loss", "data"],
)
def test_so_does_one_that_fails(unchanged, overrides, message):
    with pytest.raises(UserError, match=message):
        expkit.run(*SMALL, *overrides)


def test_so_do_scores_and_configs(unchanged, trained):
    expkit.compose("+experiment=digits")
    trained.load().evaluate(resamples=0, name="again")


def test_runs_of_one_process_and_of_several_come_to_the_same_bits(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    thread = threading.Thread(target=lambda: found.append(expkit.run(*SMALL, quiet=True)))
    thread.start()
    second = expkit.run(*SMALL, quiet=True)  # one of them waits for the other
    thread.join()
    command = [sys.executable, "-m", "expkit", *SMALL, "hydra.run.dir=alone"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    folders = [trained.folder, second.folder, found[0].folder, tmp_path / "alone"]
    weights = {(folder / "checkpoints" / "model.safetensors").read_bytes() for folder in folders}
    assert len(weights) == 1


def test_nothing_is_printed_but_the_progress_and_quietly_nothing(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = expkit.run(*SMALL)
    told = capsys.readouterr()
    first, *_, last = told.out.splitlines()
    assert first == "1438 training and 359 validation images of 10 classes"
    assert last.startswith("epoch 1/1  train_loss ")
    assert told.err == ""
    assert repr(run).startswith(f"valid_accuracy {run.value:.4f} in ")
    expkit.run(*SMALL, quiet=True).load().evaluate(resamples=0, quiet=True)
    assert capsys.readouterr() == ("", "")
