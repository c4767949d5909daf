"""Where a person reads what expkit says: a terminal, a notebook, a file; or nowhere, where a program wants it so."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

Wanted = Literal["all", "progress", "nothing"]

WANTED: ContextVar[Wanted] = ContextVar("wanted", default="all")
"""What is said: all; progress without reports, since what a call from Python gives has the same; or nothing."""


@contextmanager
def saying(wanted: Wanted) -> Iterator[None]:
    """Say no more than is wanted while the block runs."""
    before = WANTED.set(wanted)
    try:
        yield
    finally:
        WANTED.reset(before)


def is_said(*, report: bool = False) -> bool:
    """Whether progress is wanted, or a report."""
    return WANTED.get() == "all" or (WANTED.get() == "progress" and not report)


def say(text: str, *, report: bool = False, stderr: bool = False) -> None:
    """Print a line, or a text of several."""
    if is_said(report=report):
        print(text, file=sys.stderr if stderr else sys.stdout, flush=True)


def console(*, report: bool = False, stderr: bool = False) -> "Console":
    """Where tables and lines are printed, as text in notebooks, too.

    It is a terminal only where it is one: FORCE_COLOR, which every notebook sets, is for what does not move.
    """
    from rich.console import Console  # a served model, which is built of this package, does without

    stream = sys.stderr if stderr else sys.stdout
    terminal = None if stream.isatty() else False
    return Console(stderr=stderr, force_terminal=terminal, force_jupyter=False, quiet=not is_said(report=report))


def in_notebook() -> bool:
    """Whether what is said appears in a cell of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
