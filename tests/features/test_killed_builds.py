"""Builders in processes of their own, killed and raced."""

import multiprocessing
import random
import time

import pytest
import torch

from expkit.augment import none
from expkit.features import FeatureCache
from tests.features.tiny import SIZE, Builds, Slow, direct, entries_in, files_in, frozen_of, photos, rows_of

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.features.tiny", "expkit.augment.transforms"])
PHOTOS = 150
ONE_BUILD = PHOTOS * 0.002 / 2
"""Seconds that reading takes two threads."""


def build(folder, root, answers=None):
    """What a run does: ask the cache for features."""
    builds = Builds()
    features = FeatureCache(folder).features(frozen_of(builds), files_in(root, Slow), none(SIZE))
    if answers is not None:
        answers.put((builds.count, features.entry.build, rows_of(features).tolist()))


def started(*arguments):
    process = CONTEXT.Process(target=build, args=arguments, daemon=True)
    process.start()
    return process


@pytest.fixture
def root(tmp_path):
    return photos(tmp_path / "photos", PHOTOS)


def check_sole_entry(folder, root):
    """Exactly one entry, whole and right, and nothing else."""
    entries = entries_in(folder)
    assert len(entries) == 1
    assert not [path.name for path in folder.iterdir() if path.suffix]
    builds = Builds()
    features = FeatureCache(folder).features(frozen_of(builds), files_in(root), none(SIZE))
    assert builds.count == 0
    expected = direct(files_in(root), lambda image, _: none(SIZE).valid(image))
    torch.testing.assert_close(rows_of(features), expected, rtol=1e-5, atol=1e-5)
    return features


def test_killed_builds_leave_nothing_that_could_be_read_as_whole(tmp_path, root):
    folder = tmp_path / "cache"
    draw, killed = random.Random(0), 0
    for _ in range(6):
        process = started(folder, root)
        deadline = time.monotonic() + 30
        while not list(folder.glob("*.partial/rows.bin")) and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.join(draw.uniform(0, 1.2 * ONE_BUILD))
        killed += process.is_alive()
        process.kill()
        process.join()
        if entries_in(folder):
            check_sole_entry(folder, root)
            for path in entries_in(folder):
                (path / "marker.json").unlink()  # as if it had never been finished
    assert killed >= 2
    started(folder, root).join()
    check_sole_entry(folder, root)


def test_of_four_builders_at_once_one_builds_and_all_read_the_same(tmp_path, root):
    folder, answers = tmp_path / "cache", CONTEXT.Queue()
    first = started(folder, root)
    while not list(folder.glob("*.partial/rows.bin")):
        time.sleep(0.001)
    first.kill()
    processes = [started(folder, root, answers) for _ in range(4)]
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    features = check_sole_entry(folder, root)
    assert {build for _, build, _ in found} == {features.entry.build}
    assert all(rows == rows_of(features).tolist() for _, _, rows in found)
    # The body is known from the killed build, so that only who computes the features builds it.
    assert sum(count for count, _, _ in found) == 1


def test_who_waits_says_so_once(tmp_path, root, caplog):
    folder = tmp_path / "cache"
    FeatureCache(folder).body(frozen_of())
    process = started(folder, root)
    while not list(folder.glob("*.partial/rows.bin")):
        time.sleep(0.001)
    builds = Builds()
    with caplog.at_level("INFO", "expkit.features"):
        FeatureCache(folder).features(frozen_of(builds), files_in(root), none(SIZE), part="train")
    process.join()
    assert builds.count == 0
    assert [record.message for record in caplog.records] == [
        "waiting for another process that computes features of train by tiny"
    ]
