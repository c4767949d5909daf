import numpy as np
import pytest
from PIL import Image

from tests.feed.photos import files_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for number in range(22):
        small = Image.fromarray(draw.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        small.resize((30 + number, 40)).save(root / f"{number:02}.jpg")
    return root


@pytest.fixture
def images(folder):
    return files_in(folder)
