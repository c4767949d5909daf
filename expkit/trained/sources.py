"""Where unlabelled images come from: a folder, a zip, a list, files by name or glob, paths on standard input."""

import glob
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from expkit.data.images.decode import decode
from expkit.data.images.formats import refused_kind
from expkit.data.images.reading import Reading
from expkit.data.links import Links
from expkit.data.listing import ARCHIVES, Found, is_image, list_directory, scan, sorted_out
from expkit.data.packed import Packed, shown
from expkit.data.trees.left_out import notes_of_left_out
from expkit.errors import Unavailable, UserError
from expkit.trained.lists import TABLES, TEXTS, Listed, lines_of, listed
from expkit.trained.zips import Zip

STANDARD_INPUT = "-"
DEEP = re.compile(r"(.*?/)?\*\*(?:/(.*))?", re.DOTALL)
"""A pattern with `**` as a part of its own: what stands before and after the first."""
LOOKED_AT = 100
"""Paths of a list that are looked for, to tell whether it is read from the right folder."""


class Source(Protocol):
    """Images by name, in an order that is the same each time."""

    @property
    def total(self) -> int | None:
        """How many there are; None where nobody knows yet."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What was left out, to be told."""
        ...

    def names(self) -> Iterator[bytes]:
        """What leads to each image, as the predictions have it."""
        ...

    def read(self, name: bytes, side: int | None, reading: Reading) -> Image.Image:
        """Decode an image, RGB and upright, no side below `side`, with whatever the reader raises."""
        ...

    def check(self) -> None:
        """Raise Unavailable where the whole source is gone."""


@dataclass(frozen=True)
class Files:
    """Image files, named by paths from `root`, or from the working directory."""

    listing: Callable[[], Iterator[bytes]]
    """Gives the paths, from the first on."""
    root: bytes = b""
    total: int | None = None
    notes: Sequence[str] = field(default=())

    def names(self) -> Iterator[bytes]:
        """What leads to each image from the root."""
        return self.listing()

    def read(self, name: bytes, side: int | None, reading: Reading) -> Image.Image:
        """Decode a file as `Source` says."""
        path = os.path.join(self.root, name)
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, a device read for ever
            raise ValueError("has a name that leads to no file, but to a folder or a device")
        return decode(path, side, reading)

    def check(self) -> None:
        """Raise Unavailable where the root is gone."""
        if self.root and not os.path.isdir(self.root):
            raise Unavailable(f"task.source: the folder {shown(self.root)} is gone: bring it back and go on")


def source_of(given: str | Sequence[str], column: str | None = None, root: str | None = None) -> Source:
    """The images that `task.source` names; `column` and `root` say how a list is read.

    Raises UserError where there is nothing there, or no image in it.
    """
    if given == STANDARD_INPUT:
        refuse({"column": column}, "a table")
        return standard_input(root)
    if isinstance(given, str) and os.path.isfile(given) and given.lower().endswith(TABLES + TEXTS):
        return from_list(listed(given, column), given, root)
    refuse({"column": column, "root": root}, "a list")
    if not isinstance(given, str):
        return several(given)
    if os.path.isdir(given):
        return folder(given)
    if os.path.exists(given):
        return file(given)
    if glob.has_magic(given):
        return globbed(given)
    raise UserError(
        f"task.source: {given or repr(given)} does not exist; give a folder, a file, a list (.csv, .txt), a zip, or - "
        "for paths from standard input"
    )


def refuse(keys: Mapping[str, str | None], kind: str) -> None:
    """Raise UserError for a key that only a source of another kind has a use for."""
    for key, value in keys.items():
        if value is not None:
            raise UserError(f"task.{key}={value} is for {kind}, which task.source is not: leave it out")


def folder(path: str) -> Files:
    """All images below a folder, named from there."""
    found, links = Found(), Links([os.fsencode(path)])
    scan(os.fsencode(path), b"", found, links=links)
    links.report()
    notes = notes_of_left_out(path, [(b"", found)])
    if not found.count:
        what = f"; {notes[0]}" if notes else ", and no other file"
        raise UserError(f"task.source: there is no image below {path}{what}")
    names = Packed.from_text(b"".join(found.texts))
    return Files(names.__iter__, os.fsencode(path), len(names), notes)


def file(path: str) -> Source:
    """What a file holds that is no list, by its suffix: itself, or a zip with images."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".zip":
        return Zip.at(path)
    if is_image(os.fsencode(path)):
        return several([path])
    kind = refused_kind(suffix)
    if os.fsencode(suffix) in ARCHIVES:
        reason = "is an archive that is not looked into: unpack it, or give a .zip"
    elif kind:
        reason = f"is an image of a kind that is not read ({kind}): convert it to PNG or TIFF"
    else:
        reason = f"is neither an image by its suffix, nor a list ({', '.join(TABLES + TEXTS)}), nor a .zip"
    raise UserError(f"task.source: {path} {reason}")


def several(paths: Sequence[str]) -> Files:
    """Files by name. Raises UserError for one that is not there."""
    if not paths:
        raise UserError("task.source is an empty list: name the images")
    for path in paths:
        if not os.path.isfile(path):
            what = "is a folder; give it alone, without brackets" if os.path.isdir(path) else "does not exist"
            raise UserError(f"task.source: {path} {what}")
    names = Packed.from_names(map(os.fsencode, paths))
    return Files(names.__iter__, total=len(names))


def globbed(pattern: str) -> Files:
    """The files that a pattern leads to, sorted; `**` stands for any number of folders."""
    links = Links()
    names = sorted({os.fsencode(path) for path in fitting(pattern, links) if os.path.isfile(path)})
    links.report()
    if not names:
        raise UserError(f"task.source: no file fits the pattern {pattern}; a pattern stands between quotes")
    packed = Packed.from_names(names)
    return Files(packed.__iter__, total=len(packed))


def fitting(pattern: str, links: Links) -> Iterator[str]:
    """The paths that a pattern leads to, some more than once; `links` decides which links `**` follows."""
    deep = DEEP.fullmatch(pattern)
    if deep is None:
        yield from glob.iglob(pattern)
        return
    before, after = deep[1] or "", deep[2] or "*"
    for base in glob.iglob(before) if before else [""]:
        for path in folders(os.fsencode(base), links):
            yield from fitting(os.path.join(glob.escape(os.fsdecode(path)), after), links)


def folders(path: bytes, links: Links) -> Iterator[bytes]:
    """A folder and all below it, hidden ones left out."""
    yield path
    here = path or b"."
    for name in sorted_out(here, set(list_directory(here)))[0]:
        with links.entering(os.path.join(path, name)) as is_open:
            if is_open:
                yield from folders(os.path.join(path, name), links)


def from_list(names: Listed, path: str, root: str | None) -> Files:
    """The files of a list, named as in it; relative paths lead from `root`, or else from where the list lies."""
    base = os.path.dirname(path) if root is None else root
    total = check_list(names, path, base, root)
    return Files(names, os.fsencode(base), total)


def check_list(names: Listed, path: str, base: str, root: str | None) -> int:
    """How many paths a list has. Raises UserError where it has none, or the first ones lead nowhere."""
    total = 0
    first: list[bytes] = []
    for total, name in enumerate(names(), 1):
        if total <= LOOKED_AT:
            first.append(name)
    if not total:
        raise UserError(f"task.source: {path} is empty: there is no path in it")
    if any(os.path.exists(os.path.join(os.fsencode(base), name)) for name in first):
        return total
    here = root is None and any(os.path.exists(name) for name in first)
    advice = "but from the working directory they do: give task.root=." if here else "give the folder as task.root=DIR"
    where = base or "the working directory"
    raise UserError(f"task.source: {path} names {shown(first[0])} first, which does not lie in {where}, {advice}")


def standard_input(root: str | None) -> Files:
    """Paths from standard input, a line each or, as `find -print0` gives them, each ended by NUL."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("task.source=- reads paths from standard input, and nothing is piped into it: find DIR | ...")
    if root is not None and not Path(root).is_dir():
        raise UserError(f"task.root: {root} is no folder")
    return Files(input_lines, os.fsencode(root or ""))


def input_lines() -> Iterator[bytes]:
    """The paths on standard input."""
    return lines_of(sys.stdin.buffer)
