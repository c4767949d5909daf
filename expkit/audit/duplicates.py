"""Images that are the same: byte for byte, or but for size, compression, a mirror, or a crop of a few percent."""

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expkit.audit.gallery import Gallery
from expkit.audit.likeness import SIDE, likeness, reduced
from expkit.audit.looks import Looks
from expkit.data.files import ImageFiles
from expkit.data.images.pace import cores
from expkit.features.contents import hashes_of
from expkit.threads import Threads

SIMILAR = 0.5
"""Cosine similarity of features from which the pixels of two images are compared."""
SAME = 0.9
"""Likeness of their pixels from which they are called duplicates."""


@dataclass(frozen=True)
class Pair:
    """Two images that are the same."""

    one: int
    other: int
    """Rows, `one` before `other`."""
    likeness: float
    """1 for copies byte for byte, else the correlation of their pixels."""
    is_exact: bool


@dataclass(frozen=True)
class Duplicates:
    """All pairs, and which images belong together by them."""

    pairs: tuple[Pair, ...]
    clusters: NDArray[np.int64]
    """The first row of those that each image is the same as; its own for one that has no duplicate."""

    def members(self) -> list[list[int]]:
        """The rows of each cluster that has several."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for row, first in enumerate(self.clusters.tolist()):
            found[first].append(row)
        return [rows for rows in found.values() if len(rows) > 1]


def duplicates_of(
    gallery: Gallery, looks: Looks, similarities: NDArray[np.float32], neighbours: NDArray[np.int64]
) -> Duplicates:
    """Find the images that are the same: by their bytes, and among `neighbours` by their pixels.

    Raises UserError where an image cannot be read.
    """
    exact = exact_pairs(contents_of_each(gallery, looks))
    known = {(pair.one, pair.other) for pair in exact}
    twins = {pair.other for pair in exact}  # the first of them stands for all
    near, at = np.nonzero(similarities >= SIMILAR)
    wanted = {(min(row, other), max(row, other)) for row, other in zip(near, neighbours[near, at], strict=True)}
    wanted = {pair for pair in wanted - known if not twins.intersection(pair)}
    pairs = sorted([*exact, *near_pairs(gallery, sorted(wanted))], key=lambda pair: (pair.one, pair.other))
    return Duplicates(tuple(pairs), clustered(len(gallery), pairs))


def contents_of_each(gallery: Gallery, looks: Looks) -> list[bytes]:
    """What stands for all that each image holds."""
    found: list[bytes] = []
    for split, images in gallery.parts.items():
        if isinstance(images, ImageFiles):
            found += [row.tobytes() for row in hashes_of(images)]
        else:
            start = gallery.starts[split]
            found += [text.encode() for text in looks.pixels[start : start + len(images)].tolist()]
    return found


def exact_pairs(contents: list[bytes]) -> list[Pair]:
    """Each image with the first that holds the same."""
    first: dict[bytes, int] = {}
    return [
        Pair(first[content], row, 1.0, True)
        for row, content in enumerate(contents)
        if first.setdefault(content, row) != row
    ]


def near_pairs(gallery: Gallery, wanted: list[tuple[int, int]]) -> list[Pair]:
    """Those of some pairs whose pixels are the same."""
    rows = sorted({int(row) for pair in wanted for row in pair})
    with closing(Threads(cores())) as threads:
        small = dict(zip(rows, threads.map(lambda row: reduced(gallery.read(row, SIDE)), rows), strict=True))
        found = threads.map(lambda pair: likeness(small[pair[0]], small[pair[1]]), wanted)
    return [
        Pair(int(one), int(other), alike, False)
        for (one, other), alike in zip(wanted, found, strict=True)
        if alike >= SAME
    ]


def clustered(count: int, pairs: list[Pair]) -> NDArray[np.int64]:
    """The first row of the images that each belongs with, also by way of others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = ([pair.one for pair in pairs], [pair.other for pair in pairs])
    graph = coo_array((np.ones(len(pairs)), edges), (count, count))
    _, component = connected_components(graph, directed=False)
    first: NDArray[np.int64] = np.unique(component, return_index=True)[1][component]
    return first
