import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from expkit import interrupt
from expkit.augment import none, side_on
from expkit.data.arrays import ArrayImages
from expkit.data.files import ImageFiles
from expkit.data.packed import Packed
from expkit.errors import UserError
from expkit.feed.loading import ImageLoader, TensorLoader, auto_workers, make_loader, order
from expkit.feed.sending import explaining
from expkit.randomness import seed_of
from tests.trainer.test_loop import small_trainer

SIZE = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for number in range(22):
        small = Image.fromarray(draw.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        small.resize((30 + number, 40)).save(root / f"{number:02}.jpg")
    return root


@pytest.fixture
def images(folder):
    return files_in(folder)


def files_in(folder):
    names = Packed.from_names(path.name.encode() for path in sorted(folder.iterdir()))
    return ImageFiles(str(folder), names, np.arange(len(names)), np.arange(len(names)) % 3)


def loader_of(images, transforms=None, *, batch_size=4, train=True, num_workers=0, seed=7):
    transforms = transforms or side_on(SIZE)
    return ImageLoader(images, transforms, batch_size=batch_size, seed=seed, train=train, num_workers=num_workers)


def drawn(batches):
    return [(images.clone(), labels.clone()) for images, labels in batches]


def same(left, right):
    assert len(left) == len(right)
    return all(torch.equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


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


def workers_now():
    """The processes that load for this one, which may have children of other kinds."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if child.name() == "pt_data_worker"]


def test_closing_ends_the_workers_in_the_middle_of_a_stream(images):
    loader = loader_of(images, num_workers=2)
    running = loader.stream(0, 0, 1000)
    next(running)
    workers = workers_now()
    assert len(workers) == 2
    loader.close()
    assert not any(worker.is_running() for worker in workers)
    loader.close()


def test_workers_leave_interrupts_to_the_parent(images):
    with loader_of(images, num_workers=2) as loader:
        stream = loader.stream(0, 0, 2)
        found = drawn([next(stream)])
        for worker in workers_now():
            worker.send_signal(signal.SIGINT)
            worker.send_signal(signal.SIGTERM)
        found += drawn(stream)
    assert same(found, drawn(loader_of(images).stream(0, 0, 2)))


@dataclass(frozen=True)
class Logged:
    """Images that note in a file how often one is read, in whichever process."""

    images: ImageFiles
    log: Path

    @property
    def labels(self):
        return self.images.labels

    def __len__(self):
        return len(self.images)

    def name(self, index):
        return self.images.name(index)

    def read(self, index, size=None):
        with self.log.open("a") as log:
            log.write(".")
        return self.images.read(index, size)


def test_workers_run_on_into_the_next_epoch(images, tmp_path):
    """After the last batch of an epoch nobody has asked for another, as while a model is validated."""
    logged = Logged(images, tmp_path / "reads")
    with loader_of(logged, num_workers=1, batch_size=11) as loader:
        stream = loader.stream(0, 0, 1000)
        for _ in range(loader.batches):
            next(stream)
        deadline = time.monotonic() + 20
        while logged.log.stat().st_size < 33 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert logged.log.stat().st_size >= 33


def test_a_killed_worker_is_told_with_how_many_to_try(images):
    with loader_of(images, num_workers=2) as loader:
        stream = loader.stream(0, 0, 1000)
        next(stream)
        workers_now()[0].kill()
        with pytest.raises(UserError, match=r"a data worker died .*memory.*num_workers=1 in place of 2"):
            drawn(stream)


def test_a_death_is_told_once_where_the_connection_breaks_before_the_system_tells(images):
    with loader_of(images, num_workers=2) as loader:
        next(loader.stream(0, 0, 1000))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            workers_now()[0].kill()
            with pytest.raises(UserError, match=r"a data worker died .*killed by signal"), explaining(2):
                raise ConnectionResetError("Connection reset by peer")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)  # where torch hears of it, and would raise


def test_a_lost_connection_is_blamed_on_workers_only_where_there_are_some():
    with pytest.raises(ConnectionError, match="server"), explaining(0):
        raise ConnectionError("a server went away")
    with pytest.raises(UserError, match="a data worker died"), explaining(2):
        raise ConnectionError("Connection reset by peer")


@pytest.mark.parametrize("spare", [8, 30])
def test_batches_come_the_same_where_few_files_may_be_open(images, spare):
    expected = drawn(loader_of(images).stream(0, 0, 2))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    with loader_of(images, num_workers=2) as loader:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 16 + spare, limits[1]))
        try:
            found = drawn(loader.stream(0, 0, 2))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert same(found, expected)


@dataclass(frozen=True)
class Slow:
    """Images on a disk that does not answer."""

    images: ImageFiles

    @property
    def labels(self):
        return self.images.labels

    def __len__(self):
        return len(self.images)

    def read(self, index, size=None):
        time.sleep(30)
        return self.images.read(index, size)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_signal_ends_the_wait_for_a_batch(images, num_workers):
    trainer = small_trainer()
    with loader_of(Slow(images.subset(np.arange(1))), num_workers=num_workers) as loader:
        stream = loader.stream(0, 0, 1)
        with interrupt.listen() as trainer.stop:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
            began = time.monotonic()
            with pytest.raises(interrupt.Stopped):
                trainer.next_of(stream)
        assert time.monotonic() - began < 20


@dataclass(frozen=True)
class Stuck(Slow):
    """Images that lie on a disk which is gone."""

    def read(self, index, size=None):
        while True:
            time.sleep(60)


def test_workers_that_a_read_holds_up_are_not_waited_for(images):
    loader = loader_of(Stuck(images), num_workers=2)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with interrupt.listen() as stop, pytest.raises(interrupt.Stopped), stop.heeded():
        next(loader.stream(0, 0, 1))
    workers, began = workers_now(), time.monotonic()
    assert len(workers) == 2
    loader.close()
    assert not any(worker.is_running() for worker in workers)
    assert time.monotonic() - began < 8  # torch waits for ten seconds for each


KILLED = """
import sys, time
from pathlib import Path
from tests.feed.test_loading import files_in, loader_of, workers_now
stream = loader_of(files_in(Path(sys.argv[1])), num_workers=2).stream(0, 0, 1000)
next(stream)
print(*(worker.pid for worker in workers_now()), flush=True)
time.sleep(60)
"""


def test_no_worker_outlives_a_killed_parent(folder):
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], cwd=root, stdout=subprocess.PIPE, text=True)
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    assert not alive


LEFT_OPEN = """
import sys
from pathlib import Path
from tests.feed.test_loading import files_in, loader_of
loader = loader_of(files_in(Path(sys.argv[1])), num_workers=2)
stream = loader.stream(0, 0, 1000)
next(stream)
sys.held = (loader, stream)  # lives until the interpreter is taken down
"""


def test_a_process_that_leaves_a_loader_open_ends(folder):
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", LEFT_OPEN, str(folder)], cwd=root, check=True, timeout=300)


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


SMALL_SHM = """
import subprocess, sys
import torch
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "/dev/shm"], check=True)
from expkit.augment import none
from expkit.data import folders
from expkit.feed.loading import make_loader
with make_loader(
    folders(root=sys.argv[1]).train, none(64), batch_size=16, seed=0, train=False, num_workers=2
) as loader:
    print(sum(batch.images.long().sum().item() for batch in loader))
with make_loader(
    folders(root=sys.argv[1]).train, none(64), batch_size=16, seed=0, train=False, num_workers=0
) as loader:
    print(sum(batch.images.long().sum().item() for batch in loader))
"""


def test_batches_come_the_same_where_shared_memory_is_small(colour_folders):
    """As in a container: here a mount of the test's own, which needs the right to make one."""
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small /dev/shm")
    command = [*alone, sys.executable, "-c", SMALL_SHM, str(colour_folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with_workers, without = done.stdout.split()[-2:]
    assert with_workers == without
    assert "travel through pipes" in done.stderr
