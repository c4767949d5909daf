"""Threads that read and compute side by side, for which the end of the process does not wait.

Python's own pools are joined as the interpreter ends, however long a read takes that a thread has in hand: from a disk
that is far away, minutes, and from one that is gone, for ever.
"""

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
Made = TypeVar("Made")
Item = TypeVar("Item")

Todo = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
"""Calls in order, and where what they give is put; None ends the thread that takes it."""

PATIENCE = 1.0
"""Seconds for which calls in hand are waited for: those that compute take less."""
LEFT: list[threading.Thread] = []
"""Threads that were not waited for any longer."""


class Threads:
    """A number of threads, which start with the first call. They end with `close`, and with the process."""

    def __init__(self, count: int, begin: Callable[[], object] | None = None) -> None:
        """Each thread calls `begin` first."""
        self.count, self.begin = count, begin
        self.todo: Todo = SimpleQueue()
        self.started: list[threading.Thread] = []
        self.ending = weakref.finalize(self, end, self.todo, self.started)

    def submit(self, function: Callable[P, Made], *args: P.args, **kwargs: P.kwargs) -> Future[Made]:
        """What a call will give: see `result_of`."""
        if not self.ending.alive:
            raise RuntimeError("the threads are closed")
        if not self.started:
            for _ in range(self.count):
                self.started.append(threading.Thread(target=work, args=(self.todo, self.begin), daemon=True))
                self.started[-1].start()
        made: Future[Made] = Future()
        self.todo.put((made, partial(function, *args, **kwargs)))
        return made

    def run(self, function: Callable[P, Made], *args: P.args, **kwargs: P.kwargs) -> Made:
        """What a call gives, waited for."""
        return result_of(self.submit(function, *args, **kwargs))

    def map(self, function: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
        """What `function` gives for each item, in their order. Raises what the first of them raises."""
        calls = [self.submit(function, item) for item in items]
        try:
            return [result_of(call) for call in calls]
        finally:
            for call in calls:
                call.cancel()

    def close(self) -> None:
        """Drop the calls that have not begun, and end the threads, but those that a read holds up."""
        self.ending()


def result_of(call: Future[Made]) -> Made:
    """What a call gives or raises, waited for. A signal whose handler raises ends the wait.

    It is asked for each second, since a signal that comes in the moment before a wait is noticed only after it.
    """
    while not call.done():
        with suppress(TimeoutError):
            call.exception(timeout=1)
    return call.result()


def aside(function: Callable[P, Made], *args: P.args, **kwargs: P.kwargs) -> Made:
    """What a call that reads gives, made in a thread, so that a signal need not wait for the end of a read."""
    with closing(Threads(1)) as threads:
        return threads.run(function, *args, **kwargs)


def work(todo: Todo, begin: Callable[[], object] | None) -> None:
    """Do what there is to do, until told to end."""
    if begin is not None:
        begin()
    while taken := todo.get():
        made, call = taken
        if made.set_running_or_notify_cancel():
            try:
                made.set_result(call())
            except BaseException as error:  # raised where the result is asked for
                made.set_exception(error)
        del taken, made, call  # what came of it belongs to whoever asked


def end(todo: Todo, threads: list[threading.Thread]) -> None:
    """End threads, and wait a moment for the calls that they have in hand."""
    with suppress(Empty):
        while taken := todo.get_nowait():
            taken[0].cancel()
    for _ in threads:
        todo.put(None)
    until = time.monotonic() + PATIENCE
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))
    LEFT.extend(thread for thread in threads if thread.is_alive())


def leave(status: int) -> None:
    """End a process that has nothing left to do with this exit status, where a thread still has a call in hand.

    The interpreter would cut that off as it ends, by which torch aborts the process, with a status of its own.
    """
    atexit._run_exitfuncs()
    if any(thread.is_alive() for thread in LEFT):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
