"""What an audit finds, in the order in which it matters."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expkit.audit.duplicates import Duplicates
from expkit.audit.gallery import Gallery
from expkit.audit.labels import LabelDoubts
from expkit.audit.looks import Looks
from expkit.audit.oddities import oddities
from expkit.data.split import Split

KINDS = {
    "leak": "also in train: scores on these images are too good",
    "conflict": "the same image with different labels",
    "group": "of a group that trains as well",
    "label": "labels in doubt: a classifier of the other images sees another class",
    "duplicate": "the same image several times in one split",
    "outlier": "unlike all other images",
    "blurred": "blurred beside the others",
    "dark": "nearly black",
    "bright": "nearly white",
    "flat": "hardly any contrast",
    "small": "much smaller than most",
    "long": "much longer than wide, or wider than high",
    "mode": "of another kind of pixels than most",
    "rotated": "turned upright by their EXIF orientation",
}
"""What there is to find, the worst first, in words."""


@dataclass(frozen=True)
class Finding:
    """One thing that is probably wrong."""

    kind: str
    row: int
    other: int
    """The row of the image that it is about as well; -1 for none."""
    score: float
    """Among those of a kind, more is worse."""
    suggestion: int
    """The class that the label should be; -1 for none."""
    detail: str


@dataclass(frozen=True)
class Audit:
    """All that was found of a data set."""

    gallery: Gallery
    looks: Looks
    duplicates: Duplicates
    doubts: LabelDoubts | None
    """None where labels were not looked at."""
    findings: tuple[Finding, ...]

    def of_kind(self, kind: str) -> list[Finding]:
        """The findings of a kind, the worst first."""
        return [one for one in self.findings if one.kind == kind]


def audit_of(
    gallery: Gallery,
    looks: Looks,
    duplicates: Duplicates,
    doubts: LabelDoubts | None,
    neighbours: tuple[NDArray[np.float32], NDArray[np.int64]],
    size: int,
) -> Audit:
    """Put together what was found; `size` is the pixels that the model sees."""
    found = [*of_duplicates(gallery, duplicates), *of_groups(gallery)]
    if doubts is not None:
        found += of_labels(gallery, doubts)
    others = without_duplicates(*neighbours, duplicates.clusters)
    found += [
        Finding(kind, row, -1, float(score), -1, text) for kind, row, score, text in oddities(looks, others, size)
    ]
    place = {kind: number for number, kind in enumerate(KINDS)}
    found.sort(key=lambda one: (place[one.kind], -one.score, one.row))
    return Audit(gallery, looks, duplicates, doubts, tuple(found))


def of_duplicates(gallery: Gallery, duplicates: Duplicates) -> Iterator[Finding]:
    """Duplicates over a border between splits, with other labels, and within a split: each pair once."""
    splits, labels = gallery.splits, gallery.labels
    for pair in duplicates.pairs:
        text = "the same file" if pair.is_exact else f"the same pixels (correlation {pair.likeness:.2f})"
        if splits[pair.one] != splits[pair.other]:
            # The rows of train come first, so that `other` is the one held out.
            yield Finding("leak", pair.other, pair.one, pair.likeness, -1, text)
        if min(labels[pair.one], labels[pair.other]) >= 0 and labels[pair.one] != labels[pair.other]:
            yield Finding("conflict", pair.other, pair.one, pair.likeness, -1, text)
        elif splits[pair.one] == splits[pair.other]:
            yield Finding("duplicate", pair.other, pair.one, pair.likeness, -1, text)


def of_groups(gallery: Gallery) -> Iterator[Finding]:
    """Held out images of groups that train as well."""
    groups = gallery.groups
    if groups is None:
        return
    train = gallery.splits == Split.TRAIN
    shared = groups.in_both(train, ~train)
    counts = dict(zip(*np.unique(groups.codes[train], return_counts=True), strict=True))
    for row in np.flatnonzero(~train & np.isin(groups.codes, shared)).tolist():
        code = int(groups.codes[row])
        first = int(np.flatnonzero(train & (groups.codes == code))[0])
        detail = f"{groups.column} {groups.name(code)}: {counts[code]} in train"
        yield Finding("group", row, first, float(counts[code]), -1, detail)


def of_labels(gallery: Gallery, doubts: LabelDoubts) -> Iterator[Finding]:
    """Labels that a classifier of the other images does not believe."""
    for row in doubts.suspects().tolist():
        suggestion = int(doubts.suggestions[row])
        sure = "" if doubts.sure[row] else ", not sure"
        detail = (
            f"{gallery.word(suggestion)} {doubts.confidence[row]:.0%}, {gallery.label(row)} {doubts.quality[row]:.0%}"
        )
        yield Finding("label", row, -1, 1 - float(doubts.quality[row]), suggestion, detail + sure)


def without_duplicates(
    similarities: NDArray[np.float32], neighbours: NDArray[np.int64], clusters: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The similarities to neighbours that are no duplicates, nan in place of others."""
    if not similarities.size:
        return similarities
    same = clusters[neighbours] == clusters[:, None]
    # An image all of whose neighbours are its duplicates is near to them.
    same[same.all(axis=1)] = False
    return np.where(same, np.float32(np.nan), similarities)
