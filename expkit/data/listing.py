"""The image files below a folder: hidden ones left out, sorted, about as fast as the bare directory walk."""

import os
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from expkit.data.images.formats import READ, spellings
from expkit.data.links import Links
from expkit.data.packed import NUL
from expkit.errors import UserError

SPELLINGS = spellings(READ.split())
"""So that one look-up decides about a name."""


ARCHIVES = frozenset((b".zip", b".tar", b".gz", b".tgz", b".bz2", b".xz", b".7z", b".rar"))
JUNK = frozenset(
    name.encode()
    for name in (
        "@eaDir", "@__thumb", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information", "lost+found",
        "__MACOSX", "__pycache__", "node_modules", "outputs", "multirun", "mlruns", "mlartifacts", "wandb",
        "lightning_logs",
    )
)  # fmt: skip
"""Folders that file systems and programs leave: thumbnails, copies of what was removed, records of training."""
MARKS = frozenset((b"Thumbs.db", b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b"Desktop.ini", b"Icon\r"))
"""Files of that kind."""


@dataclass
class Found:
    """What lies below a folder."""

    texts: list[bytes] = field(default_factory=list)
    """Paths relative to the root, each ended by NUL, a block for each directory."""
    count: int = 0
    others: Counter[bytes] = field(default_factory=Counter)
    """How many files there are of each suffix (in lower case) that is not an image's."""
    examples: dict[bytes, bytes] = field(default_factory=dict)
    """The path of one of them for each suffix."""
    junk: set[bytes] = field(default_factory=set)
    """Names of folders passed over, which programs leave."""

    @property
    def ignored(self) -> int:
        """How many files are no images by their suffix."""
        return self.others.total()


def scan(
    path: bytes,
    prefix: bytes,
    found: Found,
    *,
    nested: bool = True,
    skip: frozenset[bytes] = frozenset(),
    links: Links | None = None,
) -> None:
    """Add the images below the directory `path` to `found`, `prefix` in front of each, sorted within a directory.

    `nested=False` leaves out what lies in sub-directories, and `skip` names sub-directories to leave out. `links`
    decides about the links to directories.
    """
    names = list_directory(path)
    images = [name for name in names if name[-4:] in SPELLINGS or name[-5:] in SPELLINGS]  # a call of is_image costs
    if images:
        found.texts.append(prefix + (NUL + prefix).join(images) + NUL)
        found.count += len(images)
    if len(images) == len(names):
        return
    links = links or Links()
    folders, others = sorted_out(path, set(names) - set(images))
    for name in others:
        suffix = os.path.splitext(name)[1].lower()
        found.others[suffix] += 1
        found.examples.setdefault(suffix, prefix + name)
    found.junk |= JUNK.intersection(folders)
    for name in folders if nested else []:
        if name not in skip and name not in JUNK:
            with links.entering(os.path.join(path, name)) as open_:
                if open_:
                    scan(os.path.join(path, name), prefix + name + b"/", found, links=links)


def is_image(name: bytes) -> bool:
    """Whether a file is an image by its suffix."""
    return name[-4:] in SPELLINGS or name[-5:] in SPELLINGS


def sorted_out(path: bytes, names: set[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The directories among some names of a directory, sorted, and the files, without the marks of file systems."""
    folders: list[bytes] = []
    files: list[bytes] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name in names:
                (folders if is_folder(entry) else files).append(entry.name)
    return sorted(folders), [name for name in files if name not in MARKS]


def is_folder(entry: "os.DirEntry[bytes]") -> bool:
    """Whether a directory entry is a directory or leads to one; a link in a circle leads nowhere."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def list_directory(path: bytes) -> list[bytes]:
    """Sorted names of a directory, without hidden ones; sorting makes the order independent of the file system."""
    try:
        names = os.listdir(path)
    except OSError as error:
        raise UserError(f"cannot list the folder {os.fsdecode(path)}: {error.strerror}") from None
    names.sort()
    del names[bisect_left(names, b".") : bisect_left(names, b"/")]
    return names


def subfolders(path: bytes) -> list[bytes]:
    """Sorted names of the directories in `path`, without hidden ones, and those that programs leave."""
    folders, _ = sorted_out(path, set(list_directory(path)) - JUNK)
    return folders


def check_folder(root: str, key: str = "data.root") -> None:
    """Raise UserError unless `root` is a directory."""
    if not os.path.isdir(root):
        what = "is no folder" if os.path.exists(root) else "does not exist"
        if os.path.isfile(root) and os.fsencode(os.path.splitext(root)[1].lower()) in ARCHIVES:
            what = "is an archive, to be unpacked"
        raise UserError(f"{key}: {os.path.abspath(root)} {what}; it must be the folder that holds the images")
