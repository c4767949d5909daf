"""Rows of features in a file: written in order, read in any, in a bounded part of memory."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.features.entries import Entry
from expkit.features.room import allocate

ROWS = "rows.bin"
TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
"""How a precision is kept."""
STORED: dict[str, np.dtype[Any]] = {"bf16": np.dtype(np.int16), "fp32": np.dtype(np.float32)}
"""The same for numpy, which has no bfloat16."""
RESIDENT = 1 << 26
"""Most bytes of a file that is mapped as a whole."""


class Features:
    """The features of some images: N rows of D numbers in a file.

    A small file is mapped into memory. Of a large one rows are read when they are wanted: mapped pages count as memory
    of the process, each touch of a row brings in up to 2 MB of them, and to let them go again takes longer than to
    read. Either way the file stays in the system's cache as long as there is room.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry  # held, so that nobody removes it meanwhile
        self.count: int = entry.facts["rows"]
        self.width: int = entry.facts["width"]
        self.precision: str = entry.facts["precision"]
        self.file = open(entry.folder / ROWS, "rb")
        stored = STORED[self.precision]
        self.row_bytes = self.width * stored.itemsize
        small = self.count * self.row_bytes <= RESIDENT
        self.mapped = np.memmap(self.file, stored, "r", shape=(self.count, self.width)) if small else None

    def __len__(self) -> int:
        return self.count

    @property
    def dtype(self) -> torch.dtype:
        """The type that the numbers are kept in; they are read as float32, which holds each of them exactly."""
        return TYPES[self.precision]

    def take(self, indices: Tensor) -> Tensor:
        """The rows at `indices` (int64, M), float32, M x D. Raises IndexError for one that is not there."""
        if self.mapped is not None:
            return as_floats(self.mapped[indices.numpy()], self.dtype)
        found = np.empty((len(indices), self.width), STORED[self.precision])
        buffer, size = bytes_of(found), self.row_bytes
        for place, index in enumerate(indices.tolist()):
            self.fill(buffer[place * size : (place + 1) * size], index)
        return as_floats(found, self.dtype)

    def slice(self, start: int, stop: int) -> Tensor:
        """The rows `start` to `stop` - 1, float32, M x D."""
        if self.mapped is not None:
            return as_floats(self.mapped[start:stop].copy(), self.dtype)
        found = np.empty((min(stop, len(self)) - start, self.width), STORED[self.precision])
        self.fill(bytes_of(found), start)
        return as_floats(found, self.dtype)

    def fill(self, buffer: memoryview, row: int) -> None:
        """Read from the start of a row until the buffer is full."""
        place = row * self.row_bytes
        while buffer:
            count = os.preadv(self.file.fileno(), [buffer], place)
            if not count:
                raise IndexError(f"{self.entry.folder / ROWS} has {len(self)} rows, and row {row} was asked for")
            buffer, place = buffer[count:], place + count


def bytes_of(rows: NDArray[Any]) -> memoryview:
    """The memory of contiguous rows."""
    return rows.reshape(-1).view(np.uint8).data


def as_floats(rows: NDArray[Any], dtype: torch.dtype) -> Tensor:
    """Rows of a file, kept as `dtype`, as float32."""
    return torch.from_numpy(rows).view(dtype).float()


class RowWriter:
    """Writes rows of features in order to a file whose room on the disk is taken at once."""

    def __init__(self, path: Path, rows: int, width: int, precision: str) -> None:
        self.precision = precision
        allocate(path, rows * width * STORED[precision].itemsize)
        self.file = open(path, "r+b")

    def write(self, rows: Tensor) -> None:
        """Write the next rows, N x D in the precision of the file."""
        self.file.write(rows.contiguous().view(torch.uint8).numpy().data)
        self.file.flush()  # what the disk refuses shows here

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
