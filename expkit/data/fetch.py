"""Data sets fetched from their publishers: checked, unpacked safely, and in place whole or not at all."""

import os
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from filelock import FileLock

from expkit.data.trees.layout import root_key
from expkit.errors import DataError

SECONDS = 30.0
"""How long a silent server is waited for."""
MOST = 100
"""Folders below a root in which a data set is looked for."""


class FetchError(Exception):
    """What was asked for cannot be had; the message is the reason, on one line."""


@dataclass(frozen=True)
class Archive:
    """A packed data set as its publisher offers it."""

    url: str
    md5: str
    folder: str
    """The one folder that it holds."""

    @property
    def file(self) -> str:
        """The name of the archive itself."""
        return self.url.rpartition("/")[2]


def check_near(root: Path, find: Callable[[Path], Path | None]) -> None:
    """Raise DataError where `find` gives the data set not in the root but next to it: nothing need be fetched then."""
    if not root.is_dir():
        return
    above = islice(root.absolute().parents, 2)
    for place in (*above, *islice((path for path in sorted(root.absolute().iterdir()) if path.is_dir()), MOST)):
        if find(place) is not None:
            raise DataError(f"data.root: {root} does not hold the data set, but {root_key(str(place))} does")


def fetch(archive: Archive, root: Path) -> None:
    """Put the folder of `archive` into `root`, one process at a time.

    An archive with the right checksum that lies in `root` already is used, otherwise it is downloaded. All work is done
    in a hidden folder, in `root` or the nearest folder above it that exists, and `root` itself is made at the end: what
    fails leaves nothing, and a process that is killed nothing that looks whole.
    Raises FetchError where there is no connection, no space, another checksum or an archive that reaches outside.
    """
    try:
        with alone_near(root.absolute()) as near:
            if (root / archive.folder).exists():
                return  # another process was faster
            work = near / f".{archive.folder}.partial"
            shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
            try:
                unpack(packed(archive, root, work), work / "unpacked")
                found = (work / "unpacked" / archive.folder).resolve(strict=True)
                root.mkdir(parents=True, exist_ok=True)
                put(found, root / archive.folder)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except Exception as error:  # network, disk, checksum and archive errors share no class
        raise FetchError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error


@contextmanager
def alone_near(root: Path) -> Iterator[Path]:
    """Hold the nearest of `root` and the folders above it that exists, for this process, and give it."""
    while True:
        near = nearest(root)
        lock = near / ".fetch.lock"
        with FileLock(lock):
            try:
                if nearest(root) == near:  # it is the one that others hold as well
                    yield near
                    return
            finally:  # the last thing done: who takes the lock after that has a file of its own
                lock.unlink(missing_ok=True)


def nearest(root: Path) -> Path:
    """The nearest of `root` and what is above it that exists, be it a link to nowhere."""
    return next(path for path in (root, *root.parents) if os.path.lexists(path))


def put(folder: Path, place: Path) -> None:
    """Move a folder in place, unless another process was faster: one on a machine that shares the disk but no locks."""
    try:
        os.replace(folder, place)
    except OSError:
        if not place.is_dir():
            raise


def packed(archive: Archive, root: Path, work: Path) -> Path:
    """The archive as a file with the right checksum: the one in `root`, or a new download in `work`."""
    from torchvision.datasets.utils import check_integrity, download_url

    if check_integrity(root / archive.file, archive.md5):
        return root / archive.file
    with patience(SECONDS):
        download_url(archive.url, work, md5=archive.md5)
    return work / archive.file


def unpack(file: Path, folder: Path) -> None:
    """Unpack a tar archive into `folder`: plain files and folders only, none of them outside."""
    with tarfile.open(file) as tar:
        tar.extractall(folder, filter="data")


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Give up on connections that stay silent: torchvision sets no time limit, so a firewall could hold it for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
