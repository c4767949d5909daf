import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna
import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from optuna.trial import FrozenTrial

from expkit.command_line.hydra_line import open_hydra
from expkit.config.schema import Config
from expkit.sweep.sweeper import prepare, run_sweep
from expkit.sweep.work.trial import Sweep
from tests import forked
from tests.conftest import PLAIN

TINY = (
    "+experiment=digits",
    "data.classes=[0,1,2]",
    "image_size=16",
    "epochs=2",
    "transfer=frozen_precompute",
    *PLAIN,
)
"""A run of a tenth of a second once its features are in the cache."""


@pytest.fixture(autouse=True, scope="package")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache of features for all sweeps, and one thread a process."""
    before = dict(os.environ)
    os.environ |= {"EXPKIT_CACHE": str(tmp_path_factory.mktemp("cache")), "OMP_NUM_THREADS": "1"}
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a sweep leaves its outputs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def prepared() -> Iterator[Callable[..., tuple[Sweep, Config]]]:
    """The sweep of a command line, in this process."""
    GlobalHydra.instance().clear()
    loader = open_hydra().config_loader

    def make(*overrides: str, base: Sequence[str] = TINY) -> tuple[Sweep, Config]:
        config = loader.load_configuration("config", [*base, *overrides], RunMode.MULTIRUN)
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        return prepare(context, config, list(config.hydra.overrides.task))

    yield make
    GlobalHydra.instance().clear()


@pytest.fixture
def swept(prepared: Callable[..., tuple[Sweep, Config]]) -> Callable[..., Sweep]:
    """Run the sweep of a command line in this process."""

    def run(*overrides: str, **keys: Sequence[str]) -> Sweep:
        sweep, config = prepared("hydra/sweeper=expkit", *overrides, **keys)
        run_sweep(sweep, config)
        return sweep

    return run


def trials_of(sweep: Sweep) -> list[FrozenTrial]:
    return optuna.load_study(study_name=sweep.settings.study_name, storage=sweep.storage).trials


def start(*arguments: str, cwd: Path) -> forked.Forked:
    """The command line with several jobs of TINY."""
    return forked.start("-m", *TINY, *arguments, cwd=cwd)


def expkit(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    return forked.expkit("-m", *TINY, *arguments, cwd=cwd)
