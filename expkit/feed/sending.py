"""How batches come from worker processes, and what is said where they do not.

A batch travels in shared memory. torch takes that, and a file descriptor, in a thread of the worker that prints what
goes wrong and drops the batch, for which the parent would wait for ever. So it is taken here, where a failure is seen:
the batch then travels through the worker's pipe, which needs neither.
"""

import errno
import logging
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pickle import PicklingError
from typing import Any

import torch
from torch import Tensor
from torch._C import _error_if_any_worker_fails

from expkit.errors import UserError

log = logging.getLogger(__name__)

SPARE = 16
"""File descriptors that sending a batch may take for a moment."""

PATIENCE = 1.0
"""Seconds that the system may take to tell of a process that ended."""

warned: list[str] = []
"""What was said already: once a process is enough."""


def shared(pixels: Tensor, labels: Tensor) -> tuple[Any, ...]:
    """A worker's batch in shared memory; as arrays, which are copied through its pipe, where that has no room."""
    try:
        take_descriptors(SPARE)
        return tuple(one.share_memory_() for one in (pixels, labels))  # type: ignore[no-untyped-call]  # torch's
    except (OSError, RuntimeError):  # torch raises the second for a full /dev/shm
        return pixels.numpy(), labels.numpy()


def take_descriptors(count: int) -> None:
    """Raise OSError unless so many file descriptors are left."""
    taken: list[int] = []
    try:
        taken += (os.dup(0) for _ in range(count))
    finally:
        for one in taken:
            os.close(one)


def received(packed: tuple[Any, Any]) -> tuple[Tensor | str, Tensor]:
    """What a worker sent, as tensors; says once where it could not use shared memory."""
    images, labels = packed
    if isinstance(images, str) and os.strerror(errno.EMFILE) in images:
        raise OSError(errno.EMFILE, images)  # no fault of the image
    if isinstance(images, str | Tensor):
        return images, labels
    if not warned:
        warned.append("pipes")
        log.warning(
            "the workers' batches travel through pipes, which is slower, since /dev/shm is full or too few files may "
            "be open: give more of it (docker run --shm-size=1g, ulimit -n 4096), or set num_workers=0"
        )
    return torch.from_numpy(images), torch.from_numpy(labels)


@contextmanager
def starting(workers: int) -> Iterator[None]:
    """Start so many workers in the block, with signals left to the parent, which gets its own when the block ends.

    Under Ctrl-C, or a SIGTERM to the whole group, the parent finishes its step and then ends them. Raises UserError
    where they are not forked, and cannot be sent what they are to do.
    """
    if workers and multiprocessing.get_start_method() != "fork":
        resource_tracker.ensure_running()  # as it starts, it lets these signals through
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Got pickle error")  # torch's, of several lines
            yield
    except (AttributeError, PicklingError, TypeError) as error:
        if "pickle" not in str(error):
            raise
        raise UserError(
            f"num_workers={workers}: on this system workers begin anew, and what they are to do to images cannot be "
            f"sent to them ({reason(error)}): define it at the top of a module, without lambdas, or set num_workers=0"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def explaining(workers: int) -> Iterator[None]:
    """Turn what torch raises where one of so many workers died, or cannot be reached, into a UserError with advice."""
    try:
        yield
    except (EOFError, OSError, RuntimeError) as error:
        if getattr(error, "errno", None) == errno.EMFILE or "Too many open files" in str(error):
            raise UserError(
                f"num_workers={workers} processes take more open files than this process may have: allow more "
                "(ulimit -n 4096), or set num_workers=0"
            ) from error
        # A worker may die while its batch is taken over: then the connection to it breaks.
        broke = workers > 0 and isinstance(error, ConnectionError | EOFError)
        if not broke and "DataLoader worker" not in str(error):
            raise
        told = what_ended_it() or error if broke else error
        raise UserError(
            f"a data worker died ({reason(told)}), probably since the memory ran out: set num_workers={workers // 2} "
            f"in place of {workers}, or a smaller batch_size"
        ) from error


def what_ended_it() -> RuntimeError | None:
    """What torch says of a worker whose connection broke, None where it knows of none that failed.

    A connection may break a moment before the system tells of the end. torch raises that once, in the main thread
    wherever it is by then: asked for here, it cannot come in the midst of the run's last writes.
    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            _error_if_any_worker_fails()
            time.sleep(0.01)
        except RuntimeError as told:
            return told
    return None


def reason(error: BaseException) -> str:
    """What torch says of a worker that died, the first line of it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removeprefix("DataLoader worker ").rstrip(". ")
