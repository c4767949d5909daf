"""Which image files cannot be read, found before training starts and remembered.

A JPEG or PNG counts as whole by its first and last bytes, which is what a broken download or a full disk spoils;
other formats, and files that look odd, are decoded.
"""

import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.data.decode import decode, reason_of
from expkit.data.packed import Packed, below

log = logging.getLogger("expkit.data")

RULES = b"1"
"""Raised when the checks below change, so that what older ones passed is looked at again."""
JPEG, START_OF_SCAN, END_OF_IMAGE = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
END = 32
"""Bytes read at each end of a file."""
BLOCK = 256
"""Files that a thread checks at a time; the first block shows whether the disk is slow."""
SLOW = 100e-6
"""Seconds a file from which threads pay: the disk is waited for (a cached file takes 7 microseconds)."""


@dataclass(frozen=True)
class FileFacts:
    """Size in bytes (-1: no such file) and time of change in nanoseconds of each file."""

    sizes: NDArray[np.int64]
    mtimes: NDArray[np.int64]

    def keep(self, kept: NDArray[np.int64]) -> "FileFacts":
        """The facts of the files at `kept`."""
        return FileFacts(self.sizes[kept], self.mtimes[kept])


def facts_of(root: str, names: Packed) -> FileFacts:
    """Ask the file system about each file."""
    sizes, mtimes = np.full(len(names), -1, np.int64), np.zeros(len(names), np.int64)
    folder = below(root)
    for index, name in enumerate(names):
        try:
            facts = os.stat(folder + name)
        except OSError:
            continue  # the size -1 says so, and `problem_of` says why
        sizes[index], mtimes[index] = facts.st_size, facts.st_mtime_ns
    return FileFacts(sizes, mtimes)


def find_bad(root: str, names: Packed, facts: FileFacts) -> dict[int, str]:
    """The unreadable files: index -> what is wrong.

    The outcome is kept in the cache folder under a hash of root, names, sizes and times; while nothing of these
    changes, only the files that were bad are looked at again.
    """
    marker = cache_folder() / "verified" / f"{marker_key(root, names, facts)}.json"
    suspects = remembered(marker)
    if suspects is not None:
        return problems_of(root, names, np.array(suspects, np.int64))
    bad = problems_of(root, names, np.arange(len(names)))
    remember(marker, list(bad))
    return bad


def problems_of(root: str, names: Packed, indices: NDArray[np.int64]) -> dict[int, str]:
    """Check the files at `indices`, in threads if the first ones show that the disk is slow."""
    blocks = [indices[start : start + BLOCK] for start in range(0, len(indices), BLOCK)]
    check = partial(problems_in, below(root), names)
    start = time.perf_counter()
    bad = check(indices[:BLOCK])
    slow = time.perf_counter() - start > SLOW * BLOCK
    with ThreadPoolExecutor(16) as pool:
        for found in (pool.map if slow else map)(check, blocks[1:]):
            bad |= found
    return bad


def problems_in(folder: bytes, names: Packed, indices: NDArray[np.int64]) -> dict[int, str]:
    """Check the files at `indices` one after the other."""
    checked = ((index, problem_of(folder + names[index])) for index in indices.tolist())
    return {index: why for index, why in checked if why is not None}


def problem_of(path: bytes) -> str | None:
    """What is wrong with an image file, None for a good one."""
    try:
        head, tail = ends_of(path)
    except OSError as error:
        return "does not exist" if isinstance(error, FileNotFoundError) else reason_of(error)
    if looks_whole(head, tail):
        return None
    if not head:
        return "is empty (zero bytes)"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "holds a web page, not an image (a failed download?)"
    if head.startswith(JPEG) and not tail.strip(b"\0") and not has_end(path):
        return "is truncated or damaged (it ends in zeros, with no end marker)"
    try:
        decode(path, size=1)
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        return reason_of(error)
    return None


def ends_of(path: bytes) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file."""
    file = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        return os.pread(file, END, 0), os.pread(file, END, max(0, size - END))
    finally:
        os.close(file)


def has_end(path: bytes) -> bool:
    """Whether the last scan of a JPEG is ended: a decoder takes the zeros of a broken copy for pixels."""
    with open(path, "rb") as file:
        data = file.read()
    return data.find(END_OF_IMAGE, data.rfind(START_OF_SCAN)) >= 0


def looks_whole(head: bytes, tail: bytes) -> bool:
    """Whether a JPEG ends with its end marker or a PNG of a sane size with its end chunk; False for all other files."""
    if head.startswith(JPEG):
        return tail.rstrip(b"\0\r\n ").endswith(END_OF_IMAGE)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        pixels = int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big")
        return tail.endswith(b"IEND\xaeB`\x82") and pixels <= (Image.MAX_IMAGE_PIXELS or pixels)
    return False


def cache_folder() -> Path:
    """Where expkit keeps what it can compute again: `EXPKIT_CACHE`, or `~/.cache/expkit`."""
    return Path(os.environ.get("EXPKIT_CACHE") or "~/.cache/expkit").expanduser()


def marker_key(root: str, names: Packed, facts: FileFacts) -> str:
    """A hash of everything that an unchanged set of files keeps."""
    digest = blake2b(RULES, digest_size=16)
    for part in (os.fsencode(os.path.realpath(root)) + b"\0", names.text, facts.sizes.data, facts.mtimes.data):
        digest.update(part)
    return digest.hexdigest()


def remembered(marker: Path) -> list[int] | None:
    """The indices of bad files from an earlier look at the same files, None if there was none."""
    try:
        found = json.loads(marker.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, list) and all(isinstance(index, int) for index in found) else None


def remember(marker: Path, bad: list[int]) -> None:
    """Write the marker in one step; a cache that cannot be written only costs the next run a second look."""
    part = marker.with_suffix(f".{os.getpid()}.part")
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(bad))
        part.replace(marker)
    except OSError as error:
        log.debug("cannot remember in %s that the images were verified: %s", marker.parent, error)
