"""What a file is that was given for a table: there or not, of text or not, and in which encoding."""

import itertools
import os

from expkit.check import nearest
from expkit.command import override, pasted
from expkit.errors import UserError

SIGNATURES = {
    b"PK\x03\x04": "an Excel workbook (or another zip archive); save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save the sheet as CSV in UTF-8",
    b"PAR1": "a Parquet file; write it as CSV, as with pandas.read_parquet(FILE).to_csv('labels.csv', index=False)",
    b"ARROW1": "an Arrow file; write it as CSV, as with pandas.read_feather(FILE).to_csv('labels.csv', index=False)",
    b"\x1f\x8b": "compressed; unpack it with gunzip",
    b"BZh": "compressed; unpack it with bunzip2",
    b"\xfd7zXZ": "compressed; unpack it with unxz",
    b"SQLite format 3": "an SQLite database; write the table as CSV",
    b"\x89HDF": "an HDF5 file; write the table as CSV",
    b"\x93NUMPY": "a NumPy array; choose data=array data.images=FILE.npy data.labels=FILE.npy",
    b"\x80\x04": "a pickle, which could run code; write the table as CSV",
    b"\x80\x05": "a pickle, which could run code; write the table as CSV",
    b"\xff\xd8\xff": "an image; data.file is the table that lists the images",
    b"\x89PNG": "an image; data.file is the table that lists the images",
    b"%PDF": "a PDF; save the table as CSV in UTF-8",
    b"{": "JSON; write it as CSV, as with pandas.read_json(FILE).to_csv('labels.csv', index=False)",
    b"[": "JSON; write it as CSV, as with pandas.read_json(FILE).to_csv('labels.csv', index=False)",
    b"<": "a web page or XML; save the table as CSV in UTF-8",
}
"""How files begin that are given for tables."""


def refuse_other_files(file: str, root: str | None, encoding: str) -> None:
    """Raise UserError for what is not there, is no table of text, or is of another encoding by its first bytes."""
    if not os.path.isfile(file):
        raise UserError(f"data.file: {os.path.abspath(file)} {explain_absence(file, root)}")
    with open(file, "rb") as handle:
        head = handle.read(4096)
    kind = next(
        (kind for start, kind in SIGNATURES.items() if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(start)), None
    )
    if kind:
        raise UserError(f"data.file: {file} is {kind}")
    wide = encoding.startswith(("utf-16", "utf-32"))
    if b"\0" in head and not wide:
        guess = guess_encoding(file)
        hint = f"looks like {guess}: write {setting('data.encoding', guess)}" if guess else "is no text"
        raise UserError(f"data.file: {file} {hint}")
    if encoding != "utf-8-sig" and (wide or not head.isascii()) and guess_encoding(file) == "utf-8":
        raise UserError(f"data.file: {file} is UTF-8, not {encoding}: leave data.encoding out")


def explain_absence(file: str, root: str | None) -> str:
    """Why there is no such file, and what there is instead."""
    if os.path.isdir(file):
        return f"is a folder, no table; for a tree of images choose data=folders {setting('data.root', file)}"
    others = [
        os.path.join(root or "", file),
        os.path.join(root or "", os.path.basename(file)),
        os.path.expanduser(file),
    ]
    for other in others:
        if os.path.isfile(other):
            return f"does not exist, but {other} does; write {setting('data.file', other)}"
    folder = os.path.dirname(file) or "."
    near = [
        name
        for name in (os.listdir(folder) if os.path.isdir(folder) else ())
        if name.endswith((".csv", ".tsv", ".txt"))
    ]
    what = "does not exist (data.file starts from the working directory)"
    return f"{what}; {nearest(os.path.basename(file), near).replace('it has', 'that folder has')}" if near else what


def guess_encoding(file: str) -> str | None:
    """The encoding of a file, as far as its bytes tell."""
    with open(file, "rb") as handle:
        data = handle.read()
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in data:
        odd, even = data[1:4096:2].count(0), data[0:4096:2].count(0)
        if min(odd, even) >= max(odd, even) / 4:
            return None
        return "utf-16-le" if odd > even else "utf-16-be"
    for encoding in ("utf-8", "cp1252"):
        try:
            data.decode(encoding)
            return encoding
        except UnicodeError:
            continue
    return None


def setting(key: str, value: str) -> str:
    """`key=value`, ready to paste."""
    return pasted(override(key, value))


def settings(found: dict[str, str]) -> str:
    """Several of them in a line."""
    return " ".join(itertools.starmap(setting, found.items()))
