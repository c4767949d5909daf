"""Room on the disk: taken before hours are spent, and one clear message where there is none."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expkit.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(folder: Path, needed: int = 0) -> Iterator[None]:
    """Turn the failure to write `needed` bytes (0: a few) to the cache in `folder` into a UserError."""
    try:
        yield
    except OSError as error:
        what = in_words(needed) if needed else "its files"
        if error.errno in FULL:
            raise UserError(
                f"the feature cache in {folder} has no room for {what} ({error.strerror}): free some space, remove "
                "old entries with  python -m expkit task=cache task.older_than=DAYS,  or move it with EXPKIT_CACHE"
            ) from error
        raise UserError(
            f"the feature cache in {folder} cannot be written ({error}), and {what} must go there: make it writable, "
            "or move it with EXPKIT_CACHE"
        ) from error


def check_room(folder: Path, size: int) -> None:
    """Raise OSError where the disk of `folder`, or of where it will be, has no `size` bytes left."""
    while not folder.exists():
        folder = folder.parent
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def allocate(path: Path, size: int) -> None:
    """Make a file of `size` bytes whose room on the disk is taken. Raises OSError where there is none."""
    with open(path, "wb") as file:
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        elif size:  # macOS lacks it
            check_room(path.parent, size)
            file.truncate(size)


def in_words(size: int) -> str:
    """A number of bytes as a person reads it: 812 bytes, 3.4 MB, 12.0 GB."""
    if size < 1000:
        return f"{size} bytes"
    value, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f} {units[0]}"
