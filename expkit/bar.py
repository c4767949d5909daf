"""How far something is: a bar that moves on a terminal or in a notebook's cell, a line a minute elsewhere."""

import html
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from expkit.screen import console, in_notebook, is_said

if TYPE_CHECKING:
    from rich.progress import Progress

PAUSES = {"terminal": 0.25, "notebook": 0.5, "lines": 60.0, "nowhere": float("inf")}
"""Seconds between looks at the work, by where it is shown."""
NARROW, WIDE = 120, 40
"""Columns of a terminal from which a bar has its full width, and that."""
ROWS = 20
"""So many rows of a table a notebook shows, the last ones."""


class Bar:
    """Shows how far something is; close it as the work ends, and the bar goes."""

    def __init__(self, total: int | None, *, stderr: bool = False) -> None:
        """Take how many there are in all; None where nobody knows."""
        self.console = console(stderr=stderr)
        terminal, notebook = self.console.is_terminal, in_notebook()
        self.place = (terminal and "terminal") or (notebook and "notebook") or "lines" if is_said() else "nowhere"
        self.total = total
        self.last = 0.0 if self.place == "terminal" else time.monotonic()
        self.progress: Progress | None = None
        self.cell = Cell()
        self.rows: list[Mapping[str, str]] = []

    @property
    def moves(self) -> bool:
        """Whether there is a bar, in place of lines."""
        return self.place in ("terminal", "notebook")

    @property
    def is_due(self) -> bool:
        """Whether it is time to show how far the work is."""
        return time.monotonic() - self.last >= PAUSES[self.place]

    def show(self, done: int, what: str, told: str, line: str, *, total: int | None = None) -> None:
        """Draw the bar between `what` it is about and what is `told` of it, or print a line.

        `total` is how many there are of something else than the whole work, which the bar is about for now.
        """
        self.last, total = time.monotonic(), total or self.total
        if self.place == "notebook":
            self.cell.show(table(self.rows) + drawn(done, total, what, told), line)
        elif self.place == "terminal":
            self.progress = self.progress or begun(self.console, self.total)
            task = self.progress.task_ids[0]
            self.progress.update(task, completed=done, total=total, description=what, told=told, refresh=True)
        elif self.place == "lines":
            self.say(line)

    def add(self, row: Mapping[str, str], line: str) -> None:
        """Add what stays: a row of a table in a notebook, elsewhere a line."""
        if self.place == "notebook":
            self.rows.append(row)
            self.cell.show(table(self.rows), line)
        else:
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line, above the bar."""
        self.last = time.monotonic()
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Take the bar away."""
        if self.progress:
            self.progress.stop()
        if self.cell.shown:
            self.cell.show(table(self.rows), "")


def begun(where: Any, total: int | None) -> "Progress":
    """A bar on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    what, told = TextColumn("{task.description}", "bold", markup=False), TextColumn("{task.fields[told]}", markup=False)
    # A narrow terminal's bar takes what the text leaves of a line, which would be cut off otherwise.
    is_narrow = where.width < NARROW
    bar = BarColumn(None if is_narrow else WIDE)
    progress = Progress(
        *(what, bar, MofNCompleteColumn(), told), console=where, expand=is_narrow, auto_refresh=False, transient=True
    )
    progress.add_task("", total=total, told="")
    progress.start()
    return progress


class Cell:
    """One output of a notebook's cell, shown anew in its place."""

    def __init__(self) -> None:
        self.shown: Any = None

    def show(self, page: str, text: str) -> None:
        """Show HTML, and the same as text where a reader has no HTML."""
        from IPython.core.display_functions import display  # only a notebook comes here, which has it

        content = {"text/html": page, "text/plain": text}
        if self.shown is None:
            self.shown = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.shown.update(content, raw=True)


def drawn(done: int, total: int | None, what: str, told: str) -> str:
    """A bar as HTML."""
    place = "" if total is None else f'value="{done}" max="{total}"'
    count = f"{done}/{'?' if total is None else total}"
    texts = (f"<b>{html.escape(what)}</b>", count, html.escape(told))
    bar = f'<progress {place} style="width: 16em; vertical-align: middle"></progress>'
    return f"<div>{texts[0]} {bar} {texts[1]} &nbsp;{texts[2]}</div>"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """The last rows as HTML."""
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
    cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row.values()) for row in rows[-ROWS:]]
    left_out = [f'<td colspan="{len(rows[0])}">{len(rows) - ROWS} more</td>'] if len(rows) > ROWS else []
    body = "".join(f"<tr>{row}</tr>" for row in [*left_out, *cells])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
