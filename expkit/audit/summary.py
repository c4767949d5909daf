"""What an audit says on the screen: what there is, and what of it is probably wrong, the worst first."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from expkit.audit.findings import KINDS, Audit
from expkit.audit.leaks import Accuracy, Leak
from expkit.data.items import UNLABELLED
from expkit.data.split import Split
from expkit.words import many

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = 2
"""Files that are named of each kind."""


def facts_of(audit: Audit) -> list[str]:
    """What there is, a line each: classes, sizes, modes."""
    looks, counts = audit.looks, counts_of(audit)
    train = counts["train"]
    fewest, most = int(np.argmin(train)), int(np.argmax(train))
    lacking = {part: int((found == 0).sum()) for part, found in counts.items() if found.any()}
    short = np.minimum(looks.widths, looks.heights)
    modes = ", ".join(f"{mode} {count}" for mode, count in Counter(looks.modes.tolist()).most_common(5))
    classes = audit.gallery.classes
    return [
        f"{many(len(classes), 'class', 'classes')}; in train {train[fewest]} ({classes[fewest]}) to {train[most]} "
        f"({classes[most]}) images each",
        *(f"{many(count, 'class has', 'classes have')} no image in {part}" for part, count in lacking.items() if count),
        f"shorter side {short.min()} to {short.max()} pixels (median {np.median(short):.0f}); {modes}",
    ]


def counts_of(audit: Audit) -> dict[str, "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    """How many labelled images each class has, by part."""
    gallery = audit.gallery
    return {
        split.name.lower(): np.bincount(
            gallery.labels[(gallery.splits == split) & (gallery.labels != UNLABELLED)], minlength=len(gallery.classes)
        )
        for split in gallery.parts
    }


def sentences_of(audit: Audit, leaks: list[Leak], accuracies: list[Accuracy]) -> list[str]:
    """How much of what is held out was seen in training, the accuracies without, and how many labels are wrong."""
    doubts = audit.doubts
    surely = [] if doubts is None else [f"{many(int(doubts.sure.sum()), 'label is', 'labels are')} probably wrong"]
    return [
        *(
            f"{leak.part}: {len(leak.seen)} of {leak.images} images ({leak.share:.1%}) are in train as well"
            if len(leak.seen)
            else f"{leak.part}: none of its {leak.images} images is in train as well"
            for leak in leaks
        ),
        *(f"{one.part} accuracy of {one.of}: {one.whole:.4f}, without those {one.without:.4f}" for one in accuracies),
        *surely,
    ]


def table_of(audit: Audit) -> "Table":
    """A row for each kind of finding that there is."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("found", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("worst", overflow="fold")
    for kind, means in KINDS.items():
        if found := audit.of_kind(kind):
            names = [name_of(audit, one.row, one.other) for one in found[:EXAMPLES]]
            table.add_row(str(len(found)), means, "\n".join(names))
    return table


def name_of(audit: Audit, row: int, other: int) -> str:
    """A finding's image, and the other that it is about."""
    gallery = audit.gallery
    return gallery.name(row) + (f" = {gallery.name(other)}" if other >= 0 else "")


def split_of(audit: Audit, row: int) -> str:
    """The part that an image lies in."""
    return Split(audit.gallery.splits[row]).name.lower()
