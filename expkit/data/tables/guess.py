"""How a table seems to be written that cannot be read as the config says: which keys would read it, ready to paste."""

import csv
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from expkit.check import nearest
from expkit.command import pasted
from expkit.data.images.formats import READ
from expkit.data.label_doubts import flag_columns
from expkit.data.split import split_of
from expkit.data.tables.file import settings

NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}
"""Separators by the name that passes through any shell."""
ROWS = 20
"""Rows that are looked at."""
USUAL = {
    "data.file_column": "file filename file_name filepath file_path path image image_name image_path image_file img "
    "name image_id id",
    "data.label_column": "label labels class class_name category target y breed species diagnosis label_name classname",
    "data.split_column": "split set subset partition fold usage dataset phase",
    "data.group_column": "group group_id patient patient_id subject subject_id person burst camera site study",
}
"""What people call the columns, the likeliest first."""


@dataclass(frozen=True)
class Layout:
    """How a table is read."""

    file: str
    separator: str
    encoding: str
    names: Sequence[str] = ()
    """Names of the columns of a table without a header."""

    def rows(self) -> list[list[str]]:
        """The first rows."""
        with open(self.file, encoding=self.encoding, newline="") as handle:
            reader = csv.reader(handle, delimiter=self.separator, skipinitialspace=True)
            return [[cell.strip() for cell in cells] for cells, _ in zip(reader, range(ROWS), strict=False) if cells]


def explain_columns(layout: Layout, wanted: dict[str, str], missing: str) -> str:
    """Why the table has not the column that the key `missing` names, and the keys that would read it."""
    rows = layout.rows()
    problem = f"{layout.file} has no column {wanted[missing]!r}"
    if layout.names:
        return f"{problem} among data.columns; {nearest(wanted[missing], layout.names)}"
    above = rows_above_header(layout, list(wanted.values()))
    if above:
        return f"{problem} in row 1, but in row {above + 1}; remove what stands above"
    other = better_separator(layout, list(wanted.values()))
    found = {}
    if other:
        found["data.separator"] = NAMES[other]
        problem += f" with data.separator={NAMES.get(layout.separator, layout.separator)}"
        rows = replace(layout, separator=other).rows()
    header = rows[0]
    if all(column in header for column in wanted.values()):
        return f"{problem}; write {settings(found)}"
    if len(header) == 1:
        return f"{layout.file} has one column, which leaves none for labels; add one, or take folders (data=folders)"
    if looks_like_data(rows):
        names = pasted(f"data.columns=[{','.join(guess_names(rows, wanted))}]")
        keys = f"{settings(found)} {names}".strip()
        return f"{problem}: row 1 ({', '.join(header)}) looks like data; write {keys}"
    found |= guess_columns(rows, wanted)
    write = f"; write {settings(found)}" if found else ""
    flags = flag_columns(header, rows[1:])
    if wanted["data.label_column"] not in header and "data.label_column" not in found and len(flags) > 1:
        return (
            f"{layout.file} has no column {wanted['data.label_column']!r}; its columns {', '.join(flags[:10])} hold 0 "
            "and 1 (one-hot), or are several labels an image, which cannot be trained yet; make one column of the "
            f"names, as with pandas: table['label'] = table[COLUMNS].idxmax(axis=1){write}"
        )
    return f"{problem}; {nearest(wanted[missing], header)}{write}"


def rows_above_header(layout: Layout, wanted: list[str]) -> int | None:
    """How many rows, such as `sep=;` or a comment, stand above the names of the columns."""
    for sign in (layout.separator, *NAMES):
        for place, row in enumerate(replace(layout, separator=sign).rows()):
            if place and all(column in row for column in wanted):
                return place
    return None


def better_separator(layout: Layout, wanted: list[str]) -> str | None:
    """A separator that gives the columns that are wanted, or else several columns where the one given gives one."""
    found = {sign: replace(layout, separator=sign).rows() for sign in NAMES if sign != layout.separator}
    regular = {
        sign: rows for sign, rows in found.items() if rows and {len(row) for row in rows} == {len(rows[0])} != {1}
    }
    for sign, rows in regular.items():
        if all(column in rows[0] for column in wanted):
            return sign
    if len(layout.rows()[0]) > 1 or not regular:
        return None
    return max(regular, key=lambda sign: len(regular[sign][0]))


def is_image_name(cell: str) -> bool:
    """Whether a cell ends like the name of an image file."""
    return os.path.splitext(cell)[1].lower() in READ.split()


def looks_like_data(rows: list[list[str]]) -> bool:
    """Whether the first row is one of many instead of names: a file, a number, or a word that comes again below."""
    below = list(zip(*(row for row in rows[1:] if len(row) == len(rows[0])), strict=True)) or [()] * len(rows[0])
    return any(
        is_image_name(cell) or cell.isdecimal() or (cell and cell in column)
        for cell, column in zip(rows[0], below, strict=True)
    )


def guess_names(rows: list[list[str]], wanted: dict[str, str]) -> list[str]:
    """Names for the columns of a table that has none: the file where image names stand, then the others in order."""
    width = len(rows[0])
    variety = [len({row[place] for row in rows if len(row) > place}) for place in range(width)]
    file = next((place for place, cell in enumerate(rows[0]) if is_image_name(cell)), 0)
    # Labels come again and again; a column of one text alone tells nothing.
    rest = sorted(
        (place for place in range(width) if place != file), key=lambda place: (variety[place] == 1, variety[place])
    )
    names = [f"column_{number}" for number in range(1, width + 1)]
    names[file] = wanted["data.file_column"]
    if "data.split_column" in wanted and len(rest) > 1:
        full = [row for row in rows if len(row) == width]
        split = next((place for place in rest if all(split_of(row[place]) is not None for row in full)), rest[-1])
        names[split] = wanted["data.split_column"]
        rest.remove(split)
    for place in rest[:1]:
        names[place] = wanted["data.label_column"]
    return names


def guess_columns(rows: list[list[str]], wanted: dict[str, str]) -> dict[str, str]:
    """The keys that name columns which the table has, for those of `wanted` that it has not."""
    header = rows[0]
    free = [name for name in header if name and name not in wanted.values()]
    found = {}
    for key, column in wanted.items():
        if column in header:
            continue
        folded = {name.casefold(): name for name in free}
        usual = [column.casefold(), *USUAL[key].split()]
        usual += difflib.get_close_matches(column.casefold(), folded, n=1)
        name = next((folded[word] for word in usual if word in folded), None)
        if name is None and key == "data.file_column":
            name = next((name for name in free if any(map(is_image_name, cells_of(rows, name)))), None)
        if name is None and key == "data.label_column" and len(free) == 1:
            name = free[0]
        if name is not None:
            found[key] = name
            free.remove(name)
    return found


def cells_of(rows: list[list[str]], name: str) -> list[str]:
    """The cells of a column below its name."""
    place = rows[0].index(name)
    return [row[place] for row in rows[1:] if len(row) > place]
