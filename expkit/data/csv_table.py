"""Images listed in a CSV file with their labels."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from annotated_types import Len, MinLen
from numpy.typing import NDArray

from expkit.check import Fraction, NotNegativeInt, Positive, checked
from expkit.data.corrections import with_corrections
from expkit.data.files import FileList, OnBadImage, checked_data
from expkit.data.groups import Groups
from expkit.data.images.reading import Alpha, Reading
from expkit.data.items import Data
from expkit.data.label_doubts import doubt_of_flags, flag_columns, warn_of_labels
from expkit.data.listing import check_folder
from expkit.data.packed import Packed
from expkit.data.split import Split, compact, split_of_cell
from expkit.data.tables.file import setting
from expkit.data.tables.guess import USUAL
from expkit.data.tables.paths import Places, check_places
from expkit.data.tables.reader import Table, read_table
from expkit.data.tables.rows import check_rows, number_labels, rows_of

log = logging.getLogger("expkit.data")


@checked
def csv(
    *,
    file: str,
    root: str | None = None,
    file_column: str = "file",
    label_column: str = "label",
    split_column: str | None = None,
    columns: Annotated[Sequence[str], MinLen(2)] | None = None,
    separator: Annotated[str, Len(1)] = ",",
    encoding: str = "utf-8",
    strip: str = "",
    suffix: str = "",
    paths: Literal["exact", "loose"] = "exact",
    class_names: Mapping[str | int | float, str] | None = None,
    group_column: str | None = None,
    repeats: Literal["error", "train"] = "error",
    valid_pct: Fraction = 0.2,
    seed: NotNegativeInt = 0,
    exclude: str | None = None,
    relabel: str | None = None,
    on_bad_image: OnBadImage = "error",
    alpha: Alpha = "white",
    white: Positive | None = None,
) -> Data:
    """Read images listed in a CSV file; labels are text, so "001" stays so, and so do "NA" and "null".

    Args:
        file: the CSV file; its first row names the columns.
        root: folder that the paths in it start from; null is the folder of the CSV. No path may lead out of it,
            links in it may.
        file_column: column with the path of the image.
        label_column: column with the label; only a test image may lack one.
        split_column: column with train, valid or test, in any case (also training, val, validation, dev, testing), or
            with yes or no where it is called is_valid or the like; null if all rows are for training.
        columns: names of the columns of a table whose first row is one of many, such as [file, label].
        separator: what stands between columns: a character, or comma, semicolon, tab, pipe or space.
        encoding: how the text is written: utf-8 (with or without byte-order mark), utf-16, cp1252 (Windows), ...
        strip: cut from the start of each path, such as "/home/me/photos/".
        suffix: added to each path, such as ".jpg" where the table has bare names.
        paths: `loose` finds files that differ from the paths in case, backslashes for slashes or Unicode form.
        class_names: readable names for classes, by label; labels with the same name become one class.
        group_column: column that says which images belong together (patient, burst, camera): valid is cut by whole
            groups, and groups on both sides of a given split are told; an empty cell is of no group.
        repeats: `train` lets a file be listed several times, with the same label, to train on it as often.
        valid_pct: share of each class cut from the training rows for valid, where no row is for valid.
        seed: seed of that cut; it belongs to the data, so that runs with other seeds validate on the same images.
        exclude: CSV of images to leave out, column `file` (paths below the root), such as task=audit writes.
        relabel: CSV of labels to put right, columns `file` and `label`; both move no other image over a cut.
        on_bad_image: `skip` leaves out and reports unreadable training images; `error` stops at any.
        alpha: what lies behind transparent pixels, white or black; `ignore` takes their colours as they are.
        white: the value of white in files of more than 8 bits, such as 4095 for 12 bits in files of 16, or of darker
            ones; null is the most that the bits of a file hold, and refuses float and 32-bit pixels.

    Raises UserError, naming the first ten rows and their number, for missing columns and files, paths out of the
    root, a file listed twice, missing labels, labels that train lacks, and images that cannot be read; where the
    whole table is written otherwise it names the keys that would read it. Warns of labels that look wrong.
    """
    wanted = {"data.file_column": file_column, "data.label_column": label_column}
    if split_column:
        wanted["data.split_column"] = split_column
    if group_column:
        wanted["data.group_column"] = group_column
    table = read_table(file, wanted, root=root, separator=separator, encoding=encoding, names=columns)
    root = root or os.path.dirname(file) or "."
    check_folder(root)
    places = Places(root, strip, suffix, paths == "loose")
    rows = rows_of(table, places, wanted, class_names or {})
    check_places(file, places, rows.cells, rows.paths, rows.numbers)
    copies = check_rows(rows, places, repeats)
    doubt_split(table, split_column)
    once = np.flatnonzero(copies)
    splits = np.array(rows.splits, np.int8)[once]
    classes, labels = number_labels(rows)
    labels = labels[once]
    doubt_labels(table, label_column, classes, labels[splits == Split.TRAIN])
    notes = notes_of(table, label_column, copies)
    groups = Groups.of(group_column, [table.columns[group_column][row] for row in once]) if group_column else None
    files = FileList(
        root=root,
        names=Packed.from_names(os.fsencode(rows.paths[row]) for row in once.tolist()),
        labels=labels,
        splits=splits,
        classes=classes,
        source=file,
        csv_rows=np.array(rows.numbers)[once],
        copies=copies[once] if copies.max() > 1 else None,
        reading=Reading(alpha, white),
        groups=groups,
        notes=notes,
    )
    return checked_data(with_corrections(files, exclude, relabel), on_bad_image, valid_pct, seed)


def doubt_labels(table: Table, column: str, classes: Sequence[str], labels: NDArray[np.int64]) -> None:
    """Warn of labels that look as if they were no plain classes."""
    counts = np.bincount(labels, minlength=len(classes))
    where = f"the column {column!r} of {table.file}"
    one_hot = doubt_of_flags(table.header, table.sample, column)
    if one_hot:
        log.warning("%s: %s", where, one_hot)
    warn_of_labels(classes, counts, where, "data.class_names")


def notes_of(table: Table, label_column: str, copies: NDArray[np.int64]) -> tuple[str, ...]:
    """What was assumed: that rows repeat on purpose, and that one of several columns of 0 and 1 is the label."""
    notes = []
    repeated = int((copies > 1).sum())
    if repeated:
        notes.append(f"data.repeats=train: {repeated} images are listed, and train, several times")
    others = [name for name in flag_columns(table.header, table.sample) if name != label_column]
    if others and len(others) < len(flag_columns(table.header, table.sample)):
        notes.append(f"of the columns of 0 and 1 only {label_column!r} is the label (others: {', '.join(others[:5])})")
    return tuple(notes)


def doubt_split(table: Table, split_column: str | None) -> None:
    """Warn of a column that tells train from test where none is asked for: all rows would train."""
    if split_column:
        return
    usual = USUAL["data.split_column"].split()
    for place, name in enumerate(table.header):
        cells = {row[place].strip() for row in table.sample}
        named = name.casefold() in usual or compact(name).startswith("is")
        if named and len(cells) > 1 and all(split_of_cell(cell, name) is not None for cell in cells):
            log.warning(
                "%s has a column %r of %s, but all rows train or are cut for valid; write %s to go by it",
                table.file, name, ", ".join(sorted(cells)), setting("data.split_column", name),
            )  # fmt: skip
