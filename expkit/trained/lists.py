"""Lists of image files: a path a line, or a column of a table; read as a stream, each time they are walked over."""

import csv
import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedReader
from typing import BinaryIO

from expkit.check import nearest
from expkit.data.listing import is_image
from expkit.errors import UserError

TABLES = (".csv", ".tsv")
TEXTS = (".txt", ".lst", ".list")
COLUMNS = ("file", "path", "image", "filename", "file_name", "filepath", "image_path")
"""What the column with the paths is called, where nobody says."""
BOM = b"\xef\xbb\xbf"
BLOCK = 1 << 16

Listed = Callable[[], Iterator[bytes]]
"""Gives the paths of a list, from the first on."""


def listed(path: str, column: str | None) -> Listed:
    """The paths in a list, of a table those in `column`. Raises UserError where it cannot be read."""
    try:
        with open(path, "rb") as handle:
            refuse_wide(handle.read(2), path)
    except OSError as error:
        raise UserError(f"task.source: {path} cannot be opened ({error.strerror})") from None
    if path.lower().endswith(TABLES):
        return partial(cells, path, column)
    if column is not None:
        raise UserError(f"task.column={column} is for tables (.csv, .tsv); {path} is read as a path a line")
    return partial(lines, path)


def refuse_wide(start: bytes, what: str) -> None:
    """Raise UserError for a list that begins as text of UTF-16 does, which PowerShell writes."""
    if start[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        raise UserError(f"task.source: {what} is written in UTF-16: save it as UTF-8 (PowerShell: -Encoding utf8)")


def lines(path: str) -> Iterator[bytes]:
    """The lines of a text file."""
    with open(path, "rb") as handle:
        yield from lines_of(handle)


def lines_of(stream: BufferedReader | BinaryIO) -> Iterator[bytes]:
    """Names in a stream, each on a line or, where there is NUL in it, ended by that; blank ones are left out.

    A name is given as soon as its end is read.
    """
    read = getattr(stream, "read1", stream.read)
    rest, end = b"", b""
    while block := read(BLOCK):
        if not end:
            refuse_wide(block, "standard input")
            block = block.removeprefix(BOM)
            end = b"\0" if b"\0" in block else b"\n"
        *whole, rest = (rest + block).split(end)
        yield from filter(None, map(stripped, whole))
    yield from filter(None, [stripped(rest)])


def stripped(line: bytes) -> bytes:
    """A name without the return that some systems put before the end of a line."""
    return line.removesuffix(b"\r")


def cells(path: str, column: str | None) -> Iterator[bytes]:
    """The cells of a column of a table. Raises UserError, naming the row, where there is none."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
        first = handle.readline()
        handle.seek(0)
        rows = csv.reader(handle, delimiter=separator(path, first), strict=True)
        try:
            header = [name.strip() for name in next(rows, [])]
            place = place_of(path, header, column)
            if place is None:  # a table of one column without a name
                place = 0
                yield os.fsencode(header[0])
            for row in filter(None, rows):
                if place >= len(row) or not row[place].strip():
                    raise UserError(f"task.source: line {rows.line_num} of {path} has no path in the column of paths")
                yield os.fsencode(row[place])
        except csv.Error as error:
            raise UserError(f"task.source: line {rows.line_num} of {path} cannot be read ({error})") from None


def separator(path: str, first: str) -> str:
    """What separates the cells of a table, by its suffix and first line."""
    if path.lower().endswith(".tsv"):
        return "\t"
    return max(",;\t", key=first.count)


def place_of(path: str, header: list[str], column: str | None) -> int | None:
    """Which column holds the paths; None where there is one, and it has no name."""
    if column is not None:
        if column not in header:
            raise UserError(f"task.column: {path} has no column {column!r}; {nearest(column, header)}")
        return header.index(column)
    named = [name for name in header if name.lower() in COLUMNS]
    if len(named) == 1:
        return header.index(named[0])
    if len(header) == 1:
        return None if is_image(os.fsencode(header[0])) else 0
    if not header:
        raise UserError(f"task.source: {path} is empty")
    what = f"several ({', '.join(named)})" if named else f"none of its columns ({', '.join(header[:10])})"
    raise UserError(f"task.source: which column of {path} has the paths? {what} may: give task.column=NAME")
