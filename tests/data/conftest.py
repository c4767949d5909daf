import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.data.fetch import Archive

Save = Callable[..., Path]
Publish = Callable[[Path], Archive]


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


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news in a test."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """A server on this machine that gives out the files in `tmp_path / "www"`."""
    (tmp_path / "www").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www"))) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def publish(server: ThreadingHTTPServer, tmp_path: Path) -> Publish:
    """Pack a folder and have the server offer it, as the folder's name with .tgz."""

    def pack(folder: Path) -> Archive:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            archive.add(folder, folder.name)
        return offer(server, tmp_path, folder.name, data.getvalue())

    return pack


def offer(server: ThreadingHTTPServer, tmp_path: Path, folder: str, content: bytes) -> Archive:
    """Put an archive where the server finds it."""
    (tmp_path / "www" / f"{folder}.tgz").write_bytes(content)
    address = f"http://127.0.0.1:{server.server_port}/{folder}.tgz"
    return Archive(address, hashlib.md5(content, usedforsecurity=False).hexdigest(), folder)
