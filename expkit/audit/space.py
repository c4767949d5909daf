"""Features brought to a few hundred numbers an image, and of each image the nearest others.

No N x N matrix is made: similarities are computed block by block, and of each row the nearest few are kept. That takes
N^2 times DIMENSIONS multiplications, and N times DIMENSIONS float32 of memory: 1 GB for 10^6 images.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.features.rows import Features

DIMENSIONS = 256
SAMPLE = 10_000
"""Rows, evenly spread, that the axes are found on."""
BLOCK = 8192
"""Rows that are read, or compared, at a time."""
NEAREST = 10
"""Neighbours of an image that are looked at."""


def space_of(features: Sequence[Features]) -> NDArray[np.float32]:
    """All rows of some features in the order given, standardized and along their principal axes, of unit length."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    total = sum(map(len, features))
    sample = sampled(features, total)
    dimensions = min(DIMENSIONS, *sample.shape)
    axes = make_pipeline(StandardScaler(), PCA(dimensions, svd_solver="randomized", random_state=0)).fit(sample)
    space = np.empty((total, dimensions), np.float32)
    start = 0
    for block in blocks(features):
        space[start : start + len(block)] = axes.transform(block)
        start += len(block)
    space /= np.maximum(np.linalg.norm(space, axis=1, keepdims=True), 1e-12)
    return space


def sampled(features: Sequence[Features], total: int) -> NDArray[np.float32]:
    """Rows evenly spread over all of them."""
    step = max(1, -(-total // SAMPLE))
    rows = [one.take(torch.arange(0, len(one), step)).numpy() for one in features if len(one)]
    return np.concatenate(rows)


def blocks(features: Sequence[Features]) -> Iterator[NDArray[np.float32]]:
    """All rows, some at a time."""
    for one in features:
        for start in range(0, len(one), BLOCK):
            yield one.slice(start, min(start + BLOCK, len(one))).numpy()


def nearest(
    space: NDArray[np.float32], device: torch.device, count: int = NEAREST
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Of each row the `count` others that are nearest, nearest first: cosine similarities and rows, both N x count.

    Fewer where there are not so many others.
    """
    rows = torch.from_numpy(space)
    count = min(count, len(rows) - 1)
    similarities, neighbours = np.empty((len(rows), count), np.float32), np.empty((len(rows), count), np.int64)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK].to(device)
        best = nearest_of(block, start, rows, count, device)
        similarities[start : start + BLOCK], neighbours[start : start + BLOCK] = (one.cpu().numpy() for one in best)
    return similarities, neighbours


def nearest_of(block: Tensor, start: int, rows: Tensor, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The nearest of all rows to those of a block that begins at row `start`."""
    values = torch.full((len(block), count), -2.0, device=device)
    places = torch.zeros((len(block), count), dtype=torch.int64, device=device)
    for other in range(0, len(rows), BLOCK):
        found = block @ rows[other : other + BLOCK].to(device).T
        if other == start:
            found.fill_diagonal_(-2.0)
        top = found.topk(min(count, found.shape[1]), dim=1)
        values, order = torch.cat([values, top.values], dim=1).topk(count, dim=1)
        places = torch.cat([places, top.indices + other], dim=1).gather(1, order)
    return values, places
