import os
from collections.abc import Iterator

import pytest

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
