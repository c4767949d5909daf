import os
import shutil
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from expkit import model
from expkit.augment import none, side_on, top_down
from expkit.data.arrays import ArrayImages
from expkit.errors import UserError
from expkit.features import FeatureCache
from expkit.randomness import seed_of
from tests.features.tiny import (
    SIZE,
    WIDTH,
    Builds,
    Noted,
    classifier,
    direct,
    entries_in,
    files_in,
    frozen_of,
    grow_old,
    paint,
    photos,
    rows_of,
)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def images(tmp_path):
    return files_in(photos(tmp_path / "photos"))


def test_features_are_those_of_the_model_itself(cache, images):
    features = cache.features(frozen_of(), images, none(SIZE))
    assert (len(features), features.width, features.dtype) == (20, WIDTH, torch.float32)
    expected = direct(images, lambda image, _: none(SIZE).valid(image))
    torch.testing.assert_close(rows_of(features), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_a_view_is_what_training_sees_in_that_epoch_on_any_number_of_workers(cache, images, num_workers):
    transforms = side_on(SIZE)
    features = cache.features(frozen_of(), images, transforms, view=3, seed=5, num_workers=num_workers)
    expected = direct(images, lambda image, index: transforms.train(image, seed_of(5, "augment", 3, index)))
    torch.testing.assert_close(rows_of(features), expected, rtol=1e-5, atol=1e-5)
    other = FeatureCache(cache.entries.folder.with_name("other")).features(
        frozen_of(), images, transforms, view=3, seed=5, num_workers="auto"
    )
    assert torch.equal(rows_of(features), rows_of(other))


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_the_number_of_threads_changes_no_bit(tmp_path, images, autocast):
    def build():
        torch.manual_seed(0)
        return model.resnet18(2), torch.device("cpu"), autocast

    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        cache = FeatureCache(tmp_path / str(threads))
        found.append(rows_of(cache.features(frozen_of(build, image_size=32), images, none(32))))
    torch.set_num_threads(before)
    assert torch.equal(*found)


def test_views_differ_from_each_other_and_from_the_fixed_one_unless_nothing_is_random(cache, images):
    builds = Builds()
    frozen = frozen_of(builds)
    views = cache.views(frozen, images, side_on(SIZE), [None, 0, 1], seed=5)
    assert len({view.entry.folder for view in views}) == 3
    assert not torch.equal(rows_of(views[1]), rows_of(views[2]))
    assert cache.features(frozen, images, side_on(SIZE), view=1, seed=6).entry.folder != views[2].entry.folder
    fixed = cache.views(frozen, images, none(SIZE), [None, 0, 1])
    assert {view.entry.folder for view in fixed} == {views[0].entry.folder}
    assert builds.count == 1


def test_half_precision_is_kept_in_two_bytes_and_read_as_float32(cache, images):
    features = cache.features(frozen_of(Builds(autocast=torch.bfloat16)), images, none(SIZE))
    assert features.dtype == torch.bfloat16
    assert (features.entry.folder / "rows.bin").stat().st_size == 20 * WIDTH * 2
    expected = direct(images, lambda image, _: none(SIZE).valid(image))
    assert rows_of(features).dtype == torch.float32
    torch.testing.assert_close(rows_of(features), expected, rtol=0.03, atol=0.03)


def test_a_precision_that_is_chosen_or_named_gives_the_same_entry(cache, images):
    def entry_of(precision, autocast):
        frozen = frozen_of(Builds(autocast=autocast), precision=precision)
        return cache.features(frozen, images, none(SIZE)).entry.folder

    assert entry_of("auto", torch.bfloat16) == entry_of("bf16", torch.bfloat16) != entry_of("fp32", None)


def test_a_second_look_builds_and_reads_nothing(tmp_path, cache):
    images = files_in(photos(tmp_path / "photos"), Noted)
    first = cache.features(frozen_of(), images, side_on(SIZE), view=0)
    before = (tmp_path / "photos" / "reads").read_text()
    builds = Builds()
    again = FeatureCache(cache.entries.folder).features(frozen_of(builds), images, side_on(SIZE), view=0)
    assert torch.equal(rows_of(first), rows_of(again))
    assert builds.count == 0
    assert (tmp_path / "photos" / "reads").read_text() == before


def test_the_body_is_known_without_being_built(cache):
    cache.body(frozen_of())
    builds = Builds()
    info = FeatureCache(cache.entries.folder).body(frozen_of(builds))
    assert (info.width, info.groups, info.precision, builds.count) == (WIDTH, ("early", "late"), "fp32", 0)
    state = {name: tensor for name, tensor in classifier().state_dict().items() if name.startswith("body.")}
    kept = load_file(info.weights)
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name], state[name]) for name in state)


def test_what_the_body_depends_on_tells_features_apart(cache, images):
    one = cache.features(frozen_of(), images, none(SIZE))
    other = cache.features(frozen_of(Builds(seed=1), seed=1), images, none(SIZE))
    assert not torch.equal(rows_of(one), rows_of(other))
    assert len(entries_in(cache.entries.folder)) == 2


def test_the_callers_model_stays_as_it_is(cache, images):
    model = classifier().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cache.features(frozen_of(lambda: (model, torch.device("cpu"), None)), images, none(SIZE))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_amounts_of_augmentation_do_not_touch_the_fixed_features(cache, images):
    one = cache.features(frozen_of(), images, side_on(SIZE, rotate=5.0))
    assert cache.features(frozen_of(), images, top_down(SIZE, rotate=9.0)).entry.folder == one.entry.folder
    assert cache.features(frozen_of(), images, none(SIZE)).entry.folder == one.entry.folder
    assert cache.features(frozen_of(), images, none(SIZE, resize="pad")).entry.folder != one.entry.folder
    view = cache.features(frozen_of(), images, side_on(SIZE, rotate=5.0), view=0)
    assert cache.features(frozen_of(), images, side_on(SIZE, rotate=6.0), view=0).entry.folder != view.entry.folder


def test_a_changed_file_of_the_same_size_is_noticed(tmp_path, cache, images):
    first = rows_of(cache.features(frozen_of(), images, none(SIZE)))
    paint(tmp_path / "photos" / "004.bmp", 1000)
    second = rows_of(cache.features(frozen_of(), images, none(SIZE)))
    assert (first != second).any(dim=1).nonzero().flatten().tolist() == [4]
    expected = direct(images, lambda image, _: none(SIZE).valid(image))
    torch.testing.assert_close(second, expected, rtol=1e-5, atol=1e-5)


def test_a_file_changed_right_after_the_build_is_noticed_though_its_time_is_the_same(tmp_path, cache):
    images = files_in(photos(tmp_path / "photos", age=0))
    path = tmp_path / "photos" / "004.bmp"
    now = path.stat().st_mtime
    first = rows_of(cache.features(frozen_of(), images, none(SIZE)))
    paint(path, 1000)
    grow_old(path, time.time() - now)
    assert not torch.equal(first, rows_of(cache.features(frozen_of(), images, none(SIZE))))


def test_a_touched_file_costs_one_look_at_its_bytes(tmp_path, cache, images):
    first = cache.features(frozen_of(), images, none(SIZE))
    grow_old(tmp_path / "photos" / "004.bmp", 60)
    again = cache.features(frozen_of(), images, none(SIZE))
    assert again.entry.build == first.entry.build
    # From now on its new time is known. A change that keeps size and time shows that no byte is looked at.
    times = (tmp_path / "photos" / "004.bmp").stat()
    paint(tmp_path / "photos" / "004.bmp", 1000)
    os.utime(tmp_path / "photos" / "004.bmp", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cache.features(frozen_of(), images, none(SIZE)).entry.build == first.entry.build


def test_copies_in_another_folder_share_features_until_one_changes(tmp_path, cache, images):
    first = cache.features(frozen_of(), images, none(SIZE))
    shutil.copytree(tmp_path / "photos", tmp_path / "copy", copy_function=shutil.copyfile)
    copies = files_in(tmp_path / "copy")
    assert cache.features(frozen_of(), copies, none(SIZE)).entry.build == first.entry.build
    assert cache.features(frozen_of(), images, none(SIZE)).entry.build == first.entry.build
    paint(tmp_path / "copy" / "001.bmp", 1000)
    assert cache.features(frozen_of(), copies, none(SIZE)).entry.build != first.entry.build


def test_other_images_of_the_same_folder_have_their_own_entry(cache, images):
    cache.features(frozen_of(), images.subset(np.arange(10)), none(SIZE))
    features = cache.features(frozen_of(), images.subset(np.arange(10, 20)), none(SIZE))
    whole = cache.features(frozen_of(), images, none(SIZE))
    assert torch.equal(rows_of(features), rows_of(whole)[10:])
    assert len(entries_in(cache.entries.folder)) == 3


class Changing(Noted):
    """Files of which one is painted over while they are read."""

    def read(self, index, size=None):
        if index == 7:
            paint(self.path(3).decode(), 1000)
        return super().read(index, size)


def test_files_that_change_while_they_are_read_leave_no_entry(tmp_path, cache, images):
    with pytest.raises(UserError, match=r"003\.bmp.*start again"):
        cache.features(frozen_of(), files_in(tmp_path / "photos", Changing), none(SIZE))
    assert not entries_in(cache.entries.folder)
    assert not list(cache.entries.folder.glob("*.partial"))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_image_is_named_and_leaves_no_entry(tmp_path, cache, images, num_workers):
    (tmp_path / "photos" / "005.bmp").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"005\.bmp"):
        cache.features(frozen_of(), images, none(SIZE), num_workers=num_workers)
    assert not entries_in(cache.entries.folder)
    assert not list(cache.entries.folder.glob("*.partial"))


def arrays(seed=0):
    base = np.random.default_rng(seed).integers(0, 256, (30, 16, 16), dtype=np.uint8)
    return ArrayImages(base, np.arange(30) % 2, np.arange(30))


def test_arrays_are_found_by_their_pixels(cache):
    one = cache.features(frozen_of(), arrays(), none(SIZE))
    expected = direct(arrays(), lambda image, _: none(SIZE).valid(image))
    torch.testing.assert_close(rows_of(one), expected, rtol=1e-5, atol=1e-5)
    assert cache.features(frozen_of(), arrays(), none(SIZE)).entry.build == one.entry.build
    assert cache.features(frozen_of(), arrays(1), none(SIZE)).entry.folder != one.entry.folder
    part = arrays().subset(np.arange(4, 9))
    assert torch.equal(rows_of(cache.features(frozen_of(), part, none(SIZE))), rows_of(one)[4:9])


class Own:
    """A user's own images: nothing but the protocol."""

    def __init__(self, images):
        self.images = images
        self.labels = images.labels

    def __len__(self):
        return len(self.images)

    def name(self, index):
        return self.images.name(index)

    def read(self, index, size=None):
        return self.images.read(index, size)


def test_a_users_own_images_are_found_by_their_pixels(cache):
    one = cache.features(frozen_of(), Own(arrays()), none(SIZE))
    assert cache.features(frozen_of(), Own(arrays()), none(SIZE)).entry.build == one.entry.build
    assert cache.features(frozen_of(), Own(arrays(1)), none(SIZE)).entry.folder != one.entry.folder


@pytest.mark.parametrize("damage", ["short rows", "no rows", "cut marker", "empty marker", "odd marker"])
def test_a_damaged_entry_is_computed_anew(cache, images, damage):
    first = cache.features(frozen_of(), images, none(SIZE))
    rows, folder = rows_of(first), first.entry.folder
    name = {"rows": "rows.bin", "marker": "marker.json"}[damage.split()[1]]
    match damage.split()[0]:
        case "short":
            (folder / name).write_bytes((folder / name).read_bytes()[:-1])
        case "no":
            (folder / name).unlink()
        case "cut":
            (folder / name).write_text((folder / name).read_text()[:-20])
        case "empty":
            (folder / name).write_text("")
        case "odd":
            (folder / name).write_text("[1, 2]")
    again = cache.features(frozen_of(), images, none(SIZE))
    assert again.entry.build != first.entry.build
    assert torch.equal(rows_of(again), rows)
