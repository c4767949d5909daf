"""The one exception that means "the user can mend this"."""

from collections.abc import Iterable
from itertools import islice


class UserError(Exception):
    """A mistake in a config, a file or a command: one readable message, shown without a traceback (exit status 1).

    The message names the key, file or row at fault, what was expected and what to do.
    """


def first_ten(problems: Iterable[str], count: int | None = None) -> str:
    """Join up to ten problems, one a line, and say how many more there are.

    With their `count` given, `problems` may be an iterator, of which no more than ten are made.
    """
    if count is None:
        problems = list(problems)
        count = len(problems)
    shown = "\n".join(f"  {problem}" for problem in islice(problems, 10))
    return f"{shown}\n  ... and {count - 10} more" if count > 10 else shown
