"""Each failure is sorted by what is at fault, however deep it lies and whatever hides it."""

import errno
import sqlite3

import optuna
import pytest
import sqlalchemy.exc
import torch
from hydra.errors import HydraException

from expkit.causes import OWN, Cause, cause_of
from expkit.errors import DataError, Diverged, Unavailable, UserError
from expkit.whole_files import write_whole

FULL = OSError(errno.ENOSPC, "No space left on device")


def raised(error: Exception, cause: Exception | None = None, hidden: Exception | None = None) -> Exception:
    """An exception as `raise error from cause` leaves it, or `from None` while `hidden` was handled."""
    try:
        try:
            if hidden is not None:
                raise hidden
        except Exception:
            raise error from None
        raise error from cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Diverged("the training loss became nan"), Cause.DIVERGED),
        (UserError("optim.lr must be a number"), Cause.REFUSED),
        (HydraException("no choice"), Cause.REFUSED),
        (FULL, Cause.DISK),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Cause.DISK),
        (raised(UserError("last.pt could not be written"), hidden=FULL), Cause.DISK),
        (raised(UserError("the cache has no room"), cause=FULL), Cause.DISK),
        (sqlite3.OperationalError("database or disk is full"), Cause.DISK),
        (
            RuntimeError("[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing file"),
            Cause.DISK,
        ),
        (MemoryError(), Cause.MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), Cause.MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), Cause.MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Cause.MEMORY),
        (optuna.exceptions.StorageInternalError("commit"), Cause.DATABASE),
        (sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection")), Cause.DATABASE),
        (sqlite3.OperationalError("database is locked"), Cause.DATABASE),
        (DataError("cannot read the image a.jpg"), Cause.DATA),
        (raised(DataError("cannot read the image a.jpg"), cause=FileNotFoundError(2, "gone")), Cause.DATA),
        (Unavailable("tracking.uri is out of reach"), Cause.UNAVAILABLE),
        (PermissionError(errno.EACCES, "Permission denied"), Cause.FILES),
        (RuntimeError("shapes cannot be multiplied"), Cause.UNFORESEEN),
        (KeyError("weight"), Cause.UNFORESEEN),
    ],
)
def test_a_failure_is_sorted_by_what_is_at_fault(error, cause):
    assert cause_of(error) is cause


def test_only_what_the_config_brings_about_is_its_own():
    assert set(OWN) == {Cause.DIVERGED, Cause.REFUSED}


def test_a_file_that_cannot_be_written_is_no_fault_of_the_config(tmp_path):
    with pytest.raises(UserError) as caught:
        write_whole(tmp_path / "last.pt", lambda partial: (_ for _ in ()).throw(FULL))
    assert cause_of(caught.value) is Cause.DISK
