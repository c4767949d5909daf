import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from expkit.features.entries import Entries, opened
from tests.features.tiny import HOUR, grow_old


@pytest.fixture
def entries(tmp_path):
    return Entries(tmp_path / "cache")


def fill(text):
    def write(folder):
        (folder / "text").write_text(text)
        return {"text": text}

    return write


def made(entries, key, text="one"):
    """An entry that nobody holds."""
    entry = entries.get(key, fill(text), what="text")
    entry.held.close()
    return entry


def test_an_entry_is_filled_once_and_found_again(entries):
    first = made(entries, "a")
    again = entries.get("a", fill("two"), what="text")
    assert again == first
    assert (again.folder / "text").read_text() == again.facts["text"] == "one"
    assert entries.find("b") is None


def test_a_fill_that_fails_leaves_nothing(entries):
    def broken(folder):
        (folder / "text").write_text("half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        entries.get("a", broken, what="text")
    assert entries.names() == []
    assert made(entries, "a").facts["text"] == "one"


def test_using_an_entry_notes_the_time(entries):
    entry = made(entries, "a")
    grow_old(entry.folder / "marker.json")
    assert entries.find("a")
    assert time.time() - (entry.folder / "marker.json").stat().st_mtime < 60


def test_only_what_was_not_used_for_long_is_removed(entries):
    for key in ("old", "new"):
        made(entries, key)
    grow_old(entries.folder / "old" / "marker.json", 2 * HOUR)
    before = time.time() - HOUR
    assert entries.remove_unused("old", before)
    assert not entries.remove_unused("new", before)
    assert entries.names() == ["new"]


def test_what_is_read_or_built_is_not_removed(entries):
    reader = entries.get("read", fill("one"), what="text")
    assert not entries.remove_unused("read", time.time() + 1)
    reader.held.close()
    assert entries.remove_unused("read", time.time() + 1)

    def attempt(folder):
        # flock holds for an open file, so a second lock in this process is like that of another process.
        assert not entries.remove_unused("built", time.time() + 1)
        return fill("one")(folder)

    assert entries.get("built", attempt, what="text").facts["text"] == "one"


def test_leftovers_of_killed_builds_and_damaged_entries_are_removed_at_any_age(entries):
    made(entries, "whole")
    (entries.folder / "killed.partial").mkdir()
    (entries.folder / "retired.old").mkdir()
    (entries.folder / "damaged").mkdir()
    for key in ("killed", "retired", "damaged"):  # as each build leaves one
        (entries.folder / "locks" / key).touch()
    assert entries.names() == ["damaged", "killed", "retired", "whole"]
    removed = [key for key in entries.names() if entries.remove_unused(key, 0.0)]
    assert removed == ["damaged", "killed", "retired"]
    assert entries.names() == ["whole"]


def test_an_entry_cannot_be_opened_in_the_middle_of_its_removal(entries):
    """Who opens the marker just before a removal gets its lock just after, and must not take the entry for there."""
    folder = made(entries, "a").folder
    remover = open(folder / "marker.json", "rb")
    fcntl.flock(remover, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(opened, folder)  # waits for the lock
        time.sleep(0.1)
        os.rename(folder, folder.with_suffix(".old"))
        remover.close()
        assert found.result() is None


def test_folders_of_others_beside_the_entries_are_neither_listed_nor_removed(entries):
    entries.get("a", fill("one"), what="text")
    photo = entries.folder / "photos" / "cat.jpg"
    photo.parent.mkdir()
    photo.write_bytes(b"mine")
    assert entries.names() == ["a"]
    assert photo.read_bytes() == b"mine"
