"""The rows of a table of images, each with its path, label and split, and what is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expkit.check import nearest
from expkit.data.items import UNLABELLED
from expkit.data.split import SPLIT_WORDS, Split, split_of_cell
from expkit.data.tables.file import setting
from expkit.data.tables.paths import Places, leads_out
from expkit.data.tables.reader import Table
from expkit.errors import UserError, first_ten
from expkit.words import many


@dataclass(frozen=True)
class Rows:
    """The rows of a table, cell by cell of the columns that count."""

    file: str
    numbers: list[int]
    """As a spreadsheet counts: the header is row 1."""
    cells: list[str]
    paths: list[str]
    """Below the root, normalized; empty where the cell is."""
    labels: list[str]
    splits: list[Split | None]
    """None where a cell names no split."""
    words: list[str]
    """The cells that name the split."""


def rows_of(
    table: Table, places: Places, wanted: Mapping[str, str], class_names: Mapping[str | int | float, str]
) -> Rows:
    """The rows with their paths, splits and labels as they are to be called."""
    cells, labels = table.columns[wanted["data.file_column"]], table.columns[wanted["data.label_column"]]
    if class_names:
        names = {str(label): name for label, name in class_names.items()}
        for label in sorted(names.keys() - set(labels)):
            raise UserError(f"data.class_names has {label!r}, which is no label; {nearest(label, set(labels))}")
        labels = [names.get(label, label) for label in labels]
    column = wanted.get("data.split_column")
    words = table.columns[column] if column else ["train"] * len(cells)
    splits = {word: split_of_cell(word, column or "") for word in set(words)}
    return Rows(
        table.file, table.numbers, cells, places.paths_of(cells), labels, [splits[word] for word in words], words
    )


def check_rows(rows: Rows, places: Places, repeats: str) -> NDArray[np.int64]:
    """How often each row trains: 0 for one that repeats an earlier one.

    Raises UserError for every mistake that can be seen without looking for a file, in the order of the rows.
    """
    first: dict[str, int] = {}
    copies = np.ones(len(rows.paths), np.int64)
    wrong: list[int] = []
    repeated = 0
    for row, (path, label, split) in enumerate(zip(rows.paths, rows.labels, rows.splits, strict=True)):
        earlier = first.setdefault(path, row)
        if not path or split is None or (not label and split != Split.TEST) or leads_out(path):
            wrong.append(row)
        elif earlier != row:
            alike = split == rows.splits[earlier] == Split.TRAIN and label == rows.labels[earlier]
            repeated += alike
            if alike and repeats == "train":
                copies[earlier] += 1
                copies[row] = 0
            else:
                wrong.append(row)
    if wrong:
        lines = (f"row {rows.numbers[row]}: {problem_of(rows, row, first, places)}" for row in wrong)
        hint = f"; if they repeat so that an image trains as often, write {setting('data.repeats', 'train')}"
        raise UserError(
            f"{many(len(wrong), f'row of {rows.file} is', f'rows of {rows.file} are')} "
            f"wrong{hint if repeated == len(wrong) else ''}:\n"
            f"{first_ten(lines, len(wrong))}"
        )
    return copies


def problem_of(rows: Rows, row: int, first: Mapping[str, int], places: Places) -> str:
    """What is wrong with a row; `first` has the first row of each path."""
    path, label, split, word = rows.paths[row], rows.labels[row], rows.splits[row], rows.words[row]
    if not path:
        return "no file name"
    if split is None:
        return f"split {word!r}, expected train, valid (or val) or test{like(word, list(SPLIT_WORDS))}"
    if not label and split != Split.TEST:
        return f"no label for {path}; only a test image may lack one"
    if leads_out(path):
        return f"{path} leads out of the root {places.root}; paths in a CSV stay below it"
    earlier = first[path]
    where = f"first in row {rows.numbers[earlier]}"
    if split != rows.splits[earlier]:
        return f"{path} is listed again for {word} ({where} for {rows.words[earlier]}); a file has one part to play"
    if label != rows.labels[earlier]:
        return (
            f"{path} is listed again with the label {label!r} ({where} with {rows.labels[earlier]!r}); keep one row: "
            "several labels an image (multi-label) cannot be trained yet"
        )
    return f"{path} is listed again ({where})"


def like(label: str, classes: Sequence[str]) -> str:
    """The class that a label may mean, as the end of a line; the list of all would be as long in each."""
    hint = nearest(label, classes)
    return f"; {hint}" if hint.startswith("did you mean") else ""


def number_labels(rows: Rows) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names, sorted, and the class index of each row; test rows may have no label."""
    classes = sorted({label for label, split in zip(rows.labels, rows.splits, strict=True) if split == Split.TRAIN})
    place = {label: index for index, label in enumerate(classes)}
    if not classes:
        raise UserError(
            f"{rows.file} has no row for training; to score its rows as they are, leave data.split_column out"
        )
    place.setdefault("", UNLABELLED)
    unknown = [row for row, label in enumerate(rows.labels) if label not in place]
    if unknown:
        lines = (
            f"row {rows.numbers[row]}: {rows.labels[row]!r} ({rows.words[row]}){like(rows.labels[row], classes)}"
            for row in unknown
        )
        problem = (
            f"{many(len(unknown), f'row of {rows.file} has', f'rows of {rows.file} have')} a label that no "
            "training row has"
        )
        some = ", ".join(classes[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
        raise UserError(f"{problem} (those have {some}):\n{first_ten(lines, len(unknown))}")
    return tuple(classes), np.array([place[label] for label in rows.labels], np.int64)
