"""A table of text, read as its keys say; where it is written otherwise, the keys that would read it are named."""

import codecs
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from expkit.data.tables.file import guess_encoding, refuse_other_files, setting
from expkit.data.tables.guess import Layout, explain_columns
from expkit.errors import UserError, first_ten
from expkit.words import many

NumberedRows = Iterator[tuple[int, list[str]]]
"""Each row's number, and its cells."""
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
"""Names of separators that a shell or Hydra would take for something else."""
SAMPLE = 200
"""The first rows, and every further one of that number, are kept whole, to be looked at for doubts."""


@dataclass(frozen=True)
class Table:
    """Some columns of a table."""

    file: str
    header: list[str]
    numbers: list[int]
    """The number of each row as a spreadsheet counts: the header is row 1. Blank rows are left out."""
    columns: dict[str, list[str]]
    """The cells of each column that was asked for, without spaces around them."""
    sample: list[list[str]]
    """The first rows, whole."""


def read_table(
    file: str, wanted: dict[str, str], *, root: str | None, separator: str, encoding: str, names: Sequence[str] | None
) -> Table:
    """Read the columns `wanted`, by the config keys that name them; `names` are those of a table without a header.

    Raises UserError, naming rows or the keys that would read the table, for one that is written otherwise.
    """
    sign = separator_of(separator)
    codec = codec_of(encoding)
    refuse_other_files(file, root, codec)
    layout = Layout(file, sign, codec, list(names or ()))
    rows = numbered_rows(layout)
    try:
        header = header_of(layout, rows, wanted)
        return read_columns(file, header, [*dict.fromkeys(wanted.values())], rows)
    except UnicodeError as error:
        guess = guess_encoding(file)
        hint = f"write {setting('data.encoding', guess)}" if guess else "data.encoding says how it is written"
        if guess == "cp1252":
            hint = f"its language may have one of its own (cp1251, gbk, shift_jis, ...), else {hint}"
        raise UserError(f"data.file: {file} cannot be read as CSV in {encoding}: {error}; {hint}") from None
    except OSError as error:
        raise UserError(f"data.file: {file} cannot be read as CSV: {error}") from None


def separator_of(separator: str) -> str:
    """The character between columns, by itself or by name."""
    sign = "\t" if separator in (r"\t", r"\\t") else SEPARATORS.get(separator, separator)
    if len(sign) != 1 or sign in '"\r\n':
        raise UserError(f"data.separator must be one character, or {', '.join(SEPARATORS)}, got {separator!r}")
    return sign


def codec_of(encoding: str) -> str:
    """The encoding as Python calls it. Raises UserError for one that it does not know."""
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        usual = "usual ones are utf-8, utf-16 and cp1252 (Windows)"
        raise UserError(f"data.encoding={encoding} is no encoding; {usual}") from None
    return "utf-8-sig" if codec == "utf-8" else codec  # a byte-order mark would stick to the first column


def numbered_rows(layout: Layout) -> NumberedRows:
    """Rows that are not blank, with their number."""
    with open(layout.file, encoding=layout.encoding, newline="") as handle:
        reader = csv.reader(handle, delimiter=layout.separator, skipinitialspace=True, strict=True)
        try:
            yield from ((number, cells) for number, cells in enumerate(reader, 1) if cells)
        except csv.Error as error:
            raise UserError(
                f"data.file: line {reader.line_num} of {layout.file} cannot be read ({error}); is a double quote not "
                "closed, or not doubled within quotes?"
            ) from None


def header_of(layout: Layout, rows: NumberedRows, wanted: dict[str, str]) -> list[str]:
    """The names of the columns, without reading further than the row that holds them."""
    if layout.names:
        header = list(layout.names)
        if layout.rows()[:1] == [header]:
            raise UserError(f"row 1 of {layout.file} holds the names of data.columns itself; leave data.columns out")
    else:
        header = [name.strip() for name in next(rows, (0, []))[1]]
        if not header:
            raise UserError(f"data.file: {layout.file} is empty")
    for key, column in wanted.items():
        if header.count(column) > 1:
            raise UserError(f"{layout.file} has the column {column!r} {header.count(column)} times; rename one of them")
        if column not in header:
            raise UserError(explain_columns(layout, wanted, key))
    return header


def read_columns(file: str, header: list[str], wanted: list[str], rows: NumberedRows) -> Table:
    """The rows below the header."""
    places = [header.index(column) for column in wanted]
    columns: list[list[str]] = [[] for _ in wanted]
    pairs = [(column.append, place) for column, place in zip(columns, places, strict=True)]
    numbers: list[int] = []
    sample: list[list[str]] = []
    wrong: list[tuple[int, int]] = []
    width = len(header)
    for number, cells in rows:
        if len(cells) != width:
            wrong.append((number, len(cells)))
            continue
        numbers.append(number)
        for append, place in pairs:
            append(cells[place].strip())
        if len(sample) < SAMPLE or number % SAMPLE == 0:
            sample.append(cells)
    if wrong:
        refuse_widths(file, header, wrong, len(numbers))
    if not numbers:
        raise UserError(f"{file} has no rows below its header")
    table = Table(file, header, numbers, dict(zip(wanted, columns, strict=True)), sample)
    refuse_line_breaks(table)
    return table


def refuse_widths(file: str, header: list[str], wrong: list[tuple[int, int]], right: int) -> None:
    """Raise UserError for rows with more or fewer cells than the header."""
    lines = first_ten((f"row {number}: {many(width, 'column', 'columns')}" for number, width in wrong), len(wrong))
    hint = "put text that holds the separator in double quotes"
    if not right and {width for _, width in wrong} == {len(header) + 1}:
        hint = "if its first column is an index without a name, give it one in the header"
    which = many(len(wrong), f"row of {file} has", f"rows of {file} have")
    wanted = many(len(header), "column", "columns")
    raise UserError(f"{which} not the {wanted} of its header; {hint}:\n{lines}")


def refuse_line_breaks(table: Table) -> None:
    """Raise UserError for cells that run over several lines: after a quote that is not closed, rows would vanish."""
    broken = [
        (table.numbers[index], cell)
        for cells in table.columns.values()
        for index, cell in enumerate(cells)
        if "\n" in cell or "\r" in cell
    ]
    if broken:
        lines = (f"row {number}: {cell[:60]!r}" for number, cell in broken)
        raise UserError(
            f"{many(len(broken), f'cell of {table.file} runs', f'cells of {table.file} run')} over several lines; "
            "is a double quote not closed?\n"
            f"{first_ten(lines, len(broken))}"
        )
