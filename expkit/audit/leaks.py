"""How much of what is held out was seen in training, and what the accuracy is without that."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expkit.audit.findings import Audit
from expkit.audit.labels import classifier
from expkit.data.items import UNLABELLED
from expkit.data.split import Split


@dataclass(frozen=True)
class Leak:
    """What of a part that is held out lies in train as well."""

    part: str
    images: int
    seen: NDArray[np.int64]
    """The rows of those that are in train too, or of a group that is."""

    @property
    def share(self) -> float:
        """The share that is seen in training."""
        return len(self.seen) / max(1, self.images)


@dataclass(frozen=True)
class Accuracy:
    """An accuracy with all images, and without those that were seen in training."""

    of: str
    part: str
    whole: float
    without: float


def leaks_of(audit: Audit) -> list[Leak]:
    """What of valid and test is seen in training, by duplicates or by groups."""
    gallery, clusters = audit.gallery, audit.duplicates.clusters
    train = gallery.splits == Split.TRAIN
    seen = np.isin(clusters, clusters[train])
    if gallery.groups is not None:
        seen |= np.isin(gallery.groups.codes, gallery.groups.codes[train])
    held_out = [split for split in gallery.parts if split != Split.TRAIN]
    return [
        Leak(split.name.lower(), int((gallery.splits == split).sum()), np.flatnonzero(seen & (gallery.splits == split)))
        for split in held_out
    ]


def accuracies_of(audit: Audit, leaks: list[Leak], space: NDArray[np.float32], run: Path | None) -> list[Accuracy]:
    """Accuracies with and without what was seen: of a simple classifier, and of the run whose predictions are at `run`.

    None where nothing was seen.
    """
    gallery = audit.gallery
    rows = np.flatnonzero((gallery.splits == Split.TRAIN) & (gallery.labels != UNLABELLED))
    leaking = [leak for leak in leaks if len(leak.seen)]
    if not leaking or len(np.unique(gallery.labels[rows])) < 2:
        return []
    model, found = classifier(space[rows], gallery.labels[rows]), []
    for leak in leaking:
        part = np.flatnonzero((gallery.splits == Split[leak.part.upper()]) & (gallery.labels != UNLABELLED))
        right = model.predict(space[part]) == gallery.labels[part] if len(part) else np.zeros(0, bool)
        found.append(accuracy("logistic regression on the features", leak, part, right))
        if leak.part == "valid" and run is not None and run.exists():
            found.append(accuracy("the run", leak, part, right_of_run(audit, part, run)))
    return found


def right_of_run(audit: Audit, rows: NDArray[np.int64], run: Path) -> NDArray[np.bool_]:
    """Whether a run's prediction was right, for images by their names."""
    import pyarrow.parquet as pq

    table = pq.read_table(run, columns=["file", "prediction"])
    said = dict(zip(table["file"].to_pylist(), table["prediction"].to_pylist(), strict=True))
    return np.array([said.get(audit.gallery.name(row)) == audit.gallery.label(row) for row in rows.tolist()], bool)


def accuracy(of: str, leak: Leak, rows: NDArray[np.int64], right: NDArray[np.bool_]) -> Accuracy:
    """The shares that are right of all rows, and of those that were not seen."""
    unseen = ~np.isin(rows, leak.seen)
    whole, without = (float(part.mean()) if len(part) else float("nan") for part in (right, right[unseen]))
    return Accuracy(of, leak.part, whole, without)
