"""Files that a reader finds whole, or not at all, and the JSON in them."""

import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any

from expkit.errors import Unavailable, UserError
from expkit.json_shapes import SHAPES, misfit, parsed

PLACE = "hydra.run.dir"
"""The key that says where a run writes."""


def write_whole(path: Path, write: Callable[[Path], object], key: str = PLACE) -> None:
    """Let `write` make a file beside `path` and put it in place in one move, once it is on the disk.

    So a reader, or a run killed meanwhile, finds the old file or the new one, whole. Raises UserError where the disk
    is full or the folder read-only; `key` says where it lies.
    """
    with writing(path, key):
        path.parent.mkdir(parents=True, exist_ok=True)
        with sole_writer(path.with_name(f".{path.name}.partial")) as partial:
            write(partial)
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: without them, a power cut takes a file that was put in place away."""
    with suppress(OSError):  # some network disks flush no folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def sole_writer(partial: Path) -> Iterator[Path]:
    """An empty file that this process alone writes: another one that makes the same file waits for its turn.

    It is removed where the block fails; what a killed process has left there is overwritten.
    """
    while True:
        with suppress(OSError):
            if partial.is_symlink():
                partial.unlink()
        with open(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "rb") as file:
            with suppress(OSError):  # some network disks have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not is_same(file, partial):  # the one before has put it in place meanwhile
                continue
            try:
                os.truncate(partial, 0)
                yield partial
            except BaseException:
                with suppress(OSError):
                    partial.unlink()
                raise
            return


def is_same(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one that lies at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


@contextmanager
def writing(path: Path, key: str = PLACE) -> Iterator[None]:
    """Let a failure to write `path` leave the block as an Unavailable that names it, and the `key` to place it."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise Unavailable(f"{path} could not be written ({reason}): free some space or choose another {key}") from error


def append(file: FileIO, content: bytes, key: str = PLACE) -> None:
    """Write all of it at the end of an unbuffered file, so that nothing is left to be written later.

    Raises UserError where the disk is full.
    """
    with writing(Path(str(file.name)), key):
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]


def write_json(path: Path, content: Mapping[str, Any], key: str = PLACE) -> None:
    """Write a JSON object, whole or not at all; a number that JSON has no word for (nan, inf) becomes null."""
    text = json.dumps(finite(content), indent=2, allow_nan=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"), key)


def finite(node: Any) -> Any:
    """Nested mappings and lists with None in place of nan and infinity."""
    if isinstance(node, Mapping):
        return {key: finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def read_json(path: Path, *needed: str) -> dict[str, Any]:
    """The JSON object in a file, empty where there is no file.

    Raises UserError where the file is damaged, lacks one of the `needed` keys, or holds a value of another type than
    `expkit.json_shapes` says.
    """
    anew = ", or remove it, and everything is sent to tracking anew" if path.name == "tracking.json" else ""
    try:
        text = path.read_bytes() if path.exists() else b"{}"
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): put a whole copy in its place{anew}") from error
    content = parsed(text)
    if not isinstance(content, dict):
        what = "no JSON object" if text.strip(b"\0 \n") else "empty"
        raise UserError(f"{path} is damaged ({what}): put a whole copy in its place{anew}")
    if problem := misfit(content, SHAPES.get(path.name, {})):
        raise UserError(f"{path} is damaged ({problem}): put a whole copy in its place{anew}")
    lacking = [key for key in needed if key not in content]
    if lacking:
        there = f"lacks {lacking[0]!r}" if path.exists() else "is missing"
        raise UserError(f"{path} {there}: put a whole copy in its place")
    return content
