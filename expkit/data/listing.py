"""The image files below a folder: hidden ones left out, sorted, about as fast as the bare directory walk."""

import itertools
import os
from bisect import bisect_left
from dataclasses import dataclass, field

from expkit.data.packed import NUL
from expkit.errors import UserError

SUFFIXES = ".jpg .jpeg .jpe .jfif .png .gif .bmp .tif .tiff .webp .ppm .pgm .pbm .pnm .avif .jp2"
SPELLINGS = frozenset(
    "".join(letters).encode()
    for suffix in SUFFIXES.split()
    for letters in itertools.product(*((letter, letter.upper()) for letter in suffix))
)
"""Every mix of upper and lower case, so that one look-up decides about a name."""


@dataclass
class Found:
    """What lies below a folder."""

    texts: list[bytes] = field(default_factory=list)
    """Paths relative to the root, each ended by NUL, a block for each directory."""
    count: int = 0
    ignored: int = 0
    """Files that are no images by their suffix."""


def scan(
    path: bytes, prefix: bytes, found: Found, *, nested: bool = True, skip: frozenset[bytes] = frozenset()
) -> None:
    """Add the images below the directory `path` to `found`, `prefix` in front of each, sorted within a directory.

    `nested=False` leaves out what lies in sub-directories, and `skip` names sub-directories to leave out.
    """
    names = list_directory(path)
    images = [name for name in names if name[-4:] in SPELLINGS or name[-5:] in SPELLINGS]
    if images:
        found.texts.append(prefix + (NUL + prefix).join(images) + NUL)
        found.count += len(images)
    if len(images) == len(names):
        return
    folders = subfolders(path)
    found.ignored += len(names) - len(images) - len(folders)
    for name in folders if nested else []:
        if name not in skip:
            scan(os.path.join(path, name), prefix + name + b"/", found)


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
    """Sorted names of the directories in `path`, without hidden ones and links that lead back to a parent."""
    with os.scandir(path) as entries:
        folders = [
            entry.name
            for entry in entries
            if entry.is_dir() and entry.name[:1] != b"." and not (entry.is_symlink() and leads_back(entry.path))
        ]
    return sorted(folders)


def leads_back(link: bytes) -> bool:
    """Whether a link to a directory points to one that holds the link, where a walk would never end."""
    target = os.path.join(os.path.realpath(link), b"")
    return os.path.join(os.path.realpath(os.path.dirname(link)), b"").startswith(target)


def check_folder(root: str, key: str = "data.root") -> None:
    """Raise UserError unless `root` is a directory."""
    if not os.path.isdir(root):
        what = "is no folder" if os.path.exists(root) else "does not exist"
        raise UserError(f"{key}: {os.path.abspath(root)} {what}; it must be the folder that holds the images")
