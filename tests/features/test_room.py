import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from expkit.augment import none, side_on
from expkit.errors import UserError
from expkit.features import FeatureCache
from expkit.features.room import in_words
from tests.features.test_killed_builds import CONTEXT
from tests.features.tiny import SIZE, WIDTH, Builds, Noted, files_in, frozen_of, photos, rows_of

NOBODY = 65534


@pytest.fixture
def shared():
    """A folder that every user of the machine can look into."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextmanager
def without_rights():
    """Root may write anywhere, so it becomes somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_a_clear_error_before_a_body_is_built(shared):
    (shared / "cache").mkdir(mode=0o555)
    builds = Builds()
    with without_rights(), pytest.raises(UserError, match="EXPKIT_CACHE") as error:
        FeatureCache(shared / "cache" / "features").body(frozen_of(builds))
    assert str(shared / "cache" / "features") in str(error.value)
    assert builds.count == 0


def test_no_folder_can_be_made_below_a_file(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        FeatureCache(tmp_path / "cache" / "features").body(frozen_of())


def test_a_cache_for_reading_only_is_read(shared):
    images = files_in(photos(shared / "photos"))
    first = rows_of(FeatureCache(shared / "cache").features(frozen_of(), images, none(SIZE)))
    os.utime(shared / "photos" / "003.bmp")  # its new time cannot be noted
    for folder, _, names in os.walk(shared / "cache"):
        os.chmod(folder, 0o555)
        for name in names:
            os.chmod(Path(folder, name), 0o444)
    builds = Builds()
    with without_rights():
        again = FeatureCache(shared / "cache").features(frozen_of(builds), images, none(SIZE))
        assert rows_of(again).equal(first)
    assert builds.count == 0
    for folder, _, _ in os.walk(shared / "cache"):
        os.chmod(folder, 0o755)


def fill_a_small_disk(folder, root, answers):
    """A limit on the size of files fails like a full disk, and needs no disk of its own."""
    cache = FeatureCache(folder)
    cache.body(frozen_of())
    limit = 2000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    builds = Builds()
    try:
        cache.features(frozen_of(builds), files_in(root, Noted), none(SIZE))
    except UserError as error:
        answers.put((str(error), builds.count))


def test_a_full_disk_is_a_clear_error_before_an_image_is_read(tmp_path):
    root = photos(tmp_path / "photos", 100)
    answers = CONTEXT.Queue()
    process = CONTEXT.Process(target=fill_a_small_disk, args=(tmp_path / "cache", root, answers))
    process.start()
    message, builds = answers.get(timeout=60)
    process.join()
    assert str(tmp_path / "cache") in message
    assert "3.2 kB" in message
    assert "EXPKIT_CACHE" in message
    assert "task=cache" in message
    assert builds == 0
    assert not (root / "reads").exists()
    assert not list((tmp_path / "cache").glob("*.partial"))


def fill_a_smaller_disk(folder, answers):
    """The same, too small for the weights of the body."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    try:
        FeatureCache(folder).body(frozen_of())
    except UserError as error:
        answers.put(str(error))


def test_a_disk_too_full_for_the_body_is_a_clear_error(tmp_path):
    answers = CONTEXT.Queue()
    process = CONTEXT.Process(target=fill_a_smaller_disk, args=(tmp_path / "cache", answers))
    process.start()
    message = answers.get(timeout=60)
    process.join()
    assert "EXPKIT_CACHE" in message
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_room_for_all_views_is_asked_for_at_once(tmp_path, monkeypatch):
    cache, builds = FeatureCache(tmp_path / "cache"), Builds()
    cache.body(frozen_of())
    images, size = files_in(photos(tmp_path / "photos"), Noted), 20 * WIDTH * 4
    disk = os.statvfs(tmp_path)
    room = os.statvfs_result((1, 1, disk.f_blocks, 2 * size, 2 * size, *disk[5:]))  # of two views in three
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    with pytest.raises(UserError, match=r"no room for 1\.9 kB"):
        cache.views(frozen_of(builds), images, side_on(SIZE), [0, 1, 2])
    assert builds.count == 0
    assert not (tmp_path / "photos" / "reads").exists()
    assert len(cache.views(frozen_of(builds), images, side_on(SIZE), [0, 1])) == 2
    assert len(cache.views(frozen_of(builds), images, side_on(SIZE), [0, 1, 2])) == 3, "two are there already"


@pytest.mark.parametrize(("size", "words"), [(0, "0 bytes"), (999, "999 bytes"), (3200, "3.2 kB"), (12e9, "12.0 GB")])
def test_sizes_are_said_in_words(size, words):
    assert in_words(int(size)) == words
