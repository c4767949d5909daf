"""A look at many files, by as many threads as it pays for."""

import logging
import math
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from expkit.screen import is_said, say
from expkit.threads import Threads, result_of

log = logging.getLogger("expkit.data")

Found = TypeVar("Found")
Look = Callable[[NDArray[np.int64]], Found]

PROBE, BLOCK, ROUND = 16, 16, 8192
"""Files that show how long one takes, that a thread looks at at a time, and after which the next are tried again."""
ALONE = 256
"""Files that a thread looks at at a time where it is the only one: each block is handed over, and waited for."""
HELD = 1e-4
"""Seconds for which a look at a file holds Python's lock, about: all of the time that a tiny one takes."""
SPARE = 1.5
"""Threads for each that could be busy, since some wait for the lock."""
MOST = 64
SELDOM = 4
"""Files for each wait from which it is not the disk that takes the time."""
PATIENCE, EVERY = 2.0, 60.0
"""Seconds after which a person sees how far the look at the files is, and between lines of the log."""


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def waits() -> float:
    """How often this thread has waited so far, for a disk or the like and not for a core; unknown is often."""
    kind = getattr(resource, "RUSAGE_THREAD", None)
    return time.perf_counter_ns() if kind is None else resource.getrusage(kind).ru_nvcsw


def threads_for(seconds: float, busy: float, cores: int) -> int:
    """How many threads it takes to look at files, each `seconds` long, `busy` of them not waiting for the disk.

    As many as wait while others keep the cores busy, or Python's lock, whichever is the less: one for tiny files at
    hand, about one a core for photos, many for a disk that is far away.
    """
    return max(1, min(MOST, math.ceil(SPARE * seconds * min(cores / max(busy, 1e-6), 1 / HELD) - 0.5)))


def looked_at(todo: NDArray[np.int64], look: Look[Found]) -> Iterator[Found]:
    """What `look` finds at all of `todo`, some at a time; a few files in each round show how many threads it takes.

    No file is looked at in the thread that asks, since a signal would wait there for the end of a read.
    """
    with telling(len(todo)) as tell, closing(Threads(1)) as alone:
        first = todo[:1]  # what is loaded for the first file is no measure of the others
        if len(first):
            yield alone.run(look, first)
        for start in range(1, len(todo), ROUND):
            probe, rest = todo[start : start + PROBE], todo[start + PROBE : start + ROUND]
            found, threads = alone.run(probed, probe, look)
            yield found
            tell(len(probe))
            size = ALONE if threads == 1 else BLOCK
            blocks = [rest[begin : begin + size] for begin in range(0, len(rest), size)]
            for block, found in side_by_side(blocks, look, threads):
                yield found
                tell(len(block))


def probed(files: NDArray[np.int64], look: Look[Found]) -> tuple[Found, int]:
    """What `look` finds at a few files, and how many threads it takes to look at others like them."""
    began, busy, before = time.perf_counter(), time.thread_time(), waits()
    found = look(files)
    seconds, busy = (time.perf_counter() - began) / len(files), (time.thread_time() - busy) / len(files)
    if (waits() - before) * SELDOM < len(files):
        seconds = busy  # others had the core meanwhile, which is no reason to ask for more of it
    return found, threads_for(seconds, busy, cores())


def side_by_side(
    blocks: Sequence[NDArray[np.int64]], look: Look[Found], count: int
) -> Iterator[tuple[NDArray[np.int64], Found]]:
    """What `look` finds at each block, in their order, in so many threads."""
    with closing(Threads(count)) as threads:
        running = deque((block, threads.submit(look, block)) for block in blocks)
        while running:
            block, found = running.popleft()
            yield block, result_of(found)


@contextmanager
def telling(total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a long look at files is: on a terminal as a line that goes, else once a minute, in the log too."""
    began = last = time.monotonic()
    done, terminal, shown = 0, sys.stderr.isatty(), False

    def tell(files: int) -> None:
        nonlocal done, last, shown
        done, now = done + files, time.monotonic()
        if now - began < PATIENCE or now - last < (0.5 if terminal else EVERY):
            return
        last, left = now, (total - done) * (now - began) / done
        text = f"looked at {done:,} of {total:,} files (once; it is remembered), {left:,.0f} s left"
        if terminal and is_said():
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
            shown = True
        else:
            log.info(text)
            say(text, stderr=True)

    try:
        yield tell
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
