import os

import numpy as np
import pytest
import torch

from expkit.augment import none, side_on
from expkit.data.arrays import ArrayImages
from expkit.data.files import ImageFiles
from expkit.data.packed import Packed
from expkit.errors import UserError
from expkit.feed.loading import ImageLoader, TensorLoader, auto_workers, make_loader, order
from expkit.randomness import seed_of
from tests.feed.photos import SIZE, drawn, files_in, loader_of, same


def array_of(count, height=8, width=8, colours=()):
    base = np.random.default_rng(1).integers(0, 256, (count, height, width, *colours), dtype=np.uint8)
    return ArrayImages(base, np.arange(count) % 10, np.arange(count))


def test_any_number_of_workers_gives_the_same_batches(images):
    expected = drawn(loader_of(images).stream(0, 0, 2))
    for num_workers in (1, 2, 4):
        with loader_of(images, num_workers=num_workers) as loader:
            assert same(drawn(loader.stream(0, 0, 2)), expected)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stream_from_anywhere_is_the_tail_of_the_whole(images, num_workers):
    with loader_of(images, num_workers=num_workers) as loader:
        whole = drawn(loader.stream(0, 0, 3))
        assert len(whole) == 3 * loader.batches == 15
        assert same(drawn(loader.stream(1, 3, 3)), whole[8:])
        assert same(drawn(loader.stream(2, 0, 3)), whole[10:])
        assert drawn(loader.stream(3, 0, 3)) == []


def test_a_stream_left_in_the_middle_does_not_disturb_the_next(images):
    with loader_of(images, num_workers=2) as loader:
        abandoned = loader.stream(0, 0, 3)
        next(abandoned)
        assert same(drawn(loader.stream(1, 0, 2)), drawn(loader_of(images).stream(1, 0, 2)))


def test_batches_are_bytes_in_channels_last(images):
    batch = next(loader_of(images).stream(0, 0, 1))
    assert batch.images.shape == (4, 3, SIZE, SIZE)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.dtype == torch.int64


def test_labels_belong_to_their_images(images):
    transforms = none(SIZE)
    found = drawn(loader_of(images, transforms).stream(0, 0, 1))
    for position, index in enumerate(order(22, 7, 0)[:20].tolist()):
        pixels, labels = found[position // 4]
        assert torch.equal(pixels[position % 4].permute(1, 2, 0), transforms.valid(images.read(index)))
        assert labels[position % 4] == images.labels[index]


def test_each_epoch_has_its_order_and_its_augmentation(images):
    orders = [order(22, 7, epoch) for epoch in range(3)] + [order(22, 8, 0)]
    assert all(sorted(each.tolist()) == list(range(22)) for each in orders)
    assert len({tuple(each.tolist()) for each in orders}) == 4
    one = ImageFiles(images.root, images.names, np.array([3, 3]), np.array([0, 0]))
    views = torch.cat([pixels for pixels, _ in loader_of(one, batch_size=2).stream(0, 0, 3)])
    assert len({view.numpy().tobytes() for view in views}) == 6


@pytest.mark.parametrize(
    ("items", "batch_size", "train", "sizes"),
    [
        (22, 4, True, [4] * 5),
        (20, 4, True, [4] * 5),
        (5, 4, True, [4]),
        (4, 4, True, [4]),
        (3, 4, True, [3]),
        (22, 4, False, [4] * 5 + [2]),
        (20, 4, False, [4] * 5),
        (3, 4, False, [3]),
    ],
)
def test_training_drops_a_partial_last_batch_unless_it_is_the_only_one(images, items, batch_size, train, sizes):
    part = images.subset(np.arange(items))
    in_memory = TensorLoader(
        torch.zeros(items, 2), torch.zeros(items).long(), batch_size=batch_size, seed=0, train=train
    )
    for loader in (loader_of(part, batch_size=batch_size, train=train), in_memory):
        batches = loader.stream(0, 0, 1) if train else loader
        assert [len(batch.labels) for batch in batches] == sizes
        assert loader.batches == len(sizes)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_validation_sees_every_item_in_order_each_time(images, num_workers):
    with loader_of(images, train=False, num_workers=num_workers) as loader:
        first, second = drawn(loader), drawn(loader)
    assert same(first, second)
    assert torch.cat([labels for _, labels in first]).tolist() == images.labels.tolist()
    transforms = side_on(SIZE)
    expected = torch.stack([transforms.valid(images.read(index)) for index in range(22)])
    assert torch.equal(torch.cat([pixels for pixels, _ in first]).permute(0, 2, 3, 1), expected)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_view_shows_every_item_in_order_as_training_sees_it_in_that_epoch(images, num_workers):
    transforms = side_on(SIZE)
    settings = {"batch_size": 4, "seed": 7, "train": False, "num_workers": num_workers}
    with ImageLoader(images, transforms, view=2, **settings) as loader:
        first, second = drawn(loader), drawn(loader)
    assert same(first, second)
    expected = torch.stack(
        [transforms.train(images.read(index), seed_of(7, "augment", 2, index)) for index in range(22)]
    )
    assert torch.equal(torch.cat([pixels for pixels, _ in first]).permute(0, 2, 3, 1), expected)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_global_random_state_is_untouched(images, num_workers):
    before = torch.get_rng_state()
    with loader_of(images, num_workers=num_workers) as loader:
        drawn(loader.stream(0, 0, 2))
    drawn(TensorLoader(torch.zeros(9, 2), torch.zeros(9).long(), batch_size=2, seed=0, train=True).stream(0, 0, 2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_image_is_named_in_one_sentence(folder, tmp_path, num_workers):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    images = files_in(tmp_path)
    (tmp_path / "05.jpg").write_bytes(b"<html>not found</html>")
    with loader_of(images, num_workers=num_workers) as loader, pytest.raises(UserError) as error:
        drawn(loader.stream(0, 0, 3))
    assert "05.jpg" in str(error.value)
    assert "Traceback" not in str(error.value)


def test_tensor_loader_gives_rows_of_features_in_the_drawn_order():
    features, labels = torch.randn(50, 6), torch.arange(50)
    loader = TensorLoader(features, labels, batch_size=8, seed=3, train=True)
    chosen = order(50, 3, 1)
    found = list(loader.stream(1, 2, 2))
    assert len(found) == 4
    for number, batch in enumerate(found, start=2):
        rows = chosen[number * 8 : number * 8 + 8]
        assert torch.equal(batch.images, features[rows])
        assert torch.equal(batch.labels, rows)


def test_tensor_loader_reads_a_memory_map(tmp_path):
    rows = np.arange(60, dtype=np.float32).reshape(20, 3)
    rows.tofile(tmp_path / "rows")
    mapped = torch.from_file(str(tmp_path / "rows"), shared=True, size=60).view(20, 3)
    loader = TensorLoader(mapped, torch.arange(20), batch_size=5, seed=0, train=True)
    for images, labels in loader.stream(0, 0, 2):
        assert torch.equal(images, torch.from_numpy(rows)[labels])


@pytest.mark.parametrize("colours", [(), (3,)])
def test_fixed_pixels_are_transformed_once_and_kept(colours):
    images = array_of(30, colours=colours)
    transforms = none(16)
    loader = make_loader(images, transforms, batch_size=8, seed=2, train=True, num_workers="auto")
    assert isinstance(loader, TensorLoader)
    assert same(
        drawn(loader.stream(0, 0, 2)), drawn(loader_of(images, transforms, batch_size=8, seed=2).stream(0, 0, 2))
    )
    assert next(iter(loader)).images.is_contiguous(memory_format=torch.channels_last)


def test_random_or_large_or_filed_images_are_made_when_needed(images, monkeypatch):
    settings = {"batch_size": 8, "seed": 2, "num_workers": 0}
    assert isinstance(make_loader(array_of(30), side_on(16), train=True, **settings), ImageLoader)
    assert isinstance(make_loader(array_of(30), side_on(16), train=False, **settings), TensorLoader)
    assert isinstance(make_loader(images, none(16), train=True, **settings), ImageLoader)
    monkeypatch.setattr("expkit.feed.loading.MEMORY", 30 * 16 * 16 * 3 - 1)
    assert isinstance(make_loader(array_of(30), none(16), train=True, **settings), ImageLoader)


def test_auto_takes_no_worker_for_fixed_pixels_and_at_least_one_for_files_beside_a_gpu(images):
    assert auto_workers(array_of(5), none(8), True, gpu=True) == 0
    assert auto_workers(array_of(5), side_on(8), False, gpu=True) == 0
    assert auto_workers(array_of(5), side_on(8), True, gpu=True) >= 1
    assert 1 <= auto_workers(images, none(8), False, gpu=True) <= 8


def test_auto_leaves_two_cores_to_training(images, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    assert auto_workers(images, side_on(8), True) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    assert auto_workers(images, side_on(8), True) == 5


def test_subsets_of_real_photos_stream_through_workers(pets_mini):
    paths = sorted((pets_mini / "images").glob("*.jpg"))[:16]
    names = Packed.from_names(path.name.encode() for path in paths)
    images = ImageFiles(str(pets_mini / "images"), names, np.arange(16), np.arange(16))
    with loader_of(images, side_on(64), batch_size=8, num_workers=2) as loader:
        batches = drawn(loader.stream(0, 0, 1))
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(16))
