"""Predictions for any number of images, as a stream: nothing is kept but the batches that are being read."""

import errno
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from expkit.causes import is_memory
from expkit.data.images.decode import reason_of
from expkit.data.images.pace import cores
from expkit.errors import Unavailable
from expkit.feed.loading import as_channels, auto_workers
from expkit.feed.sending import received, shared
from expkit.feed.workers import Workers, compute_alone
from expkit.threads import Threads
from expkit.trained.classifier import Trained
from expkit.trained.sources import Source

TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class Predicted:
    """What came of a batch of images."""

    names: list[bytes]
    """All of them, in order."""
    read: list[bytes]
    """Those that could be read."""
    probabilities: Tensor
    """The probability of each class for each of `read`: float32, N x classes, on the CPU."""
    unreadable: list[tuple[bytes, str]]
    """The others, each with what is wrong with it."""


def predictions(
    trained: Trained,
    source: Source,
    names: Iterable[bytes],
    *,
    batch_size: int,
    num_workers: int | Literal["auto"] = "auto",
) -> Generator[Predicted]:
    """Classify the images `names` of a source, in order, a batch at a time.

    Files that cannot be read are told, and the rest goes on. Raises Unavailable where the whole source is gone.
    """
    gpu = trained.device.type != "cpu"
    workers: int = auto_workers(source, trained.transforms, False, gpu) if num_workers == "auto" else num_workers
    threads = None if workers else Threads(cores(), begin=compute_alone)
    decoded = Workers(Decoded(source, trained, threads), batches(names, batch_size), workers, torch.cuda.is_available())
    try:
        with closing(decoded):
            for packed in decoded:
                batch, wrong, *tensors = packed
                pixels, _ = received((tensors[0], tensors[1]))
                yield predicted(trained, source, batch, wrong, pixels)
    except MemoryError as error:
        raise Unavailable(
            f"the memory ran out while images were decoded: set a batch_size below {batch_size}, or num_workers=0"
        ) from error
    finally:
        if threads is not None:
            threads.close()


def batches(names: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Names in lists of at most `size`."""
    left = iter(names)
    while batch := list(islice(left, size)):
        yield batch


def predicted(trained: Trained, source: Source, batch: list[bytes], wrong: dict[int, str], pixels: Any) -> Predicted:
    """The predictions for a decoded batch."""
    if len(wrong) == len(batch):
        source.check()  # else all that is left of a source that is gone would pass for unreadable
        chances = torch.empty(0, len(trained.classes))
    else:
        chances = trained.probabilities(as_channels(pixels))
    read = [name for number, name in enumerate(batch) if number not in wrong]
    return Predicted(batch, read, chances, [(batch[number], why) for number, why in wrong.items()])


class Decoded(Dataset[Any]):
    """What a worker does: the pixels of a list of names, and what is wrong with those that cannot be read."""

    def __init__(self, source: Source, trained: Trained, threads: Threads | None) -> None:
        self.source, self.threads = source, threads
        self.transforms, self.reading = trained.transforms, trained.reading

    def __getitems__(self, names: list[bytes]) -> tuple[Any, ...]:
        """The names, {place: what is wrong}, pixels uint8 N x H x W x 3 of the others, and their places."""
        items = list(map(self.item, names) if self.threads is None else self.threads.map(self.item, names))
        wrong = {number: item for number, item in enumerate(items) if isinstance(item, str)}
        pixels = [item for item in items if not isinstance(item, str)]
        stacked = torch.stack(pixels) if pixels else torch.zeros(1, 1, 1, 3, dtype=torch.uint8)
        places = torch.tensor([number for number in range(len(names)) if number not in wrong] or [0])
        tensors = shared(stacked, places) if get_worker_info() else (stacked, places)
        return names, wrong, *tensors

    def item(self, name: bytes) -> Tensor | str:
        """One image, transformed as in validation, or what is wrong with it."""
        try:
            image = self.source.read(name, self.transforms.valid_side, self.reading)
            pixels: Tensor = self.transforms.valid(image)
        except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
            if is_memory(error) or getattr(error, "errno", None) in TOO_MANY_OPEN:
                raise  # no fault of the file
            return reason_of(error)
        return pixels
