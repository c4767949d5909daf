"""Images listed in a CSV file with their labels."""

import csv as csv_module
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Len
from numpy.typing import NDArray

from expkit.check import Fraction, NotNegativeInt, checked, nearest
from expkit.data.files import FileList, OnBadImage, checked_data
from expkit.data.items import UNLABELLED, Data
from expkit.data.listing import check_folder
from expkit.data.packed import Packed
from expkit.data.split import SPLIT_WORDS, Split, split_of
from expkit.errors import UserError, first_ten


@dataclass(frozen=True)
class Row:
    """One line of the table: an image file with its label and split."""

    number: int
    """As a spreadsheet counts: the header is row 1."""
    file: str
    label: str
    split: str


@checked
def csv(
    *,
    file: str,
    root: str | None = None,
    file_column: str = "file",
    label_column: str = "label",
    split_column: str | None = None,
    separator: Annotated[str, Len(1, 1)] = ",",
    suffix: str = "",
    valid_pct: Fraction = 0.2,
    seed: NotNegativeInt = 0,
    on_bad_image: OnBadImage = "error",
) -> Data:
    """Read images listed in a CSV file (UTF-8, with or without byte-order mark); labels are text, so "001" stays so.

    Args:
        file: the CSV file; its first row names the columns.
        root: folder that the paths in it start from; null is the folder of the CSV. No path may lead out of it.
        file_column: column with the path of the image.
        label_column: column with the label; only a test image may lack one.
        split_column: column with train, valid (or val) or test; null if all rows are for training.
        separator: the character between columns.
        suffix: added to each path, such as ".jpg" where the table has bare names.
        valid_pct: share of each class cut from the training rows for valid, where no row is for valid.
        seed: seed of that cut; it belongs to the data, so that runs with other seeds validate on the same images.
        on_bad_image: `skip` leaves out and reports unreadable training images; `error` stops at any.

    Raises UserError, naming the first ten rows and their number, for missing columns and files, paths out of the
    root, a file listed twice, missing labels, labels that train lacks, and images that cannot be read.
    """
    root = root or os.path.dirname(file) or "."
    check_folder(root)
    columns = [file_column, label_column, *([split_column] if split_column else [])]
    rows = read_rows(file, separator, columns)
    paths = [posixpath.normpath(row.file + suffix) if row.file else "" for row in rows]
    check_rows(file, rows, paths, root)
    splits = np.array([split_of(row.split) for row in rows], np.int8)
    classes, labels = number_labels(file, rows, splits)
    files = FileList(
        root=root,
        names=Packed.from_names(map(os.fsencode, paths)),
        labels=labels,
        splits=splits,
        classes=classes,
        source=file,
        csv_rows=np.array([row.number for row in rows]),
    )
    return checked_data(files, on_bad_image, valid_pct, seed)


def read_rows(file: str, separator: str, columns: Sequence[str]) -> list[Row]:
    """The rows of the table with the columns for file, label and, where asked for, split (else train)."""
    table = read_table(file, separator)
    try:
        _, header = next(table, (0, []))
        places = [place_of(column, header, file) for column in columns]
        rows, short = [], []
        for number, cells in table:
            if len(cells) != len(header):
                short.append(f"row {number}: {len(cells)} columns")
                continue
            values = [cells[place].strip() for place in places]
            rows.append(Row(number, values[0], values[1], values[2] if len(values) > 2 else "train"))
    except (csv_module.Error, UnicodeDecodeError, OSError) as error:
        raise UserError(f"data.file: {file} cannot be read as CSV in UTF-8: {error}") from None
    if short:
        where = first_ten(short)
        raise UserError(f"{len(short)} rows of {file} have not the {len(header)} columns of its header:\n{where}")
    if not rows:
        raise UserError(f"{file} has no rows below its header")
    return rows


def read_table(file: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with their number."""
    if not os.path.isfile(file):
        raise UserError(f"data.file: {os.path.abspath(file)} does not exist or is no file")
    with open(file, encoding="utf-8-sig", newline="") as handle:  # a byte-order mark would stick to the first column
        yield from ((n, cells) for n, cells in enumerate(csv_module.reader(handle, delimiter=separator), 1) if cells)


def place_of(column: str, header: list[str], file: str) -> int:
    """Where a column stands."""
    names = [name.strip() for name in header]
    if names.count(column) == 1:
        return names.index(column)
    if column in names:
        raise UserError(f"{file} has the column {column!r} {names.count(column)} times")
    raise UserError(f"{file} has no column {column!r}; {nearest(column, names)}")


def check_rows(file: str, rows: list[Row], paths: list[str], root: str) -> None:
    """Raise UserError for every mistake that can be seen without opening an image, in the order of the rows."""
    first: dict[str, int] = {}
    fence = Fence(root)
    lines = []
    for row, path in zip(rows, paths, strict=True):
        earlier = first.setdefault(path, row.number)
        problem = problem_of_row(row) or problem_of_path(path, fence, earlier if earlier != row.number else None)
        if problem:
            lines.append(f"row {row.number}: {problem}")
    if lines:
        raise UserError(f"{len(lines)} rows of {file} are wrong:\n{first_ten(lines)}")


def problem_of_row(row: Row) -> str | None:
    """What a row lacks or misspells."""
    if not row.file:
        return "no file name"
    if split_of(row.split) is None:
        return f"split {row.split!r}, expected train, valid (or val) or test; {nearest(row.split, SPLIT_WORDS)}"
    if not row.label and split_of(row.split) != Split.TEST:
        return f"no label for {row.file}; only a test image may lack one"
    return None


def problem_of_path(path: str, fence: "Fence", earlier: int | None) -> str | None:
    """What is wrong with where a row's file lies; `earlier` is a row before it with the same file."""
    if not fence.holds(path):
        return f"{path} leads out of the root {fence.root}; paths in a CSV stay below it"
    return None if earlier is None else f"{path} is listed again (first in row {earlier})"


class Fence:
    """Tells whether a path stays below a root, also where links lead; asks about each directory once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.real = os.path.join(os.path.realpath(root), "")
        self.known: dict[str, bool] = {}

    def holds(self, path: str) -> bool:
        """Whether a normalized path is relative and neither it nor a link in it leads out of the root."""
        if path.startswith(("/", "../")) or path == ".." or "\0" in path:
            return False
        folder = os.path.dirname(path)
        if folder not in self.known:
            self.known[folder] = self.leads_inside(folder)
        full = os.path.join(self.root, path)
        return self.known[folder] and (not os.path.islink(full) or self.leads_inside(path))

    def leads_inside(self, path: str) -> bool:
        """Whether the real path, all links followed, is below the real root."""
        return os.path.join(os.path.realpath(os.path.join(self.root, path)), "").startswith(self.real)


def number_labels(file: str, rows: list[Row], splits: NDArray[np.int8]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names, sorted, and the class index of each row; test rows may have no label."""
    classes = sorted({row.label for row, split in zip(rows, splits, strict=True) if split == Split.TRAIN})
    place = {label: index for index, label in enumerate(classes)}
    if not classes:
        raise UserError(f"{file} has no row for training")
    unknown = [row for row in rows if row.label and row.label not in place]
    if unknown:
        lines = [f"row {row.number}: {row.label!r} ({row.split}); {nearest(row.label, classes)}" for row in unknown]
        raise UserError(f"{len(unknown)} rows of {file} have a label that no training row has:\n{first_ten(lines)}")
    return tuple(classes), np.array([place.get(row.label, UNLABELLED) for row in rows], np.int64)
