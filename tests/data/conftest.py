from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save a small real image below the test's folder: a flat colour, or noise where none is given."""

    def save_image(name: str, colour: tuple[int, int, int] | None = None, size: tuple[int, int] = (16, 12)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if colour is None:
            seed = sum(name.encode())
            noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
            image = Image.fromarray(noise)
        else:
            image = Image.new("RGB", size, colour)
        image.save(path)
        return path

    return save_image


@pytest.fixture(scope="session")
def pets_mini() -> Path:
    path = Path(__file__).parents[3] / "shared" / "data" / "pets_mini"
    if not path.is_dir():
        pytest.skip("the photos of ../shared/data/pets_mini are not here")
    return path
