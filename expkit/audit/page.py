"""audit.html: what was found, with thumbnails, in one file that opens offline."""

from contextlib import closing
from pathlib import Path
from typing import Any

from expkit import page
from expkit.audit.findings import KINDS, Audit, Finding
from expkit.audit.summary import counts_of, split_of
from expkit.data.images.pace import cores
from expkit.threads import Threads

SHOWN = {"label": 60, "leak": 40, "conflict": 40}
"""Findings of a kind that are shown with their pictures; of other kinds OTHERS."""
OTHERS = 16
SIDE = 128
"""Pixels of the longer side of a thumbnail."""
QUALITY = 72
CLASSES = 200
"""Rows of the table of classes: those with the fewest images."""


def write_page(audit: Audit, path: Path, *, title: str, facts: list[str], answers: list[str], uses: list[str]) -> None:
    """Write the page; the lists of text come at its top. Raises UserError where a picture cannot be read."""
    with closing(Threads(cores())) as threads:
        sections = [section(audit, kind, threads) for kind in KINDS if audit.of_kind(kind)]
    classes = class_rows(audit)
    values = {"title": title, "facts": facts, "answers": answers, "uses": uses, "sections": sections}
    page.write_page(path, "expkit.audit", classes=classes, **values)


def section(audit: Audit, kind: str, threads: Threads) -> dict[str, Any]:
    """The findings of a kind, the first ones with their pictures."""
    found = audit.of_kind(kind)
    shown = found[: SHOWN.get(kind, OTHERS)]
    return {"kind": kind, "means": KINDS[kind], "count": len(found), "shown": threads.map(card(audit), shown)}


def card(audit: Audit) -> Any:
    """What makes of a finding the values that the page shows."""

    def of(one: Finding) -> dict[str, Any]:
        rows = [one.row] + ([one.other] if one.other >= 0 else [])
        return {
            "images": [image_of(audit, row) for row in rows],
            "label": audit.gallery.label(one.row),
            "suggestion": audit.gallery.word(one.suggestion),
            "detail": one.detail,
        }

    return of


def image_of(audit: Audit, row: int) -> dict[str, Any]:
    """A picture with what a person calls it."""
    gallery = audit.gallery
    picture = gallery.read(row, SIDE)
    small = page.is_small(picture)
    picture.thumbnail((SIDE, SIDE))
    return {
        "src": page.of_picture(picture, QUALITY),
        "small": small,
        "name": gallery.name(row),
        "split": split_of(audit, row),
        "label": gallery.label(row),
    }


def class_rows(audit: Audit) -> dict[str, Any]:
    """How many images each class has, by part; the fewest in train first."""
    counts, doubted = counts_of(audit), [one.row for one in audit.of_kind("label")]
    suspects = [int(audit.gallery.labels[row]) for row in doubted]
    order = sorted(range(len(audit.gallery.classes)), key=lambda label: (counts["train"][label], label))
    rows = [
        [audit.gallery.classes[label], *(int(found[label]) for found in counts.values()), suspects.count(label)]
        for label in order[:CLASSES]
    ]
    return {"parts": list(counts), "rows": rows, "left": max(0, len(order) - CLASSES)}
