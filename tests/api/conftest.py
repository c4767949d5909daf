import gc
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import expkit
from tests.conftest import SMALL_MODEL

SMALL = ("+experiment=digits", "epochs=1", "image_size=16", "num_workers=0", "tracking=none", *SMALL_MODEL)


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[expkit.Result]:
    """A small run, as a notebook has it."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("project"))
    try:
        yield expkit.run(*SMALL)
    finally:
        os.chdir(before)


def state() -> dict[str, Any]:
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
def unchanged(trained: expkit.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
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
