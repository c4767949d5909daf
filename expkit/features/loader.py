"""Batches of features, under the interface of the loaders in `expkit.feed.loading`."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from expkit.features.cache import FeatureCache
from expkit.features.identity import Frozen
from expkit.features.rows import Features
from expkit.feed.loading import Batch, batches_of, order
from expkit.feed.phases import Asked, OpenFeatures

MEASURED = 1024
"""Rows that a model measures at once, where it need not remember them: small batches would take longer to begin."""


class FeatureLoader:
    """Batches of features N x D of the same images under one or more views: epoch e reads view e mod K."""

    def __init__(self, views: Sequence[Features], labels: Tensor, *, batch_size: int, seed: int, train: bool) -> None:
        self.views, self.labels = views, labels
        self.batch_size, self.seed = batch_size, seed
        self.batches = batches_of(len(labels), batch_size, train)

    def stream(self, epoch: int, batch: int, epochs: int) -> Iterator[Batch]:
        """Training batches from `batch` of `epoch` to the end of epoch `epochs` - 1, all counted from 0."""
        for now in range(epoch, epochs):
            view = self.views[now % len(self.views)]
            indices = torch.split(order(len(self.labels), self.seed, now), self.batch_size)
            for chosen in indices[batch if now == epoch else 0 : self.batches]:
                yield Batch(view.take(chosen), self.labels.index_select(0, chosen))

    def __iter__(self) -> Iterator[Batch]:
        """Every item once, in order, under the first view, in batches of their own size; the last may be short."""
        size = max(self.batch_size, MEASURED)
        for start in range(0, len(self.labels), size):
            end = min(start + size, len(self.labels))
            yield Batch(self.views[0].slice(start, end), self.labels[start:end])

    def close(self) -> None:
        """Nothing to end; here so that all loaders are used alike."""


def opener(cache: FeatureCache, frozen: Frozen, num_workers: int | Literal["auto"]) -> OpenFeatures:
    """What gives batches of the features of a frozen body; those that the cache lacks are computed as it is asked."""

    def open_features(asked: Asked) -> FeatureLoader:
        part = "train" if asked.train else "valid"
        rows = cache.views(
            frozen, asked.images, asked.transforms, asked.views, seed=asked.seed, num_workers=num_workers, part=part
        )
        labels = torch.from_numpy(asked.images.labels)
        return FeatureLoader(rows, labels, batch_size=asked.batch_size, seed=asked.seed, train=asked.train)

    return open_features
