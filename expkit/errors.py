"""The exceptions that mean "the user can mend this", told apart by what is at fault where somebody asks."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice


class UserError(Exception):
    """A mistake in a config, a file or a command: one readable message, shown without a traceback (exit status 1).

    The message names the key, file or row at fault, what was expected and what to do.
    """

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback."""
        return [f"error: {self}"]


class Diverged(UserError):
    """Training came to a number that is none (a loss, an objective): the config's own doing, whoever runs it."""


class DataError(UserError):
    """Images or labels are missing, damaged or not of the shape expected: not the doing of a model or an optimizer."""


class Unavailable(UserError):
    """What a run needs around it is not there now: room on the disk, a database, a store."""


@contextmanager
def named(what: str) -> Iterator[None]:
    """Let what a user can mend leave the block with the file at fault before it."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{what}: {error}") from error


@contextmanager
def at_fault(kind: type[UserError]) -> Iterator[None]:
    """Let what a user can mend leave the block as the `kind` that says what is at fault."""
    try:
        yield
    except kind:
        raise
    except UserError as error:
        raise kind(str(error)) from error


def first_ten(problems: Iterable[str], count: int | None = None) -> str:
    """Join up to ten problems, one a line, and say how many more there are.

    With their `count` given, `problems` may be an iterator, of which no more than ten are made.
    """
    if count is None:
        problems = list(problems)
        count = len(problems)
    shown = "\n".join(f"  {problem}" for problem in islice(problems, 10))
    return f"{shown}\n  ... and {count - 10} more" if count > 10 else shown
