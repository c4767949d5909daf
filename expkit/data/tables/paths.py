"""From the cells of a table to paths below the root; where the files are elsewhere, the keys that would find them."""

import functools
import itertools
import os
import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from expkit.data.images.formats import READ
from expkit.data.tables.file import settings
from expkit.errors import UserError
from expkit.words import many

LOOKED_AT = 500
"""Rows whose files are looked for before all are."""
ENOUGH = 0.9
"""The share of them that other keys must find to be suggested: some files may really be missing."""
MOST_FOLDERS = 40
"""Folders that are tried as the root."""


@dataclass(frozen=True)
class Places:
    """How a cell becomes the path of a file."""

    root: str
    strip: str = ""
    suffix: str = ""
    loose: bool = False

    @functools.cached_property
    def bases(self) -> tuple[str, ...]:
        """How an absolute path below the root may begin."""
        return os.path.join(os.path.abspath(self.root), ""), os.path.join(os.path.realpath(self.root), "")

    def path_of(self, cell: str) -> str:
        """The path below the root that a cell means, as it is written; one that leads out stays as it is."""
        if not cell:
            return ""
        path = cell.removeprefix(self.strip) + self.suffix
        if self.loose:
            path = path.replace("\\", "/")
        path = posixpath.normpath(path)
        if path.startswith("/"):
            path = next((path[len(base) :] for base in self.bases if path.startswith(base)), path)
        return path

    def paths_of(self, cells: Sequence[str]) -> list[str]:
        """The paths of all cells; with `loose`, as the files are spelt."""
        paths = map(self.path_of, cells)
        return list(map(Speller(self.root).spelt, paths) if self.loose else paths)


def leads_out(path: str) -> bool:
    """Whether a normalized path is absolute or climbs above the root, or is none at all."""
    return path.startswith(("/", "../")) or path == ".." or "\0" in path


def is_there(root: str, path: str) -> bool:
    """Whether something lies at a path below the root."""
    return not leads_out(path) and os.path.exists(os.path.join(root, path))


def folded(name: str) -> str:
    """A name without case and Unicode form (NFC, NFD)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@dataclass
class Speller:
    """Finds how a file is spelt on disk; lists each folder once."""

    root: str
    folders: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def spelt(self, path: str) -> str:
        """The path as the file system spells it, unchanged where nothing there is like it.

        Raises UserError where two files are.
        """
        folder, name = os.path.split(path)
        folder = self.spelt(folder) if folder and not leads_out(path) else folder
        if leads_out(path) or not name:
            return path
        found = self.names_in(folder).get(folded(name), [])
        if len(found) > 1 and name not in found:
            raise UserError(
                f"data.paths=loose finds {' and '.join(map(repr, sorted(found)[:3]))} in {folder or self.root} for "
                f"{path!r}; rename one of them, or spell the path as the file and set data.paths=exact"
            )
        return os.path.join(folder, name if name in found or not found else found[0])

    def names_in(self, folder: str) -> dict[str, list[str]]:
        """What lies in a folder, by folded name."""
        if folder not in self.folders:
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(os.path.join(self.root, folder)):
                    names.setdefault(folded(name), []).append(name)
            except OSError:
                pass  # what cannot be listed has no files, which the check of all files tells
            self.folders[folder] = names
        return self.folders[folder]


def check_places(file: str, places: Places, cells: Sequence[str], paths: Sequence[str], numbers: Sequence[int]) -> None:
    """Look for some of the files; raise UserError with the keys that would find them, or where none is there."""
    chosen = np.unique(np.linspace(0, len(cells) - 1, LOOKED_AT).astype(int)).tolist()
    chosen = [row for row in chosen if cells[row]]
    missing = [row for row in chosen if not is_there(places.root, paths[row])]
    if not missing or len(chosen) < 2:
        return
    first = missing[0]
    example = f"such as row {numbers[first]}: {cells[first]}"
    looked = "" if len(chosen) == len(cells) else f" (of the {len(chosen)} looked at)"
    there = many(len(missing), f"row{looked} of {file} names a file", f"rows{looked} of {file} name files")
    problem = f"{there} that {'is' if len(missing) == 1 else 'are'} not there, {example}"
    tried = ways(places, [cells[row] for row in chosen], file)
    if len(missing) < len(chosen) / 2:
        tried = [replace(places, loose=True)]  # other keys would lose the files that are found
    better = better_places(places, tried, [cells[row] for row in chosen], [cells[row] for row in missing[:3]])
    if better:
        raise UserError(f"{problem}; with these keys they are found: {settings(changes(places, better))}")
    if len(missing) == len(chosen) and not leads_out(paths[first]):
        if cells[first].lower().startswith(("http://", "https://", "s3://", "gs://")):
            raise UserError(f"{problem}: these are addresses; download the files and name their paths")
        full = os.path.abspath(os.path.join(places.root, paths[first]))
        raise UserError(
            f"{problem} (looked for as {full}); data.root is the folder that paths start from, data.suffix is added to "
            "each, data.strip cut from its start"
        )


def changes(old: Places, new: Places) -> dict[str, str]:
    """The keys that lead from one way of finding files to another."""
    found = {}
    if new.root != old.root:
        found["data.root"] = new.root
    if new.strip != old.strip:
        found["data.strip"] = new.strip
    if new.suffix != old.suffix:
        found["data.suffix"] = new.suffix
    if new.loose != old.loose:
        found["data.paths"] = "loose"
    return found


def better_places(places: Places, ways: Iterable[Places], cells: list[str], missing: list[str]) -> Places | None:
    """The fewest changes of keys with which nearly all of these files are found, some of `missing` among them."""
    spellers: dict[str, Speller] = {}

    def found(tried: Places, cell: str) -> bool:
        path = tried.path_of(cell)
        if tried.loose and not leads_out(path):
            path = spellers.setdefault(tried.root, Speller(tried.root)).spelt(path)
        return is_there(tried.root, path)

    for tried in sorted(ways, key=lambda tried: (len(changes(places, tried)), tried.strip != places.strip)):
        with suppress(UserError):  # two files may be alike there
            hit = any(found(tried, cell) for cell in missing)
            if hit and sum(found(tried, cell) for cell in cells) >= ENOUGH * len(cells):
                return tried
    return None


def ways(places: Places, cells: list[str], file: str) -> list[Places]:
    """Other roots, suffixes, starts to cut and spellings, in all combinations."""
    given = os.path.splitext(cells[0])[1].lower() in READ.split()
    endings = [] if given else [spelt for suffix in READ.split() for spelt in (suffix, suffix.upper())]
    suffixes = dict.fromkeys([places.suffix, "", *endings])
    strips = dict.fromkeys([places.strip, "", *common_starts(cells)])
    absolute = [start for start in common_starts(cells)[-1:] if start.startswith("/")]
    roots = dict.fromkeys([places.root, *absolute, *other_roots(places.root, file)])
    kinds = [places.loose] if places.loose else [False, True]
    return [Places(*way) for way in itertools.product(roots, strips, suffixes, kinds)]


def common_starts(cells: list[str]) -> list[str]:
    """The folders that all cells begin with, the shortest first."""
    start = os.path.commonprefix(cells)  # noqa: RUF071  # the table may be of a system with other separators
    return [start[: place + 1] for place, sign in enumerate(start) if sign in "/\\"][:12]


def other_roots(root: str, file: str) -> list[str]:
    """Folders near the table, the root and the working directory."""
    bases = [".", os.path.dirname(file) or ".", root]
    near = list(bases)
    for base in bases:
        near += [os.path.normpath(os.path.join(base, *[".."] * up)) for up in (1, 2)]
    for base in dict.fromkeys(bases):
        near += itertools.islice(subfolders_of(base), MOST_FOLDERS)
    return [folder for folder in dict.fromkeys(near) if os.path.abspath(folder) != "/"]


def subfolders_of(folder: str, depth: int = 2) -> Iterator[str]:
    """The folders below one, the nearest first."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[:1] != ".")
    except OSError:
        return
    paths = [os.path.join(folder, name) for name in names] if folder != "." else names
    yield from paths
    if depth > 1:
        for path in paths:
            yield from subfolders_of(path, depth - 1)
