"""Where predictions go: to a file that is there once it is whole, or to standard output as they come.

Until a file is whole its rows lie in FILE.partial beside it, and FILE.partial.json says how many of them are whole and
what made them, so that the same command goes on where a process was killed.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from expkit.errors import UserError
from expkit.trained.classifier import Trained
from expkit.trained.identity import identity_of
from expkit.trained.predictions import Predicted
from expkit.trained.tables import TABLES, Columns, Csv, Table, Wanted, csv_rows
from expkit.trained.tally import Tally
from expkit.whole_files import append, read_json, write_json, writing

KEY = "task.out"
STANDARD_OUTPUT = "-"
EVERY = 1.0
"""Seconds between notes of how far the rows are whole."""


class Output(Protocol):
    """Takes predictions in the order of their source."""

    tally: Tally

    def rest(self, names: Iterator[bytes]) -> Iterator[bytes]:
        """The names that are not through yet."""
        ...

    def add(self, batch: Predicted, columns: Columns) -> None:
        """Write a batch."""
        ...

    def finish(self) -> None:
        """Say that all is there."""

    def __enter__(self) -> "Output": ...

    def __exit__(self, *error: object) -> None: ...


class StandardOutput:
    """Rows on standard output; what cannot be read is told on standard error."""

    def __init__(self, table: Table) -> None:
        self.table, self.tally = table, Tally()

    def __enter__(self) -> "StandardOutput":
        self.write(self.table.head())
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left open."""

    def rest(self, names: Iterator[bytes]) -> Iterator[bytes]:
        """All of them."""
        return names

    def add(self, batch: Predicted, columns: Columns) -> None:
        """Write a batch at once."""
        self.tally.add(batch, columns)
        self.write(self.table.rows(batch.read, columns))
        for name, why in batch.unreadable:
            print(f"{os.fsdecode(name)!r} {why}", file=sys.stderr)

    def write(self, content: bytes) -> None:
        """Write, and let whoever reads have it."""
        if binary := getattr(sys.stdout, "buffer", None):
            binary.write(content)
            binary.flush()
        else:  # a notebook shows text
            sys.stdout.write(content.decode("utf-8", "backslashreplace"))

    def finish(self) -> None:
        """All is written."""


class OutputFile:
    """Rows in a file, and what cannot be read in another, FILE.unreadable.csv."""

    def __init__(self, out: Path, table: Table, maker: Mapping[str, Any]) -> None:
        """`maker` is what must be the same for rows to be gone on with, by the words that say what is another."""
        self.out, self.table, self.maker = out, table, dict(maker)
        self.kept, self.state = beside(out, ".partial"), beside(out, ".partial.json")
        self.list = unreadable_list(out)
        self.kept_list = beside(self.list, ".partial")
        self.finished = False

    def __enter__(self) -> "OutputFile":
        """Begin, or go on. Raises UserError where rows lie there already that others made."""
        with ExitStack() as stack:
            self.lock(stack)
            check_out(str(self.out))  # again: who held the lock may have written it
            state = self.earlier()
            self.tally, self.whole = Tally(state), (state.get("bytes", 0), state.get("list_bytes", 0))
            self.note()
            self.rows = stack.enter_context(opened(self.kept, self.whole[0], self.table.head()))
            head = csv_rows([("file", "reason")])
            self.lines = stack.enter_context(opened(self.kept_list, self.whole[1], head))
            self.whole = self.rows.tell(), self.lines.tell()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Note how far the rows are whole; where there are none, nothing is left."""
        with self.stack:
            if not self.finished and self.tally.done:
                self.keep()
            elif not self.finished:
                for path in (self.kept, self.kept_list, self.state):
                    path.unlink(missing_ok=True)

    def lock(self, stack: ExitStack) -> None:
        """Keep other processes from this file. Raises UserError where one writes it."""
        place = beside(self.out, ".partial.lock")
        lock = FileLock(place)
        with writing(self.out, KEY):
            open(place, "ab").close()  # a lock takes a folder that cannot be written to for one that is held
            try:
                lock.acquire(timeout=10)  # the data workers of a killed process may hold it for some seconds
            except Timeout:
                raise UserError(f"{KEY}: another process writes {self.out}; choose another name") from None
        stack.callback(lock.release)
        stack.callback(place.unlink, missing_ok=True)

    def earlier(self) -> dict[str, Any]:
        """What is known of rows that an earlier process left. Raises UserError for those that others made."""
        state = read_json(self.state)
        for path in (self.kept, self.kept_list):
            if not state and path.exists():
                raise UserError(f"{KEY}: {path} is in the way: remove it, or choose another {KEY}")
        was = state.get("maker", self.maker)
        if others := [word for word in self.maker if was.get(word) != self.maker[word]]:
            raise UserError(
                f"{KEY}: {self.kept} was begun with {' and '.join(others)} other than now: give the same, remove "
                f"it and {self.state.name}, or choose another {KEY}"
            )
        if state and self.list.exists() and not self.kept_list.exists():  # killed while it finished
            os.replace(self.list, self.kept_list)
        return state

    def rest(self, names: Iterator[bytes]) -> Iterator[bytes]:
        """The names that have no row yet. Raises UserError where those before are others than those that have."""
        if not self.tally.begins(names):
            raise UserError(
                f"task.source has other images than when {self.kept} was begun, where {self.tally.done} are done: "
                f"bring them back as they were, remove it and {self.state.name}, or choose another {KEY}"
            )
        return names

    def add(self, batch: Predicted, columns: Columns) -> None:
        """Write a batch."""
        append(self.rows, self.table.rows(batch.read, columns), KEY)
        append(self.lines, csv_rows((os.fsdecode(name), why) for name, why in batch.unreadable), KEY)
        self.tally.add(batch, columns)
        self.whole = self.rows.tell(), self.lines.tell()
        if time.monotonic() - self.noted > EVERY:
            self.keep()

    def keep(self) -> None:
        """Note how far the rows are whole, once they are on the disk."""
        with writing(self.kept, KEY):
            for file in (self.rows, self.lines):
                os.fsync(file.fileno())
        self.note()

    def note(self) -> None:
        """Note how far the rows are whole, and who made them."""
        size, list_size = self.whole
        content = {"maker": self.maker, **self.tally.as_json(), "bytes": size, "list_bytes": list_size}
        write_json(self.state, content, KEY)
        self.noted = time.monotonic()

    def finish(self) -> None:
        """Put the files in their places; where no image could be read, only the list of those."""
        self.keep()
        self.finished = True
        with writing(self.out, KEY):
            if self.tally.unreadable:
                os.replace(self.kept_list, self.list)
            else:
                self.kept_list.unlink()
            if self.tally.counts:
                self.table.finish(self.kept, self.out)
            self.kept.unlink(missing_ok=True)
            self.state.unlink()


def output_to(out: str, trained: Trained, wanted: Wanted) -> Output:
    """Where `task.out` says that the predictions of a model go."""
    if out == STANDARD_OUTPUT:
        return StandardOutput(Csv(wanted.names))
    path = Path(out)
    maker = {"a model": identity_of(trained), "columns": wanted.names}
    return OutputFile(path, TABLES[path.suffix.lower()](wanted.names), maker)


def opened(path: Path, size: int, head: bytes) -> FileIO:
    """A file cut to `size`, where its whole rows end, to be added to; a new one begins with `head`."""
    with writing(path, KEY):
        if size and (not path.exists() or path.stat().st_size < size):
            raise UserError(
                f"{KEY}: {path} is shorter than when it was left: remove all beside it that ends in .partial or "
                f".partial.json, or choose another {KEY}"
            )
        file = FileIO(path, "r+" if size else "w")
        file.truncate(size)
        file.seek(size)
    if not size:
        append(file, head, KEY)
    return file


def beside(path: Path, end: str) -> Path:
    """The file with this end after the name of another."""
    return path.with_name(path.name + end)


def unreadable_list(out: Path) -> Path:
    """Where the files are listed that cannot be read."""
    return beside(out, ".unreadable.csv")


def check_out(out: str) -> None:
    """Raise UserError, before anything is read, for an output that cannot be, or that would be written over."""
    path = Path(out)
    if out == STANDARD_OUTPUT:
        return
    if path.suffix.lower() not in TABLES:
        raise UserError(f"{KEY}={out} must end in .csv or .parquet, or be - for standard output")
    if not path.parent.is_dir():
        raise UserError(f"{KEY}: there is no folder {path.parent}; make it, or choose another {KEY}")
    for there in (path, unreadable_list(path)):
        # os.path finds nothing at a name that is too long, which is told once it is written to.
        if os.path.exists(there) and not (there != path and os.path.exists(beside(path, ".partial.json"))):
            raise UserError(f"{KEY}: {there} is there already, and is not written over: choose another name")
