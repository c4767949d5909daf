import io
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from torchvision.datasets.utils import check_integrity

from expkit.data.fetch import Archive, FetchError, fetch
from tests.data.conftest import offer


@pytest.fixture
def tree(tmp_path):
    """A data set of a thousand small files."""
    for number in range(1000):
        path = tmp_path / "set" / f"class{number % 10}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"image {number} " * 20)
    return tmp_path / "set"


def seen(root):
    """What a person sees in a folder."""
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def same(one, other):
    files = sorted(path.relative_to(one) for path in one.rglob("*.txt"))
    assert files == sorted(path.relative_to(other) for path in other.rglob("*.txt"))
    return all((one / file).read_text() == (other / file).read_text() for file in files)


def test_a_folder_is_fetched_once_and_nothing_else_stays(tree, publish, tmp_path):
    archive, root = publish(tree), tmp_path / "data"
    fetch(archive, root)
    assert same(root / "set", tree)
    assert os.listdir(root) == ["set"]
    (tmp_path / "www" / "set.tgz").unlink()
    fetch(archive, root)


def test_several_at_once_fetch_once(tree, publish, tmp_path):
    archive, root = publish(tree), tmp_path / "data"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: fetch(archive, root), range(3)))
    assert same(root / "set", tree)


def fetch_often(archive, root, times, said):
    """Fetch some times, and note what came of each."""
    lines = []
    for _ in range(times):
        try:
            fetch(archive, root)
            lines.append("fetched")
        except FetchError as error:
            lines.append(str(error))
    said.write_text("\n".join(lines))


def identity(path):
    """What tells a file or folder from one of the same name; None where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def reports(archive, root, processes, times, notes):
    """What processes say that fetch at once, each some times; nobody's work may be seen without the lock on it."""
    check_integrity(__file__)  # torch is imported once, not in each
    near = root if root.exists() else root.parents[1]
    work, lock = near / f".{archive.folder}.partial", near / ".fetch.lock"
    said = [notes / str(number) for number in range(processes)]
    fork = multiprocessing.get_context("fork")
    running = [fork.Process(target=fetch_often, args=(archive, root, times, path)) for path in said]
    for process in running:
        process.start()
    while any(process.is_alive() for process in running):
        for _ in range(100):
            before = identity(work)
            assert identity(lock) or before is None or identity(work) != before
    assert all(process.exitcode == 0 for process in running)
    return [line for path in said for line in path.read_text().splitlines()]


@pytest.mark.parametrize("there", [True, False])
def test_one_that_fails_does_not_disturb_those_that_wait_for_it(there, tree, publish, tmp_path, tmp_path_factory):
    archive, root = replace(publish(tree / "class1"), folder="other"), tmp_path / "new" / "data"
    if there:
        root.mkdir(parents=True)
    said = reports(archive, root, 3, 3, tmp_path_factory.mktemp("notes"))
    assert len(said) == 9
    strangers = [line for line in said if "unpacked/other" not in line]
    assert not strangers, "all fail for the reason that the archive gives them"
    assert sorted(os.listdir(tmp_path)) == [*(["new"] if there else []), "set", "www"]
    assert not there or not os.listdir(root)


@pytest.mark.parametrize("there", [True, False])
def test_processes_at_once_fetch_once(there, tree, tmp_path, publish, tmp_path_factory):
    archive, root = publish(tree / "class1"), tmp_path / "new" / "data"
    if there:
        root.mkdir(parents=True)
    assert reports(archive, root, 4, 1, tmp_path_factory.mktemp("notes")) == ["fetched"] * 4
    assert same(root / "class1", tree / "class1")
    assert os.listdir(root) == ["class1"]
    assert sorted(os.listdir(tmp_path)) == ["new", "set", "www"]


def test_an_archive_that_lies_there_needs_no_connection(tree, publish, tmp_path):
    archive, root = publish(tree), tmp_path / "data"
    root.mkdir()
    (tmp_path / "www" / "set.tgz").rename(root / "set.tgz")
    fetch(archive, root)
    assert same(root / "set", tree)
    assert seen(root) == ["set", "set.tgz"], "it is the user's own"


def test_another_checksum_is_refused_and_nothing_is_unpacked(tree, publish, tmp_path):
    archive = replace(publish(tree), md5="0" * 32)
    with pytest.raises(FetchError, match="corrupted"):
        fetch(archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def member(name, **facts):
    """An entry of an archive, with its content."""
    info = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(info, key, value)
    info.size = 4 if info.isreg() else 0
    return info, io.BytesIO(b"evil")


@pytest.mark.parametrize(
    "entry",
    [
        member("../outside.txt"),
        member("set/../../outside.txt"),
        member("set/link", type=tarfile.SYMTYPE, linkname="../../../outside.txt"),
        member("set/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("set/pipe", type=tarfile.FIFOTYPE),
    ],
    ids=["parent", "parent from below", "link", "absolute link", "pipe"],
)
def test_an_archive_that_reaches_outside_is_refused(entry, server, tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        tar.addfile(*member("set/good.txt"))
        tar.addfile(*entry)
    archive = offer(server, tmp_path, "set", data.getvalue())
    with pytest.raises(FetchError, match=r"Outside|AbsoluteLink|SpecialFile"):
        fetch(archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert not list(tmp_path.rglob("outside.txt"))


def test_an_archive_of_something_else_is_refused(tree, publish, tmp_path):
    with pytest.raises(FetchError, match="other"):
        fetch(replace(publish(tree), folder="other"), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_root_that_was_mistyped_is_left_as_it_was(server, tmp_path):
    archive = Archive(f"http://127.0.0.1:{server.server_port}/gone.tgz", "0" * 32, "set")
    (tmp_path / "mine").mkdir()
    for root in (tmp_path / "mine", tmp_path / "no" / "such" / "place"):
        with pytest.raises(FetchError, match="404"):
            fetch(archive, root)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "www"]
    assert not list((tmp_path / "mine").iterdir())


@pytest.fixture
def stalling():
    """A server that promises a megabyte, sends half and falls silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def answer(connection):
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500000)
                done.wait()

        def serve():
            while not done.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,)).start()

        threading.Thread(target=serve).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        done.set()
        listener.shutdown(socket.SHUT_RDWR)


def killed_while(archive, root, condition):
    """Fetch in another process and kill that where `condition` holds; whether it came to that."""
    code = f"from pathlib import Path; from expkit.data.fetch import *; fetch({archive!r}, Path({str(root)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_a_download_that_is_killed_leaves_nothing_that_looks_whole(stalling, tree, publish, tmp_path):
    root = tmp_path / "data"
    part = tmp_path / ".set.partial" / "set.tgz"
    archive = Archive(f"{stalling}/set.tgz", "0" * 32, "set")
    assert killed_while(archive, root, lambda: part.exists() and part.stat().st_size > 0)
    assert not root.exists()
    fetch(publish(tree), root)
    assert same(root / "set", tree)
    assert sorted(os.listdir(tmp_path)) == ["data", "set", "www"], "what was left behind goes with the next fetch"


def test_unpacking_that_is_killed_leaves_nothing_that_looks_whole(tree, publish, tmp_path):
    archive, root = publish(tree), tmp_path / "data"
    root.mkdir()
    if killed_while(archive, root, (root / ".set.partial" / "unpacked" / "set" / "class1").exists):
        assert seen(root) in ([], ["set"])
    fetch(archive, root)  # takes what is there as whole
    assert same(root / "set", tree)
    assert os.listdir(root) == ["set"]


def test_a_folder_that_cannot_be_written_is_a_reason(tree, publish, tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(FetchError, match=r"FileExistsError|NotADirectoryError"):
        fetch(publish(tree), tmp_path / "data")
