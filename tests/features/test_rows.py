from pathlib import Path

import numpy as np
import pytest
import torch

from expkit.features import FeatureLoader, Features
from expkit.features.entries import Entries
from expkit.features.rows import ROWS, RowWriter
from expkit.feed.loading import TensorLoader


def features_of(folder, values, precision="fp32", key="a"):
    """An entry of these rows."""

    def fill(place):
        with RowWriter(place / ROWS, *values.shape, precision) as writer:
            for piece in values.split(7):
                writer.write(piece)
        return {"rows": len(values), "width": values.shape[1], "precision": precision}

    return Features(Entries(folder).get(key, fill, what="rows"))


@pytest.fixture(params=[1 << 26, 0], ids=["small", "large"])
def resident(request, monkeypatch):
    """Small files are mapped, large ones are not; here a limit makes every file the one or the other."""
    monkeypatch.setattr("expkit.features.rows.RESIDENT", request.param)


@pytest.mark.usefixtures("resident")
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_rows_are_read_as_they_were_written(tmp_path, precision, dtype):
    values = torch.randn(50, 6).to(dtype)
    features = features_of(tmp_path, values, precision)
    assert (len(features), features.width, features.dtype) == (50, 6, dtype)
    chosen = torch.tensor([3, 49, 3, 0])
    assert features.take(chosen).dtype == torch.float32
    assert torch.equal(features.take(chosen), values[chosen].float())
    assert torch.equal(features.slice(10, 20), values[10:20].float())
    assert torch.equal(features.slice(45, 60), values[45:].float())
    assert len(features.take(torch.tensor([], dtype=torch.int64))) == 0
    with pytest.raises(IndexError, match="50"):
        features.take(torch.tensor([0, 50]))


@pytest.mark.usefixtures("resident")
def test_what_was_read_is_the_callers_own(tmp_path):
    features = features_of(tmp_path, torch.ones(4, 3))
    features.slice(0, 2).zero_()
    features.take(torch.tensor([1])).zero_()
    assert torch.equal(features.slice(0, 4), torch.ones(4, 3))


def resident_file_pages():
    """Bytes of mapped files in this process's memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) * 1024


def test_memory_does_not_grow_with_the_rows_read(tmp_path):
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not say how much of a file is in memory")
    features = features_of(tmp_path, torch.zeros(40_000, 512))  # 82 MB
    before = resident_file_pages()
    for indices in torch.randperm(40_000).split(64):
        features.take(indices)
    for start in range(0, 40_000, 64):
        features.slice(start, start + 64)
    assert resident_file_pages() - before < 4 << 20


@pytest.fixture
def views(tmp_path):
    return [torch.randn(50, 6), torch.randn(50, 6)]


@pytest.fixture
def loader(tmp_path, views):
    stored = [features_of(tmp_path, values, key=f"view{number}") for number, values in enumerate(views)]
    return FeatureLoader(stored, torch.arange(50), batch_size=8, seed=3, train=True)


def test_epoch_e_reads_view_e_mod_k_in_the_order_of_other_loaders(loader, views):
    in_memory = [TensorLoader(view, torch.arange(50), batch_size=8, seed=3, train=True) for view in views]
    assert loader.batches == in_memory[0].batches == 6
    found = list(loader.stream(0, 0, 5))
    assert len(found) == 30
    for epoch in range(5):
        expected = in_memory[epoch % 2].stream(epoch, 0, epoch + 1)
        for batch, other in zip(found[6 * epoch : 6 * epoch + 6], expected, strict=True):
            assert torch.equal(batch.images, other.images)
            assert torch.equal(batch.labels, other.labels)


def test_a_stream_from_anywhere_is_the_tail_of_the_whole(loader):
    whole, tail = list(loader.stream(0, 0, 3)), list(loader.stream(1, 4, 3))
    assert len(tail) == 8
    for batch, other in zip(whole[10:], tail, strict=True):
        assert torch.equal(batch.images, other.images)
        assert torch.equal(batch.labels, other.labels)


@pytest.mark.parametrize(("batch_size", "sizes"), [(8, [1024, 1024, 52]), (1500, [1500, 600])])
def test_each_look_at_all_items_is_in_order(tmp_path, batch_size, sizes):
    values, labels = torch.randn(2100, 3), torch.arange(2100)
    loader = FeatureLoader([features_of(tmp_path, values)], labels, batch_size=batch_size, seed=0, train=False)
    for _ in range(2):
        batches = list(loader)
        assert [len(batch.labels) for batch in batches] == sizes
        assert torch.equal(torch.cat([batch.images for batch in batches]), values)
        assert torch.equal(torch.cat([batch.labels for batch in batches]), labels)
        loader.close()


def test_labels_need_not_be_writable(tmp_path):
    labels = np.arange(20)
    features = features_of(tmp_path, torch.randn(20, 2))
    loader = FeatureLoader([features], torch.from_numpy(labels), batch_size=5, seed=0, train=False)
    assert sum(len(batch.labels) for batch in loader) == 20
