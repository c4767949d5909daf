import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Test files run in two processes side by side. Of more threads than cores, some would wait for others at every barrier.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("MLFLOW_TRACKING_URI", None)  # tests log to stores of their own
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of commands would compile the package, each for itself

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from PIL import Image

from expkit.command_line.hydra_line import compose
from expkit.config.schema import Config, check_config

ROOT = Path(__file__).parents[1]
PETS = ROOT.parent / "shared" / "data" / "pets_mini"
SMALL_MODEL = ("model=timm", "model.name=test_resnet")
"""A residual network of half a million weights, for tests that ask nothing of the model."""
PLAIN = ("tracking=none", "task.report=false")
"""A training that leaves what it came to, but no pages and no entries elsewhere, which take longer than a small one."""


def composed(*overrides: str) -> DictConfig:
    """The job config that these overrides give on the command line."""
    config = compose(*overrides)
    with open_dict(config):
        del config["hydra"]
    return config


@pytest.fixture(autouse=True)
def own_store() -> Iterator[None]:
    """Take back what `mlflow.set_tracking_uri` in a test leaves in the environment: later runs would log there."""
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory of all tests of a file, with one cache of features."""
    before, directory = dict(os.environ), os.getcwd()
    place = tmp_path_factory.mktemp("project")
    os.environ["EXPKIT_CACHE"] = str(place / "cache")
    os.chdir(place)
    yield place
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def config_of() -> Callable[..., Config]:
    """A checked config from command-line overrides."""

    def make(*overrides: str) -> Config:
        values = OmegaConf.to_container(composed(*overrides), resolve=True, throw_on_missing=True)
        assert isinstance(values, dict)
        return check_config({str(key): value for key, value in values.items()})

    return make


@pytest.fixture
def pets_mini() -> Path:
    """475 real photos in the layout of Oxford-IIIT Pets."""
    if not PETS.is_dir():
        pytest.skip("the sample of Oxford-IIIT Pets does not lie beside this checkout (../shared/data/pets_mini)")
    return PETS


@pytest.fixture
def colour_folders(tmp_path: Path) -> Path:
    """Sixty small photos of noise, reddish or bluish, in train/ and valid/ folders by class."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 22), ("valid", 8)):
        for channel, name in ((0, "red"), (2, "blue")):
            folder = tmp_path / "colours" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 120, (40, 48, 3), dtype=np.uint8)
                pixels[..., channel] += 100
                Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=95)
    return tmp_path / "colours"
