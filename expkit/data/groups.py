"""Images that belong together (one patient, one burst, one camera), and a cut for valid that keeps them together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from expkit.data.packed import Packed, shown
from expkit.data.split import NothingToCut, Split
from expkit.randomness import seed_of


@dataclass(frozen=True)
class Groups:
    """Which images belong together."""

    column: str
    """What a person calls it: the column of a table."""
    names: Packed
    codes: NDArray[np.int64]
    """One index into `names` an image; an image of no group has one of its own, beyond the names."""

    @classmethod
    def of(cls, column: str, words: Sequence[str]) -> "Groups":
        """Groups by a word an image; an empty word stands for no group."""
        names = sorted(set(words) - {""})
        place = {word: code for code, word in enumerate(names)}
        codes = [place.get(word, len(names) + row) for row, word in enumerate(words)]
        return cls(
            column, Packed.from_names(name.encode("utf-8", "surrogateescape") for name in names), np.array(codes)
        )

    def take(self, kept: NDArray[np.int64]) -> "Groups":
        """The groups of the images at `kept`."""
        return replace(self, codes=self.codes[kept])

    def name(self, code: int) -> str | None:
        """What a group is called, None for that of a single image."""
        return shown(self.names[code]) if code < len(self.names) else None

    def in_both(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The groups that have images among `one` and among `other`."""
        return np.intersect1d(self.codes[one], self.codes[other])


def cut_groups(
    splits: NDArray[np.int8], labels: NDArray[np.int64], groups: Groups, valid_pct: float, seed: int
) -> NDArray[np.int8]:
    """Move whole groups of training images to valid, about `valid_pct` of each class.

    Groups are asked in an order drawn from `seed`; one goes where that brings the classes nearer to their shares (in
    squares), so one that holds more than twice the share of its class stays.
    Raises NothingToCut where no group can go.
    """
    train = np.flatnonzero(splits == Split.TRAIN)
    codes, members = np.unique(groups.codes[train], return_inverse=True)
    bounds, present, counts = labels_in(members, labels[train], len(codes))
    wanted = (np.bincount(labels[train]) * valid_pct).tolist()
    chosen: list[int] = []
    for place in np.random.default_rng(seed_of(seed, "valid groups")).permutation(len(codes)).tolist():
        held = range(bounds[place], bounds[place + 1])
        if sum((wanted[present[at]] - counts[at]) ** 2 - wanted[present[at]] ** 2 for at in held) < 0:
            chosen.append(place)
            for at in held:
                wanted[present[at]] -= counts[at]
    if not chosen:
        raise NothingToCut(
            f"each group of data.group_column={groups.column} holds more than twice data.valid_pct={valid_pct:g} of "
            "its class, so none can be cut for valid: raise data.valid_pct, or name the split with data.split_column"
        )
    splits = splits.copy()
    splits[train[np.isin(members, chosen)]] = Split.VALID
    return splits


def labels_in(
    members: NDArray[np.int64], labels: NDArray[np.int64], groups: int
) -> tuple[list[int], list[int], list[int]]:
    """The labels of each group and how often it has each; those of group g lie from bounds[g] to bounds[g + 1].

    Plain numbers: in a loop over a million groups they are ten times as fast as arrays of one or two.
    """
    classes = int(labels.max(initial=0)) + 1
    pairs, counts = np.unique(members * classes + labels, return_counts=True)
    owners, present = np.divmod(pairs, classes)
    bounds = np.searchsorted(owners, np.arange(groups + 1))
    return bounds.tolist(), present.tolist(), counts.tolist()
