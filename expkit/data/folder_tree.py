"""Images in folders: a folder for each class, or labels in the file names."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expkit.check import Fraction, NotNegativeInt, checked, nearest
from expkit.data.file_names import LabelPattern
from expkit.data.files import FileList, OnBadImage, checked_data
from expkit.data.items import UNLABELLED, Data
from expkit.data.listing import Found, check_folder, scan, subfolders
from expkit.data.packed import Packed, shown
from expkit.data.split import Split
from expkit.errors import UserError, first_ten

log = logging.getLogger("expkit.data")

VALID_NAMES = (b"valid", b"val")


@dataclass(frozen=True)
class Labelled:
    """The images of one split with the words that label them."""

    names: Packed
    words: list[str]
    codes: NDArray[np.int64]
    """Index into `words` for each name, UNLABELLED for an image that lies in no class folder or fits no pattern."""


@checked
def folders(
    *,
    root: str,
    valid_pct: Fraction = 0.2,
    seed: NotNegativeInt = 0,
    label_pattern: str | None = None,
    class_names: Mapping[str, str] | None = None,
    on_bad_image: OnBadImage = "error",
) -> Data:
    """Read a tree of image files: `train/<class>/...` and `valid|val/<class>/...`, or one tree `<class>/...`.

    Images may lie in folders below their class. `test/`, if there, is labelled where its folders are classes, and
    unlabelled where none is. Hidden files and files that are no images by suffix are ignored.

    Args:
        root: the folder.
        valid_pct: share of each class cut from the training images for valid, where there is no valid folder.
        seed: seed of that cut; it belongs to the data, so that runs with other seeds validate on the same images.
        label_pattern: take labels from file names instead of folders: a regular expression whose group `label` is
            the class, or whose named groups are the classes (see `LabelPattern`).
        class_names: readable names for classes, by the name of the folder or the text of the label.
        on_bad_image: `skip` leaves out and reports unreadable training images; `error` stops at any.

    Raises UserError for a missing or empty folder, a class with no image, a class that only valid has, and images
    that cannot be read: one message with the first ten names and their number.
    """
    check_folder(root)
    pattern = None if label_pattern is None else LabelPattern(label_pattern)
    parts = {split: read_part(root, split, folder, pattern) for split, folder in find_splits(root).items()}
    classes = sorted(parts[Split.TRAIN].words)
    files = FileList(
        root=root,
        names=Packed.from_text(b"".join(part.names.text for part in parts.values())),
        labels=np.concatenate([numbered(part, classes, split) for split, part in parts.items()]),
        splits=np.concatenate([np.full(len(part.names), split, np.int8) for split, part in parts.items()]),
        classes=readable(classes, class_names or {}),
        source=root,
    )
    return checked_data(files, on_bad_image, valid_pct, seed)


def find_splits(root: str) -> dict[Split, bytes]:
    """The folder of each split, relative to the root; the root itself trains where there is no folder `train`."""
    found = set(subfolders(os.fsencode(root)))
    valid = [name for name in VALID_NAMES if name in found]
    if len(valid) > 1:
        raise UserError(f"{root} has both valid/ and val/; keep one of them")
    if valid and b"train" not in found:
        raise UserError(f"{root} has {shown(valid[0])}/ but no train/")
    splits = {Split.TRAIN: b"train/" if b"train" in found else b""}
    if valid:
        splits[Split.VALID] = valid[0] + b"/"
    if b"test" in found:
        splits[Split.TEST] = b"test/"
    return splits


def read_part(root: str, split: Split, prefix: bytes, pattern: LabelPattern | None) -> Labelled:
    """List the images of one split; those for training and validation must all be labelled."""
    folder = f"{root.rstrip('/')}/{shown(prefix)}"
    part = by_folder(root, prefix) if pattern is None else by_pattern(root, prefix, pattern)
    if not len(part.names):
        hint = " in class folders" if pattern is None and split != Split.TEST else ""
        raise UserError(f"{folder} holds no images{hint}")
    strays = np.flatnonzero(part.codes == UNLABELLED)
    if split == Split.TEST or not len(strays):
        return part
    names = first_ten([shown(part.names[row]) for row in strays.tolist()])
    if pattern is not None:
        raise UserError(f"data.label_pattern {pattern.text!r} does not fit {len(strays)} file names:\n{names}")
    if not part.words:
        raise UserError(
            f"{folder} has images but no class folders; make a folder for each class, "
            f"or set data.label_pattern to take labels from file names such as {shown(part.names[0])!r}"
        )
    log.warning("%d images lie beside the class folders of %s and are left out:\n%s", len(strays), folder, names)
    kept = np.flatnonzero(part.codes != UNLABELLED)
    return Labelled(part.names.take(kept), part.words, part.codes[kept])


def by_folder(root: str, prefix: bytes) -> Labelled:
    """Label the images below `prefix` by the folder that they lie in; those in none come first."""
    path = os.fsencode(root) + b"/" + prefix
    beside = Found()
    scan(path, prefix, beside, nested=False)
    skip = b"test" if not prefix else None
    words = [name for name in subfolders(path) if name != skip]
    founds = [Found() for _ in words]
    for word, found in zip(words, founds, strict=True):
        scan(path + word, prefix + word + b"/", found)
    report_ignored(path, [beside, *founds])
    empty = [shown(word) for word, found in zip(words, founds, strict=True) if not found.count]
    if empty:
        where = os.fsdecode(path)
        raise UserError(f"{len(empty)} class folders of {where} hold no image; fill or remove:\n{first_ten(empty)}")
    counts = [beside.count, *(found.count for found in founds)]
    text = b"".join(text for found in [beside, *founds] for text in found.texts)
    codes = np.repeat(np.arange(UNLABELLED, len(words)), counts)
    return Labelled(Packed.from_text(text), [shown(word) for word in words], codes)


def by_pattern(root: str, prefix: bytes, pattern: LabelPattern) -> Labelled:
    """Label the images below `prefix` by their file names."""
    found = Found()
    path = os.fsencode(root) + b"/" + prefix
    scan(path, prefix, found, skip=frozenset() if prefix else frozenset([b"test"]))
    report_ignored(path, [found])
    names = Packed.from_text(b"".join(found.texts))
    return Labelled(names, *pattern.label(names))


def report_ignored(path: bytes, founds: list[Found]) -> None:
    """Log how many files were passed over because of their suffix."""
    ignored = sum(found.ignored for found in founds)
    if ignored:
        log.info("%d files below %s are no images by their suffix and are ignored", ignored, shown(path))


def numbered(part: Labelled, classes: list[str], split: Split) -> NDArray[np.int64]:
    """The labels of a split as indices into `classes`.

    A test set is unlabelled where none of its words is a class. Raises UserError for any other word that is none.
    """
    place = {word: index for index, word in enumerate(classes)}
    table = np.array([*(place.get(word, UNLABELLED) for word in part.words), UNLABELLED])
    labels = table[part.codes]
    unknown = np.flatnonzero(labels == UNLABELLED)
    if not len(unknown) or (split == Split.TEST and len(unknown) == len(labels)):
        return labels
    words = sorted(set(part.words) - set(classes))
    hint = f" ({words[0]!r}: {nearest(words[0], classes)})" if words else ""
    names = first_ten([shown(part.names[row]) for row in unknown.tolist()])
    raise UserError(f"{len(unknown)} images of {split.name.lower()} are of no class that train has{hint}:\n{names}")


def readable(classes: list[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """The class names that people see."""
    for word in names:
        if word not in classes:
            raise UserError(f"data.class_names has {word!r}, which is no class; {nearest(word, classes)}")
    renamed = tuple(names.get(word, word) for word in classes)
    if len(set(renamed)) < len(renamed):
        raise UserError("data.class_names gives two classes the same name")
    return renamed
