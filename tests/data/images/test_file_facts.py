import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from expkit.data.images.file_facts import facts_of, hash_of
from expkit.data.images.file_memory import Memory
from expkit.data.packed import Packed
from expkit.errors import UserError


def names_in(folder: Path) -> Packed:
    return Packed.from_names(sorted(os.listdir(os.fsencode(folder))))


def look(folder: Path) -> dict[str, str]:
    names = names_in(folder)
    return {os.fsdecode(names[index]): why for index, why in facts_of(str(folder), names, images=True).problems.items()}


opened: list[str] = []


def note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], bytes):  # images alone are opened by such paths
        opened.append(os.path.basename(os.fsdecode(arguments[0])))


sys.addaudithook(note)


def opened_by(action) -> set[str]:
    """The names of the image files that an action opens."""
    opened.clear()
    action()
    return set(opened)


@pytest.fixture
def folder(save):
    """Three old files."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        os.utime(save(f"photos/{name}"), (1, 1))
    return save("photos/d.jpg").parent


def test_files_are_opened_once_whoever_asks(folder):
    os.utime(folder / "d.jpg", (1, 1))
    assert opened_by(lambda: look(folder)) == {"a.jpg", "b.jpg", "c.jpg", "d.jpg"}
    assert opened_by(lambda: look(folder)) == set()
    names = names_in(folder)
    assert opened_by(lambda: facts_of(str(folder), names, np.array([2, 0]), images=False)) == set()
    assert opened_by(lambda: hash_of(folder / "b.jpg")) == set()


def test_files_hashed_before_are_decoded_once(folder):
    os.utime(folder / "d.jpg", (1, 1))
    (folder / "b.jpg").write_bytes(b"no image")
    os.utime(folder / "b.jpg", (1, 1))
    facts_of(str(folder), names_in(folder), images=False)
    assert list(look(folder)) == ["b.jpg"]


def test_verified_files_are_remembered_until_they_change(folder):
    assert look(folder) == {}
    (folder / "a.jpg").write_bytes(bytes((folder / "a.jpg").stat().st_size))
    os.utime(folder / "a.jpg", (1, 1))
    assert look(folder) == {}, "same size and time, so the file is not opened again"
    os.utime(folder / "a.jpg", (2, 2))
    assert list(look(folder)) == ["a.jpg"]


def test_a_file_as_young_as_the_look_at_it_is_looked_at_again(folder):
    assert look(folder) == {}
    assert opened_by(lambda: look(folder)) == {"d.jpg"}


def test_files_once_found_bad_are_looked_at_again(folder):
    good = (folder / "a.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(bytes(len(good)))
    os.utime(folder / "a.jpg", (1, 1))
    assert list(look(folder)) == ["a.jpg"]
    (folder / "a.jpg").write_bytes(good)
    os.utime(folder / "a.jpg", (1, 1))
    assert look(folder) == {}


def test_lists_of_the_same_folder_share_what_is_known_of_files(folder):
    os.utime(folder / "d.jpg", (1, 1))
    few = Packed.from_names([b"c.jpg", b"a.jpg"])
    first = facts_of(str(folder), few, images=True)
    whole = facts_of(str(folder), names_in(folder), images=True)
    assert (whole.hashes[[2, 0]] == first.hashes).all()
    assert opened_by(lambda: facts_of(str(folder), few, images=True)) == set()
    assert opened_by(lambda: look(folder)) == set()


def test_the_content_tells_files_apart_and_where_they_lie_does_not(folder):
    names = names_in(folder)
    shutil.copytree(folder, folder.with_name("copy"))
    one, other = (facts_of(str(place), names, images=True).hashes for place in (folder, folder.with_name("copy")))
    assert (one == other).all()
    assert len(np.unique(one, axis=0)) == 4


def test_a_file_that_is_not_there_is_named(folder):
    names = Packed.from_names([b"a.jpg", b"none.jpg"])
    assert facts_of(str(folder), names, images=True).problems == {1: "does not exist"}
    with pytest.raises(UserError, match=r"none\.jpg.*does not exist"):
        facts_of(str(folder), names, images=False)


@pytest.mark.parametrize("content", [b"", b"{", b"PK\x03\x04" + bytes(200)])
def test_a_damaged_memory_is_no_harm(folder, content):
    assert look(folder) == {}
    memories = list(Path(os.environ["EXPKIT_CACHE"]).glob("files/*.npz"))
    assert len(memories) == 1
    memories[0].write_bytes(content)
    assert look(folder) == {}
    assert opened_by(lambda: look(folder)) == {"d.jpg"}


def test_a_cut_memory_is_no_harm(folder):
    assert look(folder) == {}
    memory = next(Path(os.environ["EXPKIT_CACHE"]).glob("files/*.npz"))
    for share in range(0, 100, 7):
        data = memory.read_bytes()
        memory.write_bytes(data[: len(data) * share // 100])
        assert look(folder) == {}


def test_a_cache_that_cannot_be_written_is_no_harm(folder, monkeypatch):
    monkeypatch.setenv("EXPKIT_CACHE", str(folder / "d.jpg"))
    assert look(folder) == {}


def test_looks_at_once_lose_nothing(folder):
    os.utime(folder / "d.jpg", (1, 1))
    lists = [Packed.from_names([name]) for name in names_in(folder)]
    threads = [threading.Thread(target=facts_of, args=(str(folder), names), kwargs={"images": True}) for names in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened_by(lambda: look(folder)) == set()


def test_a_memory_keeps_rows_of_other_files_behind_those_asked_for():
    memory = Memory.of(Packed.from_names([b"a", b"b", b"c"]))
    memory.sizes[:] = 1, 2, 3
    ordered = memory.ordered(Packed.from_names([b"c", b"new"]))
    assert list(ordered.names) == [b"c", b"new", b"a", b"b"]
    assert ordered.sizes.tolist() == [3, -1, 1, 2]
    assert memory.ordered(Packed.from_names([b"a", b"b"])) is memory
