"""Images to features: decoded and computed piece by piece, in order.

On a CPU each core decodes and computes pieces of its own, with one thread: nothing waits at the barriers of a parallel
convolution, and the result does not depend on the number of cores. A GPU is fed by the worker processes of a loader.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from expkit.augment import Transforms
from expkit.data.images.pace import cores
from expkit.data.items import Images
from expkit.errors import DataError
from expkit.features.contents import Contents
from expkit.features.folding import fold
from expkit.feed.loading import ImageLoader, Transformed, as_channels, auto_workers
from expkit.feed.workers import compute_alone
from expkit.model.classifier import Classifier
from expkit.model.layout import to_channels_last
from expkit.threads import Threads, result_of

CPU_PIXELS = 8 * 224**2
"""Pixels that a core computes at a time: more fall out of its cache (measured on resnet18 and efficientnet_lite0)."""
GPU_PIXELS = 128 * 224**2
"""Pixels that a GPU computes at a time."""


@dataclass(frozen=True)
class Source:
    """Images as one view shows them, and what they hold."""

    images: Images
    transforms: Transforms
    view: int | None
    seed: int
    contents: Contents


class Body:
    """A frozen body ready to compute: a copy in eval mode with batch norms folded, in the precision asked for."""

    def __init__(self, model: Classifier, device: torch.device, autocast: torch.dtype | None) -> None:
        self.device, self.autocast = device, autocast
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        fold(self.model.body)
        self.model.to(device)
        to_channels_last(self.model)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the features that are kept."""
        return self.autocast or torch.float32

    def features(self, images: Tensor) -> Tensor:
        """Vectors N x D of images uint8 N x 3 x H x W, on the CPU."""
        with torch.inference_mode(), torch.autocast(self.device.type, self.autocast, enabled=bool(self.autocast)):
            return self.model.features(images.to(self.device, non_blocking=True)).to("cpu", self.dtype)

    def width(self, size: int) -> int:
        """The length D of a vector, found by a blank image."""
        return self.features(torch.zeros(1, 3, size, size, dtype=torch.uint8)).shape[1]


def extract(body: Body, source: Source, num_workers: int | Literal["auto"]) -> Iterator[Tensor]:
    """The features of all images in their order: N x D on the CPU, in the precision that they were computed in.

    Raises UserError where an image cannot be read.
    """
    gpu = body.device.type != "cpu"
    workers = auto_workers(source.images, source.transforms, False, gpu) if num_workers == "auto" else num_workers
    count = 1 if gpu else min(cores(), torch.get_num_threads())
    size = piece_of(source.transforms.size, GPU_PIXELS if gpu else CPU_PIXELS)
    with ExitStack() as stack:
        threads = stack.enter_context(closing(Threads(count, begin=None if gpu else compute_alone)))
        # Threads decode as well as processes do where the images' own code lets go of Python's lock.
        decoded = in_workers(source, size, workers, stack) if gpu or workers else in_threads(source, size)
        running: deque[Future[Tensor]] = deque()
        for pixels in decoded:
            running.append(threads.submit(compute, body, pixels))
            if len(running) > count:
                yield result_of(running.popleft())
        while running:
            yield result_of(running.popleft())


def piece_of(side: int, pixels: int) -> int:
    """How many images of `side` pixels a side make a piece; not so many small ones that their number is the load."""
    return min(256, max(1, pixels // side**2))


def compute(body: Body, pixels: Callable[[], Tensor]) -> Tensor:
    """Decode and compute one piece."""
    return body.features(pixels())


def in_threads(source: Source, size: int) -> Iterator[Callable[[], Tensor]]:
    """Pieces that whoever computes them decodes."""
    shown = Transformed(source.images, source.transforms, source.seed, source.view is not None)

    def decode(start: int) -> Tensor:
        stop = min(start + size, len(source.images))
        pixels, _ = shown.__getitems__([(source.view or 0, index) for index in range(start, stop)])
        if isinstance(pixels, str):
            raise DataError(pixels)
        return as_channels(pixels)

    for start in range(0, len(source.images), size):
        yield partial(decode, start)


def in_workers(source: Source, size: int, workers: int, stack: ExitStack) -> Iterator[Callable[[], Tensor]]:
    """Pieces that processes have decoded; `stack` ends these."""
    loader = stack.enter_context(
        ImageLoader(
            source.images,
            source.transforms,
            batch_size=size,
            seed=source.seed,
            train=False,
            view=source.view,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
        )
    )
    for batch in loader:
        yield partial(given, batch.images)


def given(images: Tensor) -> Tensor:
    """Pixels that are decoded already."""
    return images
