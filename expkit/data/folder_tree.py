"""Images in folders: a folder for each class, or labels in the file names."""

import logging
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from expkit.check import Count, Fraction, NotNegativeInt, Positive, checked, nearest
from expkit.data.corrections import with_corrections
from expkit.data.files import FileList, OnBadImage, checked_data
from expkit.data.images.reading import Alpha, Reading
from expkit.data.items import UNLABELLED, Data
from expkit.data.label_doubts import warn_of_labels
from expkit.data.links import Links
from expkit.data.listing import Found, check_folder, scan
from expkit.data.packed import Packed, shown
from expkit.data.split import Split
from expkit.data.trees.class_folders import ClassFolders, class_folders, class_of, without_empty
from expkit.data.trees.doubts import check_classes
from expkit.data.trees.file_names import LabelPattern
from expkit.data.trees.hints import hints_of_empty, hints_of_flat
from expkit.data.trees.layout import find_splits, hint_of_classes
from expkit.data.trees.left_out import Listed, notes_of_left_out
from expkit.errors import DataError, UserError, first_ten
from expkit.words import many

log = logging.getLogger("expkit.data")


@dataclass(frozen=True)
class Labelled:
    """The images of one split with the words that label them."""

    names: Packed
    words: list[str]
    codes: NDArray[np.int64]
    """Index into `words` for each name, UNLABELLED for an image that lies in no class folder or fits no pattern."""
    listed: Sequence[Listed]
    """What else lies in the folders."""
    notes: tuple[str, ...] = ()


@checked
def folders(
    *,
    root: str,
    valid_pct: Fraction = 0.2,
    seed: NotNegativeInt = 0,
    class_depth: Count | None = None,
    label_pattern: str | None = None,
    class_names: Mapping[str, str] | None = None,
    exclude: str | None = None,
    relabel: str | None = None,
    on_bad_image: OnBadImage = "error",
    alpha: Alpha = "white",
    white: Positive | None = None,
) -> Data:
    """Read a tree of image files: `train/<class>/...` and `valid/<class>/...`, or one tree `<class>/...`.

    Splits are known in any case and in their usual spellings. Images may lie in folders below their class. `test/`, if
    there, is labelled where its folders are classes, and unlabelled where none is. Hidden files and files that are no
    images by suffix are ignored. `Data.notes` tell what was read as what, and what was left out.

    Args:
        root: the folder.
        valid_pct: share of each class cut from the training images for valid, where there is no valid folder.
        seed: seed of that cut; it belongs to the data, so that runs with other seeds validate on the same images.
        class_depth: which folder below that of a split (or below the root) names the class: 1 for `train/<class>/...`,
            2 for `train/x/<class>/...`; null is 1, and refuses a tree where folders further down could be the classes;
            1, if said, takes folders that all hold images themselves for classes, also one called `valid` or the like.
        label_pattern: take labels from file names instead of folders: a regular expression whose group `label` is
            the class, or whose named groups are the classes (see `LabelPattern`).
        class_names: readable names for classes, by the name of the folder or the text of the label.
        exclude: CSV of images to leave out, column `file` (paths below the root), such as task=audit writes.
        relabel: CSV of labels to put right, columns `file` and `label`; both move no other image over a cut.
        on_bad_image: `skip` leaves out and reports unreadable training images; `error` stops at any.
        alpha: what lies behind transparent pixels, white or black; `ignore` takes their colours as they are.
        white: the value of white in files of more than 8 bits, such as 4095 for 12 bits in files of 16, or of darker
            ones; null is the most that the bits of a file hold, and refuses float and 32-bit pixels.

    Raises UserError for a missing or empty folder, one that is probably not the root or holds no classes, a class that
    only valid has, and images that cannot be read: one message with the first ten names and their number.
    """
    check_folder(root)
    if label_pattern is not None and class_depth is not None:
        raise UserError("data.label_pattern takes labels from file names, so leave data.class_depth out")
    layout = find_splits(root, label_pattern is None, class_depth)
    if label_pattern is None:
        found = class_folders(root, layout, class_depth or 1)
        parts = {split: by_folder(root, split, places, class_depth) for split, places in found.items()}
        found[Split.TRAIN].links.report()
    else:
        parts = by_pattern(root, layout.folders, layout.beside, LabelPattern(label_pattern))
    train = parts[Split.TRAIN]
    classes = sorted(train.words)
    counts = np.bincount(train.codes[train.codes >= 0], minlength=len(classes))
    test = layout.folders.get(Split.TEST)
    hint = hint_of_classes(root, shown(test[:-1])) if test else ""
    warn_of_labels(train.words, counts, f"the classes of {root}", hint_of_single=hint)
    listed = [one for part in parts.values() for one in part.listed]
    notes = [note for part in parts.values() for note in part.notes]
    files = FileList(
        root=root,
        names=Packed.from_text(b"".join(part.names.text for part in parts.values())),
        labels=np.concatenate([numbered(part, classes, split) for split, part in parts.items()]),
        splits=np.concatenate([np.full(len(part.names), split, np.int8) for split, part in parts.items()]),
        classes=readable(classes, class_names or {}),
        source=root,
        notes=(*layout.notes, *notes, *notes_of_left_out(root, listed)),
        reading=Reading(alpha, white),
    )
    return checked_data(with_corrections(files, exclude, relabel), on_bad_image, valid_pct, seed)


def by_folder(root: str, split: Split, folders: ClassFolders, depth: int | None) -> Labelled:
    """Label the images of a split by the class folder that they lie in; those in none come first.

    Raises DataError where folders are probably no classes, and for images in none, except in a test set.
    """
    where = shown(os.path.join(os.fsencode(root), folders.prefix))
    beside, founds = folders.scan(os.fsencode(root))
    listed = list(zip(folders.places, founds, strict=True))
    doubts = check_classes(root, folders.prefix, listed) if split == Split.TRAIN and depth is None else ()
    kept, notes = without_empty(split, where, listed)
    words = sorted({class_of(place) for place, _ in kept})
    rank = {word: code for code, word in enumerate(words)}
    counts = [beside.count, *(found.count for _, found in kept)]
    codes = np.repeat([UNLABELLED, *(rank[class_of(place)] for place, _ in kept)], counts)
    text = b"".join(text for found in [beside, *(found for _, found in kept)] for text in found.texts)
    every = [(folders.prefix, beside), *listed]
    part = Labelled(Packed.from_text(text), words, codes, every, (*doubts, *notes))
    return part if split == Split.TEST and len(part.names) else without_strays(part, where, folders.prefix, root)


def without_strays(part: Labelled, where: str, prefix: bytes, root: str) -> Labelled:
    """Leave out images in no class folder. Raises DataError where no image is in any."""
    strays = np.flatnonzero(part.codes == UNLABELLED)
    if not len(part.names):
        hint = hints_of_empty(root, part.listed) or (f"; fill or remove {where}" if prefix else "")
        raise DataError(f"{where} holds no images in class folders{hint}")
    if not part.words:
        hints = hints_of_flat(root, prefix, part.names, part.listed)
        raise DataError(
            f"{where} has images but no class folders; make a folder for each class, or set data.label_pattern to take "
            f"labels from file names such as {shown(part.names[0])!r}{hints}"
            f"{hint_of_classes(root, shown(prefix[:-1])) if prefix else ''}"
        )
    if not len(strays):
        return part
    names = first_ten((shown(part.names[row]) for row in strays.tolist()), len(strays))
    which = many(len(strays), "image lies", "images lie")
    left = "is" if len(strays) == 1 else "are"
    log.warning("%s beside the class folders of %s and %s left out:\n%s", which, where, left, names)
    kept = np.flatnonzero(part.codes != UNLABELLED)
    return replace(part, names=part.names.take(kept), codes=part.codes[kept])


def by_pattern(
    root: str, folders: Mapping[Split, bytes], beside: frozenset[bytes], pattern: LabelPattern
) -> dict[Split, Labelled]:
    """Label the images of all splits by their file names. Raises DataError for names that the pattern does not fit."""
    path = os.fsencode(root)
    links = Links(os.path.join(path, prefix) for prefix in folders.values())
    parts = {}
    for split, prefix in folders.items():
        found = Found()
        scan(os.path.join(path, prefix), prefix, found, skip=frozenset() if prefix else beside, links=links)
        if not found.count:
            where = shown(os.path.join(path, prefix))
            raise DataError(f"{where} holds no images{hints_of_empty(root, [(prefix, found)])}")
        names = Packed.from_text(b"".join(found.texts))
        parts[split] = Labelled(names, *pattern.label(names), [(prefix, found)])
        check_pattern(pattern, split, parts[split])
    links.report()
    return parts


def check_pattern(pattern: LabelPattern, split: Split, part: Labelled) -> None:
    """Raise DataError where a pattern does not fit a file name, gives one class, or one for each file."""
    strays = np.flatnonzero(part.codes == UNLABELLED)
    if split == Split.TEST:
        return
    if len(strays):
        names = first_ten((shown(part.names[row]) for row in strays.tolist()), len(strays))
        raise DataError(f"data.label_pattern {pattern.text!r} does not fit {len(strays)} file names:\n{names}")
    count, first = len(part.words), shown(part.names[0])
    if split != Split.TRAIN or 1 < count < len(part.names):
        return
    each = f"the single class {part.words[0]!r}" if count == 1 else f"a class of its own, such as {part.words[0]!r},"
    raise DataError(
        f"data.label_pattern {pattern.text!r} gives {each} for all {len(part.names)} file names, such as {first!r}; "
        "the group must match what images of one class share, and no more"
    )


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
    hint = f" ({words[0]!r}{twin_of(words[0], classes) or f': {nearest(words[0], classes)}'})" if words else ""
    names = first_ten([shown(part.names[row]) for row in unknown.tolist()])
    which = many(len(unknown), f"image of {split.name.lower()} is", f"images of {split.name.lower()} are")
    raise UserError(f"{which} of no class that train has{hint}:\n{names}")


def twin_of(word: str, classes: list[str]) -> str | None:
    """Say which class a word differs from by nothing that can be seen, None where there is none."""
    for form, what in ((str.strip, "in spaces at its ends"), (nfc, "in its Unicode form (NFC, NFD)")):
        twin = next((name for name in classes if form(name) == form(word)), None)
        if twin is not None:
            return f" differs from {twin!r} {what} only; rename one"
    return None


def nfc(name: str) -> str:
    """A name with accents and letters in one."""
    return unicodedata.normalize("NFC", name)


def readable(classes: list[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """The class names that people see."""
    for word in names:
        if word not in classes:
            raise UserError(f"data.class_names has {word!r}, which is no class; {nearest(word, classes)}")
    renamed = tuple(names.get(word, word) for word in classes)
    if len(set(renamed)) < len(renamed):
        raise UserError("data.class_names gives two classes the same name")
    return renamed
