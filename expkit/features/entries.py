"""Entries of the feature cache: folders that are built beside their place, and found there whole or not at all.

`<key>/` is a complete entry, `<key>.partial/` one that is being built or whose build was killed, `<key>.old/` one that
is being removed, and `locks/<key>` the lock that its builder holds. Lock files stay: they are empty, and removing one
could let two processes hold "the same" lock.
"""

import fcntl
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from expkit.features.room import writing

log = logging.getLogger("expkit.features")

MARKER = "marker.json"
PARTIAL, OLD = ".partial", ".old"
LEFT = re.compile("(body-)?[0-9a-f]+")
"""Keys of what a build or a removal that was killed left."""
Fill = Callable[[Path], Mapping[str, Any]]
"""Writes the files of an entry into a folder, and gives the facts for its marker (plain JSON values)."""


@dataclass(frozen=True)
class Entry:
    """A complete entry. While it is held open, `remove_unused` leaves it alone."""

    folder: Path
    facts: Mapping[str, Any]
    """What its builder noted."""
    build: str
    """Differs between an entry and one that later takes its place."""
    held: IO[bytes] = field(repr=False, compare=False)


class Entries:
    """The entries in one folder. Raises UserError where that folder cannot be written, but not for reading from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> Entry | None:
        """The entry with this key, marked as used now; None where there is none, or not a whole one."""
        entry = opened(self.folder / key)
        if entry is not None:
            with suppress(OSError):  # a cache for reading only does not note its readers
                os.utime(entry.folder / MARKER)
        return entry

    def get(self, key: str, fill: Fill, *, what: str) -> Entry:
        """The entry with this key, built by `fill` where it is missing or damaged.

        One process builds while others wait. `what` is built, in the words of messages.
        Raises UserError where the cache cannot be written.
        """
        found = self.find(key)
        if found is not None:
            return found
        with self.locked(key, what):
            return self.find(key) or self.build(key, fill)  # another process may have built it meanwhile

    @contextmanager
    def locked(self, key: str, what: str | None) -> Iterator[bool]:
        """Hold the lock of a builder; the lock goes with the process, however it ends. Gives whether it is held.

        Where another process has it, it is waited for, and a message names `what` that computes; None: it is not.
        """
        lock = FileLock(self.folder / "locks" / key)
        with writing(self.folder):
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if what is not None:
                    log.info("waiting for another process that computes %s", what)
                    lock.acquire()
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def build(self, key: str, fill: Fill) -> Entry:
        """Build an entry, under its lock, in place of whatever is there."""
        partial = self.folder / (key + PARTIAL)
        self.discard_leftovers(key)
        with writing(self.folder):
            partial.mkdir()
        try:
            facts = fill(partial)
            with writing(self.folder):
                seal(partial, facts)
                self.retire(key)
                os.rename(partial, self.folder / key)
                synchronize(self.folder)
        finally:
            self.discard_leftovers(key)
        entry = self.find(key)
        if entry is None:
            raise RuntimeError(f"the cache entry {self.folder / key} went as soon as it was built")
        return entry

    def retire(self, key: str) -> None:
        """Take an entry out of use in one move. Who reads it reads on: its files go when the last reader does."""
        with suppress(FileNotFoundError):
            os.rename(self.folder / key, self.folder / (key + OLD))

    def discard_leftovers(self, key: str) -> None:
        """Remove what a killed build, or a killed removal, left; only under the lock."""
        for ending in (PARTIAL, OLD):
            shutil.rmtree(self.folder / (key + ending), ignore_errors=True)

    def remove_unused(self, key: str, before: float) -> bool:
        """Remove a complete entry last used before a time, a damaged one, or leftovers; not what is in use.

        Says whether anything was removed.
        """
        with self.locked(key, None) as held, writing(self.folder):
            return held and self.remove(key, before)

    def remove(self, key: str, before: float) -> bool:
        """`remove_unused`, under the builder's lock."""
        leftovers = any((self.folder / (key + ending)).exists() for ending in (PARTIAL, OLD))
        self.discard_leftovers(key)
        place = self.folder / key
        if not place.exists():
            return leftovers
        entry = opened(place)
        if entry is not None and ((place / MARKER).stat().st_mtime >= before or not alone(entry)):
            return leftovers
        self.retire(key)
        self.discard_leftovers(key)
        return True

    def names(self) -> list[str]:
        """The keys of all entries, complete or not; what else lies in the folder is somebody's and not looked at."""
        if not self.folder.is_dir():
            return []
        return sorted({name for path in self.folder.iterdir() if path.is_dir() and (name := self.key_of(path))})

    def key_of(self, path: Path) -> str | None:
        """The key of a folder that is an entry or what is left of one; None for any other."""
        name = path.name.removesuffix(PARTIAL).removesuffix(OLD)
        left = name != path.name and LEFT.fullmatch(name)
        # Each build begins with a lock, whose file stays.
        ours = left or (self.folder / "locks" / name).exists() or (path / MARKER).exists()
        return name if ours else None


def opened(folder: Path) -> Entry | None:
    """The entry in a folder, held; None unless its marker can be read and every file has the size noted there."""
    try:
        marker = open(folder / MARKER, "rb")
    except OSError:
        return None
    try:
        with suppress(OSError):  # some network file systems have no locks; removed files are readable all the same
            fcntl.flock(marker, fcntl.LOCK_SH)
        noted = json.loads(marker.read())
        sizes = {name: (folder / name).stat().st_size for name in noted["files"]}
        # Between opening and locking the entry may have been removed, or another have taken its place.
        if os.path.samestat(os.stat(folder / MARKER), os.fstat(marker.fileno())) and sizes == noted["files"]:
            return Entry(folder, noted["facts"], noted["build"], marker)
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.debug("the cache entry %s is not whole: %r", folder, error)
    marker.close()
    return None


def alone(entry: Entry) -> bool:
    """Whether nobody else is seen to hold the entry; then nobody can until `entry` is let go."""
    try:
        fcntl.flock(entry.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the marker, once all other files are on the disk: after a power cut, too, it speaks the truth."""
    sizes = {}
    for path in folder.iterdir():
        synchronize(path)
        sizes[path.name] = path.stat().st_size
    marker = {"files": sizes, "build": uuid.uuid4().hex, "facts": dict(facts)}
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    synchronize(folder / MARKER)
    synchronize(folder)


def synchronize(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
