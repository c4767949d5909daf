"""Predictions as rows of CSV or Parquet, batch by batch."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.data.packed import shown
from expkit.whole_files import write_whole

Columns = Mapping[str, NDArray[Any]]
"""Class names and float32 numbers by the name of their column."""
ROWS = 1 << 16
"""Rows of a row group in Parquet."""
NUMBERS = 1 << 22
"""Numbers of a row group, where it has many columns."""


class Table(Protocol):
    """How rows are kept while predictions are made, and made into the file that was asked for in the end.

    Rows are only ever added, so that what a killed process left can be cut to its last whole batch.
    """

    def head(self) -> bytes:
        """What the kept rows begin with."""
        ...

    def rows(self, names: Sequence[bytes], columns: Columns) -> bytes:
        """A batch of rows, as it is added to those before."""
        ...

    def finish(self, kept: Path, out: Path) -> None:
        """Make the file out of all kept rows, whole or not at all."""


@dataclass(frozen=True)
class Wanted:
    """Which columns there are beside `file`."""

    classes: Sequence[str]
    top_k: int = 1
    """How many of the likeliest classes have columns: `class` and `confidence`, `class_2`, `confidence_2` and so on."""
    every: bool = False
    """Whether the probability of each class has one: `p_CLASS`."""

    @property
    def names(self) -> list[str]:
        """The columns."""
        return list(self.columns(torch.empty(0, len(self.classes))))

    def columns(self, probabilities: Tensor) -> Columns:
        """The columns for images with these probabilities, N x classes."""
        best, places = probabilities.topk(self.top_k, dim=1)
        names = np.array(self.classes, dtype=object)
        columns: dict[str, NDArray[Any]] = {}
        for rank in range(self.top_k):
            end = f"_{rank + 1}" if rank else ""
            columns[f"class{end}"] = names[places[:, rank].numpy()]
            columns[f"confidence{end}"] = best[:, rank].numpy()
        if self.every:
            columns |= {f"p_{name}": probabilities[:, number].numpy() for number, name in enumerate(self.classes)}
        return columns


class Csv:
    """CSV in UTF-8, numbers with as many digits as float32 needs.

    File names are written byte for byte: one that is no UTF-8 is read again with the error handler surrogateescape.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns

    def head(self) -> bytes:
        """The row with the names of the columns."""
        return csv_rows([("file", *self.columns)])

    def rows(self, names: Sequence[bytes], columns: Columns) -> bytes:
        """A line for each image; more where its name has line breaks."""
        texts = [column.astype(str) if column.dtype.kind == "f" else column for column in columns.values()]
        return csv_rows(zip(map(os.fsdecode, names), *texts, strict=True))

    def finish(self, kept: Path, out: Path) -> None:
        """The kept rows are the file."""
        os.replace(kept, out)


def csv_rows(rows: Any) -> bytes:
    """Rows as CSV, each ended by a line feed."""
    lines: list[str] = []
    # Only what the end of a row holds is put between quotes, and readers take a lone return for one, too.
    csv.writer(Rows(lines.append), lineterminator="\r\n").writerows(rows)
    return "".join(f"{line[:-2]}\n" for line in lines).encode("utf-8", "surrogateescape")


class Rows(NamedTuple):
    """What csv writes to, a row at a time."""

    write: Callable[[str], object]


class Parquet:
    """Parquet; rows are kept as an Arrow stream until then, since Parquet has its contents at its end.

    Bytes of a file name that are no UTF-8 appear as \\x..
    """

    def __init__(self, columns: Sequence[str]) -> None:
        kinds = [pa.string() if name.startswith("class") else pa.float32() for name in columns]
        self.schema = pa.schema([("file", pa.string()), *zip(columns, kinds, strict=True)])

    def head(self) -> bytes:
        """The schema."""
        return bytes(self.schema.serialize())

    def rows(self, names: Sequence[bytes], columns: Columns) -> bytes:
        """A record batch."""
        arrays = [pa.array(map(shown, names), pa.string())]
        arrays += [pa.array(column, kind) for column, kind in zip(columns.values(), self.schema.types[1:], strict=True)]
        return bytes(pa.record_batch(arrays, schema=self.schema).serialize())

    def finish(self, kept: Path, out: Path) -> None:
        """Write the kept batches again, in larger groups."""
        write_whole(out, lambda partial: self.convert(kept, partial), "task.out")
        kept.unlink()

    def convert(self, kept: Path, out: Path) -> None:
        """Read an Arrow stream and write Parquet, a row group at a time."""
        most = max(1, min(ROWS, NUMBERS // len(self.schema)))
        waiting: list[pa.RecordBatch] = []
        with pa.OSFile(str(kept)) as file, pq.ParquetWriter(out, self.schema) as writer:
            for batch in pa.ipc.open_stream(file):
                waiting.append(batch)
                if sum(map(len, waiting)) >= most:
                    writer.write_table(pa.Table.from_batches(waiting, self.schema))
                    waiting = []
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting, self.schema))


TABLES: Mapping[str, Callable[[Sequence[str]], Table]] = {".csv": Csv, ".parquet": Parquet}
"""What the suffix of a file stands for."""
