"""Many names in two flat blocks, so that a million of them take tens of megabytes and cost nothing to fork."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUL = b"\0"
"""No file name may hold it, so it ends each name."""
BLOCK = 65536
"""Names that are taken apart at a time when all are walked over."""


@dataclass(frozen=True)
class Packed:
    """A list of names: the bytes of all, each ended by NUL, and where each starts.

    A Python list of a million `str` takes 100 MB, and reading it in a forked worker copies every page of it,
    because each object holds a reference count; here there are two objects.
    """

    text: bytes
    starts: NDArray[np.int64]
    """One offset a name and the length of `text` at the end."""

    @classmethod
    def from_text(cls, text: bytes) -> "Packed":
        """Names from their bytes, each ended by NUL."""
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 0) + 1
        return cls(text, np.concatenate([np.zeros(1, np.int64), ends]))

    @classmethod
    def from_names(cls, names: Iterable[bytes]) -> "Packed":
        """Names one by one."""
        return cls.from_text(b"".join(name + NUL for name in names))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> bytes:
        return self.text[self.starts[index] : self.starts[index + 1] - 1]

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), BLOCK):
            stop = min(start + BLOCK, len(self))
            yield from self.text[self.starts[start] : self.starts[stop] - 1].split(NUL)

    def take(self, rows: NDArray[np.int64]) -> "Packed":
        """The names at `rows`, in that order."""
        return Packed.from_names(self[row] for row in rows.tolist())


def shown(name: bytes) -> str:
    """A file name as a person reads it; bytes that are no UTF-8 appear as \\x.. so that it can always be printed."""
    return name.decode("utf-8", "backslashreplace")


def below(root: str) -> bytes:
    """What to put in front of a name below `root` to get its path for the operating system."""
    return os.path.join(os.fsencode(root), b"")
