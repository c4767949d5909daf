"""A call from Python: one at a time, saying what is wanted, and leaving the process as it was."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from expkit import logs
from expkit.screen import say, saying

LOCK = threading.RLock()
"""Held by the call at work: torch's random state and threads, and the loggers, belong to the whole process."""


@contextmanager
def calling(*, quiet: bool = False) -> Iterator[None]:
    """Let the block work for a call: what it gives tells the result, so that progress alone is shown, or nothing.

    Afterwards Hydra and the environment are as they were. Calls of other threads wait.
    """
    with saying("nothing" if quiet else "progress"), held(), environment_kept(), hydra_kept():
        logs.told.clear()  # a call is a command of its own, which says of its data what a process says once
        yield


@contextmanager
def computing() -> Iterator[None]:
    """Let the block compute; afterwards torch's random state and threads, and how memory is freed, are as before."""
    import torch

    from expkit.trainer.memory import give_back

    state, threads = torch.get_rng_state(), torch.get_num_threads()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.set_rng_state(state)
        torch.cuda.set_rng_state_all(gpus)
        torch.set_num_threads(threads)
        give_back()


@contextmanager
def held() -> Iterator[None]:
    """Wait until no other thread is in a call."""
    if not LOCK.acquire(blocking=False):
        say("waiting for the call of expkit in another thread")
        LOCK.acquire()
    try:
        yield
    finally:
        LOCK.release()


@contextmanager
def environment_kept() -> Iterator[None]:
    """Put the variables of the environment back."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def directory_kept() -> Iterator[None]:
    """Put the working directory back."""
    before = os.getcwd()
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def hydra_kept() -> Iterator[None]:
    """Put back what Hydra was initialized with, in a program that uses it itself."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.version import VersionBase

    whole, job, version = GlobalHydra.instance(), HydraConfig.instance(), VersionBase.instance()
    before = whole.hydra, job.cfg, version.version_base
    try:
        yield
    finally:
        whole.hydra, job.cfg, version.version_base = before
