"""Batches: images in memory by plain indexing, image files through worker processes.

The order of epoch e is drawn from (seed, e) and the augmentation of an item from (seed, e, index). So a stream of
batches is the same on any number of workers, and one that starts at a later batch is the tail of the whole.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, get_worker_info

from expkit.augment import Transforms
from expkit.data.images.pace import cores
from expkit.data.items import Images
from expkit.errors import DataError, UserError
from expkit.feed.sending import explaining, received, shared
from expkit.feed.workers import Workers, compute_alone
from expkit.randomness import seed_of
from expkit.threads import Threads

MEMORY = 1 << 30
"""Most bytes of transformed images that are kept in memory."""


class Batch(NamedTuple):
    """What a model is trained on in one step."""

    images: Tensor
    """uint8, N x 3 x H x W in channels_last memory format; or float features, N x D."""
    labels: Tensor
    """int64, N."""


class Loader(Protocol):
    """Where batches come from."""

    batches: int
    """Training batches an epoch."""

    def stream(self, epoch: int, batch: int, epochs: int) -> Iterator[Batch]:
        """Training batches from `batch` of `epoch` to the end of epoch `epochs` - 1, all counted from 0."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Every item once, in order."""
        ...

    def close(self) -> None:
        """End whatever reads ahead."""


Key = tuple[int, int]
"""(epoch, index) of an item."""
Packed = tuple[Tensor | str, Tensor]
"""What a worker gives, or sends as `expkit.feed.sending` has it: pixels N x H x W x 3, or what is wrong; and labels."""


def batches_of(items: int, batch_size: int, train: bool) -> int:
    """How many batches an epoch has; in training a partial last one counts only where it is the only one."""
    return max(items // batch_size, min(items, 1)) if train else -(-items // batch_size)


def order(items: int, seed: int, epoch: int) -> Tensor:
    """The permutation in which training sees the items in `epoch` (from 0)."""
    return torch.randperm(items, generator=torch.Generator().manual_seed(seed_of(seed, "order", epoch)))


class TensorLoader:
    """Batches of tensors in memory (or memory-mapped): float features N x D, or uint8 pixels N x H x W x 3."""

    def __init__(self, images: Tensor, labels: Tensor, *, batch_size: int, seed: int, train: bool) -> None:
        self.images, self.labels = images, labels
        self.batch_size, self.seed = batch_size, seed
        self.batches = batches_of(len(labels), batch_size, train)

    def stream(self, epoch: int, batch: int, epochs: int) -> Iterator[Batch]:
        """Training batches from `batch` of `epoch` to the end of epoch `epochs` - 1, all counted from 0."""
        for now in range(epoch, epochs):
            indices = torch.split(order(len(self.labels), self.seed, now), self.batch_size)
            for chosen in indices[batch if now == epoch else 0 : self.batches]:
                yield Batch(as_channels(self.images.index_select(0, chosen)), self.labels.index_select(0, chosen))

    def __iter__(self) -> Iterator[Batch]:
        """Every item once, in order; the last batch may be short."""
        for start in range(0, len(self.labels), self.batch_size):
            end = start + self.batch_size
            yield Batch(as_channels(self.images[start:end]), self.labels[start:end])

    def close(self) -> None:
        """Nothing to end; here so that both loaders are used alike."""


def as_channels(images: Tensor) -> Tensor:
    """N x H x W x 3 pixels seen as N x 3 x H x W without a copy, which makes them channels_last; features unchanged."""
    return images.permute(0, 3, 1, 2) if images.ndim == 4 else images


class ImageLoader:
    """Batches of images that are read and transformed one by one, in `num_workers` processes or (0) in threads here.

    The workers run on across the ends of epochs, so that training does not wait for them after each validation.
    `close`, or leaving the loader's `with` block, ends them for good.
    """

    def __init__(
        self,
        images: Images,
        transforms: Transforms,
        *,
        batch_size: int,
        seed: int,
        train: bool,
        num_workers: int,
        pin_memory: bool = False,
        view: int | None = None,
    ) -> None:
        """With a `view`, every item comes in order, but as training sees it in that epoch."""
        self.batches = batches_of(len(images), batch_size, train)
        self.plan = Plan(len(images), batch_size, seed, train, view)
        # Without workers, all cores decode while training waits for the batch.
        self.threads = None if num_workers else Threads(cores(), begin=compute_alone)
        shown = Transformed(images, transforms, seed, train or view is not None, self.threads)
        self.made = Workers(shown, self.plan, num_workers, pin_memory)
        self.workers = num_workers

    def stream(self, epoch: int, batch: int, epochs: int) -> Iterator[Batch]:
        """Training batches from `batch` of `epoch` to the end of epoch `epochs` - 1, all counted from 0.

        The first batch of a new stream ends an earlier one. Raises UserError where an image cannot be read.
        """
        return self.run(epoch * self.batches + batch, epochs * self.batches)

    def __iter__(self) -> Iterator[Batch]:
        """Every item once, in order; the last batch may be short. Raises UserError where an image cannot be read."""
        return self.run(0, self.batches)

    def run(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches `start` to `stop` - 1 of all epochs laid end to end."""
        self.plan.start, self.plan.stop = start, stop
        with explaining(self.workers):
            for packed in self.made:
                images, labels = received(packed)
                if isinstance(images, str):
                    raise DataError(images)
                yield Batch(as_channels(images), labels)

    def close(self) -> None:
        """End the workers, in the middle of a stream too; the loader cannot be used again."""
        if self.threads is not None:
            self.threads.close()
        self.made.close()

    def __enter__(self) -> "ImageLoader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Plan(Sampler[list[Key]]):
    """The batch sampler: the items of batches `start` to `stop` - 1 of all epochs laid end to end."""

    def __init__(self, items: int, batch_size: int, seed: int, train: bool, view: int | None = None) -> None:
        self.items, self.batch_size, self.seed, self.train, self.view = items, batch_size, seed, train, view
        self.start = self.stop = 0

    def __iter__(self) -> Iterator[list[Key]]:
        batches = batches_of(self.items, self.batch_size, self.train)
        for position in range(self.start, self.stop):
            epoch, batch = divmod(position, batches)
            if batch == 0 or position == self.start:
                indices = order(self.items, self.seed, epoch) if self.train else torch.arange(self.items)
            first = batch * self.batch_size
            shown = epoch if self.view is None else self.view
            yield [(shown, index) for index in indices[first : first + self.batch_size].tolist()]


class Transformed(Dataset[Packed]):
    """What a worker does: the transformed images and labels of a list of (epoch, index)."""

    def __init__(
        self, images: Images, transforms: Transforms, seed: int, train: bool, threads: Threads | None = None
    ) -> None:
        self.images, self.transforms, self.seed, self.train = images, transforms, seed, train
        self.threads = threads

    def __getitems__(self, keys: list[Key]) -> Packed:
        """uint8 N x H x W x 3 and int64 N; a user's mistake as its message, which a traceback would hide."""
        try:
            items = map(self.item, keys) if self.threads is None else self.threads.map(self.item, keys)
            pixels = torch.stack(list(items))
        except UserError as error:
            return str(error), torch.empty(0)
        labels = torch.from_numpy(self.images.labels[[index for _, index in keys]])
        return shared(pixels, labels) if get_worker_info() else (pixels, labels)

    def item(self, key: Key) -> Tensor:
        """One image, transformed for training or validation."""
        epoch, index = key
        image = self.images.read(index, self.transforms.side(self.train))
        if self.train:
            return self.transforms.train(image, seed_of(self.seed, "augment", epoch, index))
        return self.transforms.valid(image)


def is_fixed(images: object, transforms: Transforms, train: bool) -> bool:
    """Whether pixels lie in memory and each epoch sees them alike."""
    # Not `hasattr`, because `pixels` may be a property that gathers them all.
    return "pixels" in dir(images) and not (train and transforms.random)


def auto_workers(images: object, transforms: Transforms, train: bool, gpu: bool = False) -> int:
    """The meaning of `num_workers: auto`: none for pixels in memory that nothing random is done to, else by cores.

    One worker makes about 300 images of 224 pixels a second, ten times what two cores train on. Where at most two
    cores also train, decoding between the steps is faster than a worker that holds up the training threads at their
    barriers; else one core is left to training. More than eight workers are not worth their memory unless asked for.
    """
    if is_fixed(images, transforms, train):
        return 0
    if cores() <= 2 and not gpu:
        return 0
    return min(8, max(1, cores() - 1))


def make_loader(
    images: Images,
    transforms: Transforms,
    *,
    batch_size: int,
    seed: int,
    train: bool,
    num_workers: int | Literal["auto"] = "auto",
    pin_memory: bool = False,
    view: int | None = None,
) -> TensorLoader | ImageLoader:
    """The loader that suits `images`: all in memory where their pixels are and nothing random is done, else workers.

    With a `view`, every item comes in order, but as training sees it in that epoch.
    Raises UserError where an image cannot be read.
    """
    drawn = train or view is not None
    if is_fixed(images, transforms, drawn) and len(images) * transforms.size**2 * 3 <= MEMORY:
        pixels = torch.empty((len(images), transforms.size, transforms.size, 3), dtype=torch.uint8)
        for index in range(len(images)):
            pixels[index] = transforms.valid(images.read(index, transforms.valid_side))
        return TensorLoader(pixels, torch.tensor(images.labels), batch_size=batch_size, seed=seed, train=train)
    workers = auto_workers(images, transforms, drawn, pin_memory) if num_workers == "auto" else num_workers
    return ImageLoader(
        images,
        transforms,
        batch_size=batch_size,
        seed=seed,
        train=train,
        num_workers=workers,
        pin_memory=pin_memory,
        view=view,
    )
