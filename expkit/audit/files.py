"""What an audit leaves as tables: every image, every finding, and files of corrections that can be edited and used."""

from pathlib import Path
from typing import Any

import pandas as pd

from expkit.audit.findings import KINDS, Audit
from expkit.data.files import ImageFiles
from expkit.data.split import Split

KEEPS = (Split.TEST, Split.VALID, Split.TRAIN)
"""Where a duplicate is kept: held out images stay, so that scores can be compared."""


def write_tables(audit: Audit, folder: Path) -> None:
    """Write findings.parquet and images.parquet."""
    findings_table(audit).to_parquet(folder / "findings.parquet", index=False)
    images_table(audit).to_parquet(folder / "images.parquet", index=False)


def write_corrections(audit: Audit, folder: Path) -> tuple[Path, Path] | None:
    """Write exclude.csv and relabel.csv for `data.exclude` and `data.relabel`; None where images are no files."""
    if not all(isinstance(images, ImageFiles) for images in audit.gallery.parts.values()):
        return None
    exclude, relabel = exclusions(audit), relabellings(audit)
    relabel = relabel[~relabel["file"].isin(exclude["file"])]
    for table, name in ((exclude, "exclude.csv"), (relabel, "relabel.csv")):
        table.to_csv(folder / name, index=False)
    return folder / "exclude.csv", folder / "relabel.csv"


def exclusions(audit: Audit) -> pd.DataFrame:
    """Copies to leave out: of those in several splits all but those in the last; of those in train all but one."""
    gallery, rows = audit.gallery, []
    for members in audit.duplicates.members():
        splits = {Split(gallery.splits[row]) for row in members}
        home = next(split for split in KEEPS if split in splits)
        kept = [row for row in members if gallery.splits[row] == home]
        if home == Split.TRAIN:
            kept = [max(members, key=lambda row: (trust_in(audit, row), -row))]
        for row in members:
            if row not in kept:
                why = f"the same as {gallery.name(kept[0])} in {home.name.lower()}"
                rows.append((gallery.name(row), Split(gallery.splits[row]).name.lower(), gallery.label(row), why))
    return pd.DataFrame(rows, columns=["file", "split", "label", "why"])


def trust_in(audit: Audit, row: int) -> float:
    """How probable the label of an image is."""
    quality = audit.doubts.quality[row] if audit.doubts is not None else 0.0
    return 0.0 if quality != quality else float(quality)


def relabellings(audit: Audit) -> pd.DataFrame:
    """The labels that confident learning is sure to be wrong, with what they should be."""
    gallery, doubts = audit.gallery, audit.doubts
    rows = [
        (gallery.name(one.row), gallery.word(one.suggestion), gallery.label(one.row), round(one.score, 4))
        for one in audit.of_kind("label")
        if doubts is not None and doubts.sure[one.row]
    ]
    return pd.DataFrame(rows, columns=["file", "label", "was", "doubt"])


def findings_table(audit: Audit) -> pd.DataFrame:
    """A row for each finding, the worst first."""
    gallery = audit.gallery
    rows = [
        {
            "kind": one.kind,
            "means": KINDS[one.kind],
            "file": gallery.name(one.row),
            "split": Split(gallery.splits[one.row]).name.lower(),
            "label": gallery.label(one.row),
            "other_file": gallery.name(one.other) if one.other >= 0 else "",
            "other_split": Split(gallery.splits[one.other]).name.lower() if one.other >= 0 else "",
            "other_label": gallery.label(one.other) if one.other >= 0 else "",
            "suggestion": gallery.word(one.suggestion),
            "score": one.score,
            "detail": one.detail,
        }
        for one in audit.findings
    ]
    columns = ["kind", "means", "file", "split", "label", "other_file", "other_split", "other_label", "suggestion"]
    return pd.DataFrame(rows, columns=[*columns, "score", "detail"])


def images_table(audit: Audit) -> pd.DataFrame:
    """A row for each image with all that was measured."""
    gallery, looks, doubts = audit.gallery, audit.looks, audit.doubts
    rows = range(len(gallery))
    table: dict[str, Any] = {
        "file": [gallery.name(row) for row in rows],
        "split": [Split(split).name.lower() for split in gallery.splits.tolist()],
        "label": [gallery.label(row) for row in rows],
        "width": looks.widths,
        "height": looks.heights,
        "mode": looks.modes,
        "orientation": looks.orientations,
        "brightness": looks.brightness,
        "contrast": looks.contrast,
        "sharpness": looks.sharpness,
        "same_as": [
            gallery.name(first) if first != row else "" for row, first in enumerate(audit.duplicates.clusters.tolist())
        ],
    }
    if doubts is not None:
        table |= {
            "label_quality": doubts.quality,
            "suggestion": [gallery.word(label) for label in doubts.suggestions.tolist()],
            "confidence": doubts.confidence,
            "surely_wrong": doubts.sure,
        }
    return pd.DataFrame(table)
