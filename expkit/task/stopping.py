"""How a task that a signal stopped ends: with a sentence that says how it goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from expkit import interrupt
from expkit.command import command, shown
from expkit.run_folder import RunFolder
from expkit.tracking.nested import parent_of
from expkit.whole_files import read_json


@contextmanager
def stopping(told: Callable[[], str]) -> Iterator[interrupt.StopRequest]:
    """Listen to signals in the block; one that stops it raises Interrupted with what `told` gives."""
    with interrupt.listen() as stop:
        try:
            yield stop
        except interrupt.Stopped:
            raise interrupt.Interrupted(stop.signal, told()) from None


def how_to_go_on(folder: RunFolder, where: str) -> str:
    """What tells that the run in `folder` stopped, and how it goes on."""
    go_on = f"go on with  {command(f'resume={shown(folder.path)}')}"
    if in_grid(folder):
        go_on = f"run the same command again to go on with the grid, or {go_on}"
    return f"{where}; {go_on}"


def in_grid(folder: RunFolder) -> bool:
    """Whether a run is a job of a grid."""
    parent = parent_of(folder.path)
    return parent is not None and read_json(parent / "run.json").get("kind") == "grid"
