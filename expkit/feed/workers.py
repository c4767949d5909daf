"""The processes that make batches ahead of whoever takes them, and how they begin and end."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

import torch
from torch._C import _remove_worker_pids
from torch.utils.data import DataLoader, Dataset

from expkit.feed.sending import explaining, starting

PATIENCE = 1.0
"""Seconds that workers have to finish the batches in hand, which nobody will take."""


class Workers:
    """What a data set makes of each list of keys, in order, in `count` processes or (0) here as it is asked for.

    They run on from one iteration to the next. `close` ends them for good.
    """

    def __init__(self, dataset: Dataset[Any], keys: Iterable[list[Any]], count: int, pin_memory: bool = False) -> None:
        """`keys` is iterated anew by each iteration, no further than the processes read ahead."""
        self.loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=keys,
            num_workers=count,
            collate_fn=as_is,
            worker_init_fn=serve_parent,
            persistent_workers=count > 0,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # else each start draws from the global one
        )
        self.running: Iterator[Any] | None = None
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        """A new iteration ends an earlier one. Raises UserError where a worker died."""
        before = self.running
        with explaining(self.count), starting(self.count):
            self.running = iter(self.loader)
        if self.running is not before and hasattr(self.running, "_workers"):
            # An interpreter that ends with a loader still open would send SIGTERM, which is blocked, and wait for ever.
            Finalize(self.running, end_processes, args=(self.running._workers,), exitpriority=0)
        with explaining(self.count):
            yield from self.running

    def close(self) -> None:
        """End the processes, in the middle of an iteration too."""
        running: Any = self.running
        self.running = None
        if not hasattr(running, "_workers"):
            return
        if running._worker_pids_set:  # that of one which died was told before
            running._worker_pids_set = False
            _remove_worker_pids(id(running))
        # DataLoader has no public way to end its workers while somebody may still hold its iterator, and waits five
        # seconds for each that a read holds up.
        killer = threading.Timer(PATIENCE, kill, args=(running._workers,))
        killer.daemon = True
        killer.start()
        running._shutdown_workers()
        killer.cancel()
        end_processes(running._workers)


def end_processes(workers: Sequence[BaseProcess]) -> None:
    """Kill the workers that live, and wait for them."""
    kill(workers)
    for worker in workers:
        worker.join()


def kill(workers: Sequence[BaseProcess]) -> None:
    """Kill the workers that live."""
    for worker in workers:
        worker.kill()


def as_is(packed: Any) -> Any:
    """A data set here gives whole batches, so that nothing is left to collate."""
    return packed


def serve_parent(worker: int) -> None:
    """Begin a worker: it gives way to the parent, whose threads an equal would hold up at every barrier.

    Where a server forked it, it may not have inherited that signals are left to the parent.
    """
    os.nice(10)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


def compute_alone() -> None:
    """Begin a decoding thread: its own torch operations are too small to be shared out, and there is one a core."""
    torch.set_num_threads(1)
