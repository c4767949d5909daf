"""Why a run ended by an exception, sorted by what is at fault: decided here for whoever asks."""

import errno
import sqlite3
from collections.abc import Iterator
from enum import StrEnum

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from expkit.errors import DataError, Diverged, Unavailable, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_WORDS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "database or disk is full",
    "PytorchStreamWriter failed",
)
"""How libraries say it whose exceptions are no OSError."""
MEMORY_WORDS = ("out of memory", "can't allocate memory", "Cannot allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
DATABASES = ("sqlalchemy.", "optuna.exceptions.Storage")
"""Where the exceptions of a study's database are defined; neither package is imported to ask."""


class Cause(StrEnum):
    """What is at fault."""

    DIVERGED = "the training diverged"
    DISK = "the disk is full"
    MEMORY = "there was not enough memory"
    DATABASE = "the database failed"
    DATA = "the data cannot be read"
    FILES = "a file cannot be read or written"
    UNAVAILABLE = "something around it is not there"
    REFUSED = "the config was refused"
    UNFORESEEN = "an error that expkit did not foresee"


OWN = (Cause.DIVERGED, Cause.REFUSED)
"""The config's own doing: it ends so whenever and wherever it is run."""


def is_refusal(error: BaseException) -> bool:
    """Whether a run ended for what its config says, or for its data."""
    return cause_of(error) in (Cause.REFUSED, Cause.DATA)


def cause_of(error: BaseException) -> Cause:
    """Sort an exception, by itself and by those that it was raised from."""
    chain = list(chain_of(error))
    if any(isinstance(one, Diverged | FloatingPointError) for one in chain):
        return Cause.DIVERGED
    for cause, fits in ((Cause.DISK, is_full), (Cause.MEMORY, is_memory), (Cause.DATABASE, is_database)):
        if any(map(fits, chain)):
            return cause
    if any(isinstance(one, DataError) for one in chain):
        return Cause.DATA
    if any(isinstance(one, Unavailable) for one in chain):
        return Cause.UNAVAILABLE
    if any(isinstance(one, OSError) for one in chain):
        return Cause.FILES
    if isinstance(error, UserError | HydraException | OmegaConfBaseException):
        return Cause.REFUSED
    return Cause.UNFORESEEN


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it was raised from, also where `from None` hides that from a reader."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_full(error: BaseException) -> bool:
    """Whether a disk had no room."""
    return (isinstance(error, OSError) and error.errno in FULL) or says(error, FULL_WORDS)


def is_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the processor or of an accelerator."""
    no_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return (
        no_memory or isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and says(error, MEMORY_WORDS))
    )


def is_database(error: BaseException) -> bool:
    """Whether a database failed."""
    kinds = (f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__)
    return isinstance(error, sqlite3.Error) or any(kind.startswith(DATABASES) for kind in kinds)


def says(error: BaseException, words: tuple[str, ...]) -> bool:
    """Whether an exception's message has one of these words."""
    text = str(error)
    return any(word in text for word in words)
