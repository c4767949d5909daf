"""Corrections of a data set that its config names: files to leave out, and labels to put right.

They are applied after valid is cut, so that what is left trains and validates where it did before.
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from expkit.check import nearest
from expkit.data.files import EXCLUDED, FileList
from expkit.data.packed import shown
from expkit.errors import UserError, first_ten
from expkit.words import many


@dataclass(frozen=True)
class Row:
    """A row of a file of corrections."""

    number: int
    """As a spreadsheet counts: the header is row 1."""
    file: str
    label: str = ""


def with_corrections(files: FileList, exclude: str | None, relabel: str | None) -> FileList:
    """The same list, with what `data.exclude` and `data.relabel` say noted for `checked_data`.

    Both are CSV files with a column `file` (paths below the root), that of labels also with a column `label`.
    Raises UserError, naming the row, for a file that is not listed, a label that is no class, two labels for one file.
    """
    if exclude is None and relabel is None:
        return files
    mended, notes = files.labels.copy(), list(files.notes)
    if relabel is not None:
        rows = read_rows(relabel, "data.relabel", ("file", "label"))
        places = places_of(files, relabel, "data.relabel", rows)
        for row, label in zip(rows, labels_of(files, relabel, rows), strict=True):
            mended[places[row.file]] = label
        changed = int((mended != files.labels).sum())
        others = f", {len(places) - changed} as before" if len(places) > changed else ""
        notes.append(f"data.relabel={relabel}: {many(changed, 'label', 'labels')} changed{others}")
    if exclude is not None:
        rows = read_rows(exclude, "data.exclude", ("file",))
        places = places_of(files, exclude, "data.exclude", rows)
        mended[list(places.values())] = EXCLUDED
        notes.append(f"data.exclude={exclude}: {many(len(places), 'image', 'images')} left out")
    return replace(files, mended=mended, notes=tuple(notes))


def read_rows(file: str, key: str, wanted: tuple[str, ...]) -> list[Row]:
    """The rows of a CSV with the columns that are `wanted`, and any others. Raises UserError for another file."""
    if not os.path.isfile(file):
        raise UserError(f"{key}: {os.path.abspath(file)} does not exist; it must be a CSV with {in_words(wanted)}")
    try:
        with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
            lines = [(number, cells) for number, cells in enumerate(csv.reader(handle, strict=True), 1) if cells]
    except (OSError, csv.Error) as error:
        raise UserError(f"{key}: {file} cannot be read as CSV ({error}); write it with {in_words(wanted)}") from None
    header = [cell.strip() for cell in lines[0][1]] if lines else []
    if lacking := [name for name in wanted if name not in header]:
        found = f"row 1 of {file} is {','.join(header)!r}" if header else f"{file} is empty"
        raise UserError(f"{key}: {found} and lacks {lacking[0]!r}; its first row must name {in_words(wanted)}")
    if short := [number for number, cells in lines if len(cells) != len(header)]:
        raise UserError(
            f"{key}: row {short[0]} of {file} has not the {many(len(header), 'column', 'columns')} of row 1"
        )
    places = [header.index(name) for name in wanted]
    return [Row(number, *(cells[place].strip() for place in places)) for number, cells in lines[1:]]


def in_words(wanted: tuple[str, ...]) -> str:
    """The columns of a file of corrections, in words."""
    return " and ".join(f"a column {name!r}" for name in wanted)


def places_of(files: FileList, file: str, key: str, rows: Sequence[Row]) -> dict[str, int]:
    """Where the files of the rows stand in the list, by name. Raises UserError, naming rows, for those that do not."""
    named = {row.file for row in rows}
    found = {name: place for place, packed in enumerate(files.names) if (name := shown(packed)) in named}
    unknown = [row for row in rows if row.file not in found]
    if unknown:
        lines = (f"row {row.number}: {row.file or 'no file'}" for row in unknown)
        some = shown(files.names[0]) if len(files.names) else "none"
        raise UserError(
            f"{key}: {many(len(unknown), f'file of {file} is', f'files of {file} are')} not among the images of "
            f"{files.source}; write paths as they stand there, such as {some}:\n{first_ten(lines, len(unknown))}"
        )
    return found


def labels_of(files: FileList, file: str, rows: Sequence[Row]) -> list[int]:
    """The class index that each row gives. Raises UserError for words that are no class, and two for one file."""
    place = {name: label for label, name in enumerate(files.classes)}
    wrong = [row for row in rows if row.label not in place]
    if wrong:
        lines = first_ten([f"row {row.number}: {row.file}: {row.label!r}" for row in wrong])
        raise UserError(
            f"data.relabel: {many(len(wrong), f'label of {file} is', f'labels of {file} are')} no class "
            f"({nearest(wrong[0].label, files.classes)}):\n{lines}"
        )
    given: dict[str, str] = {}
    for row in rows:
        if given.setdefault(row.file, row.label) != row.label:
            raise UserError(
                f"data.relabel: row {row.number} of {file} gives {row.file} the label {row.label!r}, and an earlier "
                f"row {given[row.file]!r}; keep one"
            )
    return [place[row.label] for row in rows]
