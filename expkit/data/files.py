"""Image files as `Images`, and the way from a list of files to checked `Data`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.data.groups import Groups, cut_groups
from expkit.data.images.decode import read_image
from expkit.data.images.file_facts import FileFacts, facts_of
from expkit.data.images.looks import look_at
from expkit.data.images.reading import DEFAULT, Reading
from expkit.data.items import Data
from expkit.data.links import note_of_links
from expkit.data.packed import Packed, below, shown
from expkit.data.split import NothingToCut, Split, cut_note, cut_valid
from expkit.errors import UserError, first_ten
from expkit.words import many

log = logging.getLogger("expkit.data")

OnBadImage = Literal["error", "skip"]
EXCLUDED = -2
"""Stands in `FileList.mended` for a file to be left out."""


@dataclass(frozen=True)
class ImageFiles:
    """Some of the image files below a root, decoded when read."""

    root: str
    names: Packed
    """Paths below the root, shared by train, valid and test."""
    rows: NDArray[np.int64]
    """Which of `names` these images are."""
    labels: NDArray[np.int64]
    """One class index for each of `rows`."""
    reading: Reading = DEFAULT
    groups: Groups | None = None
    """Which of `names` belong together."""

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """The path below the root."""
        return shown(self.names[self.rows[index]])

    def path(self, index: int) -> bytes:
        """The path for the operating system."""
        return below(self.root) + self.names[self.rows[index]]

    def read(self, index: int, size: int | None = None) -> Image.Image:
        """Decode the image, RGB and upright; raises UserError, naming the file, if it is damaged."""
        return read_image(self.path(index), size, self.reading)

    def subset(self, indices: NDArray[np.int64]) -> "ImageFiles":
        """The images at `indices`, in that order; the names are shared, not copied."""
        return replace(self, rows=self.rows[indices], labels=self.labels[indices])


@dataclass(frozen=True)
class FileList:
    """Every file that a data source lists, before any is opened."""

    root: str
    names: Packed
    labels: NDArray[np.int64]
    splits: NDArray[np.int8]
    """A `Split` for each file, before valid is cut from train."""
    classes: tuple[str, ...]
    source: str
    """What a person calls it in a message: the root, or the CSV file."""
    csv_rows: NDArray[np.int64] | None = None
    """The row of each file in its CSV, to be named in messages."""
    notes: tuple[str, ...] = ()
    """How the list was made, for `Data.notes`."""
    copies: NDArray[np.int64] | None = None
    """How often each file trains in an epoch; None: once."""
    reading: Reading = DEFAULT
    """What is white in the files, and what lies behind transparent pixels."""
    groups: Groups | None = None
    """Which files belong together, and so stay on one side of a cut."""
    mended: NDArray[np.int64] | None = None
    """The label that each file comes to have once valid is cut, EXCLUDED for one that is left out; None: as it is."""

    def where(self, index: int) -> str:
        """The file as messages name it."""
        row = "" if self.csv_rows is None else f"row {self.csv_rows[index]}: "
        return row + shown(self.names[index])

    def keep(self, kept: NDArray[np.int64]) -> "FileList":
        """The same list with only the files at `kept`."""
        rows = None if self.csv_rows is None else self.csv_rows[kept]
        copies = None if self.copies is None else self.copies[kept]
        groups = None if self.groups is None else self.groups.take(kept)
        mended = None if self.mended is None else self.mended[kept]
        return replace(
            self,
            names=self.names.take(kept),
            labels=self.labels[kept],
            splits=self.splits[kept],
            csv_rows=rows,
            copies=copies,
            groups=groups,
            mended=mended,
        )

    def part(self, split: Split) -> ImageFiles:
        """The images of one split."""
        rows = np.flatnonzero(self.splits == split)
        if split == Split.TRAIN and self.copies is not None:
            rows = np.repeat(rows, self.copies[rows])
        return ImageFiles(self.root, self.names, rows, self.labels[rows], self.reading, self.groups)


def checked_data(files: FileList, on_bad_image: OnBadImage, valid_pct: float | None, seed: int) -> Data:
    """Look at every file once, and give the data of those that can be read.

    Where no file is for validation, `valid_pct` of the readable training images are cut for it (None: none are), whole
    groups where there are such. What `files.mended` says is done after that: corrections move no other image.

    Where a class has no training image, or nothing is there to validate on, `Data.unfit` says so.

    Raises UserError, naming files, if one cannot be read (with `on_bad_image="skip"`: one listed for valid or test).
    """
    facts = facts_of(files.root, files.names, images=True, reading=files.reading)
    if files.mended is not None:  # what is left out need not be whole
        facts = replace(
            facts, problems={row: why for row, why in facts.problems.items() if files.mended[row] != EXCLUDED}
        )
    if facts.problems:
        files, facts = without_bad(files, facts, on_bad_image)
    uncut = ""
    if valid_pct is not None and not (files.splits == Split.VALID).any():
        try:
            files = with_cut(files, valid_pct, seed)
        except NothingToCut as error:
            uncut = str(error)
    if files.mended is not None:
        kept = np.flatnonzero(files.mended != EXCLUDED)
        files, facts = replace(files, labels=files.mended, mended=None).keep(kept), facts.keep(kept)
    warn_of_groups(files)
    assumed = look_at(files.root, files.names, files.reading)
    test = files.part(Split.TEST)
    return Data(
        train=files.part(Split.TRAIN),
        valid=files.part(Split.VALID),
        test=test if len(test) else None,
        classes=files.classes,
        fingerprint=fingerprint_of(files, facts),
        notes=(*files.notes, *note_of_links(files.root, files.names), *assumed),
        reading=files.reading,
        unfit=uncut or unfit(files),
    )


def with_cut(files: FileList, valid_pct: float, seed: int) -> FileList:
    """The same list with valid cut from train."""
    note = cut_note(valid_pct, seed)
    if files.groups is None:
        splits = cut_valid(files.splits, files.labels, valid_pct, seed)
    else:
        splits = cut_groups(files.splits, files.labels, files.groups, valid_pct, seed)
        note += f", by whole groups of data.group_column={files.groups.column}"
    return replace(files, splits=splits, notes=(*files.notes, note))


def warn_of_groups(files: FileList) -> None:
    """Log a warning that names groups which are trained on and validated or tested with as well."""
    if files.groups is None:
        return
    train = files.splits == Split.TRAIN
    for split in (Split.VALID, Split.TEST):
        if len(codes := files.groups.in_both(train, files.splits == split)):
            held_out = files.groups.codes[files.splits == split]
            log.warning(
                "%s of %s in both train and %s, with %d of its %d images, so that scores on these are too good; "
                "data.valid_pct without data.split_column cuts valid by whole groups:\n%s",
                many(len(codes), "group", "groups"), f"data.group_column={files.groups.column} lie", split.name.lower(),
                int(np.isin(held_out, codes).sum()), len(held_out),
                first_ten((files.groups.name(code) or "" for code in codes.tolist()), len(codes)),
            )  # fmt: skip


def without_bad(files: FileList, facts: FileFacts, on_bad_image: OnBadImage) -> tuple[FileList, FileFacts]:
    """Leave out the unreadable training images and report them, or raise UserError where that is not allowed.

    Those of the test set stay, with a warning, since nothing reads them in training.
    """
    test = {index: why for index, why in facts.problems.items() if files.splits[index] == Split.TEST}
    if test:
        log.warning("%s", bad_images(files, test, "for test cannot be read; replace them before the model is tested"))
    bad = {index: why for index, why in facts.problems.items() if index not in test}
    valid = [index for index in bad if files.splits[index] == Split.VALID]
    if bad and all("data." in why for why in bad.values()) and len(bad) > len(files.names) / 2:
        raise UserError(bad_images(files, bad, "cannot be read as the config says; see which key is named"))
    if bad and on_bad_image == "error" and not valid:
        advice = "replace or remove them, or leave them out of training with data.on_bad_image=skip"
        raise UserError(bad_images(files, bad, f"cannot be read; {advice}"))
    if bad and (on_bad_image == "error" or valid):
        fatal = bad if on_bad_image == "error" else {index: bad[index] for index in valid}
        advice = (
            f"replace or remove them (data.on_bad_image=skip leaves out training images, {len(valid)} are for valid)"
        )
        raise UserError(bad_images(files, fatal, f"cannot be read; {advice}"))
    if bad:
        log.warning("%s", bad_images(files, bad, "cannot be read and will not train"))
    kept = np.setdiff1d(np.arange(len(files.names)), np.fromiter(bad, np.int64, len(bad)))
    return files.keep(kept), facts.keep(kept)


def bad_images(files: FileList, bad: Mapping[int, str], what: str) -> str:
    """A sentence that says how many images of the source are bad, and the first of them with what is wrong."""
    count = many(len(bad), "image", "images")
    lines = (f"{files.where(index)} {why}" for index, why in bad.items())
    return f"{count} of {files.source} {what}:\n{first_ten(lines, len(bad))}"


def unfit(files: FileList) -> str:
    """Why files cannot train: a class has none for that, or none is to validate. Warns of classes that valid lacks."""
    counts = np.bincount(files.labels[files.splits == Split.TRAIN], minlength=len(files.classes))
    empty = [files.classes[label] for label in np.flatnonzero(counts == 0)]
    if empty:
        return (
            f"{len(empty)} of {len(files.classes)} classes of {files.source} "
            f"{'has' if len(empty) == 1 else 'have'} no readable training image; "
            f"add images or remove the class:\n{first_ten(empty)}"
        )
    valid = files.labels[files.splits == Split.VALID]
    if not len(valid):
        return f"{files.source} has no image to validate on"
    warn_of_lacking(files.classes, valid)
    return ""


def warn_of_lacking(classes: Sequence[str], valid: NDArray[np.int64]) -> None:
    """Log a warning that names the classes which `valid`, the labels of the validation images, lacks."""
    present = set(valid.tolist())
    lacking = [name for label, name in enumerate(classes) if label not in present]
    if lacking:
        what = many(len(lacking), "class has", "classes have")
        log.warning("%s no image in valid:\n%s", what, first_ten(lacking))


def fingerprint_of(files: FileList, facts: FileFacts) -> str:
    """The fingerprint of what training and validation read: contents, labels and splits; not how files are called."""
    read = np.flatnonzero(files.splits != Split.TEST)
    copies = () if files.copies is None else (files.copies[read],)
    parts = [facts.hashes[read], files.labels[read], files.splits[read], *copies, *unusual(files.reading)]
    return fingerprint(files.classes, parts)


def unusual(reading: Reading) -> list[bytes]:
    """What a fingerprint holds of the way that pixels are read, where it is not the usual one."""
    return [] if reading == DEFAULT else [repr(reading).encode()]


def fingerprint(classes: Iterable[str], parts: Iterable[bytes | NDArray[np.generic]]) -> str:
    """Sixteen hex digits over class names and blocks of bytes, each with its length so that none runs into the next."""
    digest = blake2b(repr(tuple(classes)).encode(), digest_size=8)
    for part in parts:
        block = part if isinstance(part, bytes) else np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
        digest.update(len(block).to_bytes(8, "little"))
        digest.update(block)
    return digest.hexdigest()
