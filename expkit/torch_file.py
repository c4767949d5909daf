"""What `torch.save` wrote, read without running code and checked for damage, which torch passes over in part."""

import errno
import os
import pickle
import pickletools
import warnings
import zipfile
from pathlib import Path

import torch

WRITING = ("inline_container", "PytorchStreamWriter", "iostream")
"""What torch calls the place where a write failed."""
MARGIN = 1 << 24
"""Bytes below which a disk counts as full where torch only says that it could not write."""


class Unreadable(Exception):
    """Why a file cannot be read, as the end of a sentence that begins with its name."""


class HoldsCode(Unreadable):
    """The file holds more than tensors and plain values."""


def load_torch(path: Path) -> object:
    """The content of a file of `torch.save`, on the CPU. Raises Unreadable, HoldsCode for what could run code."""
    if path.stat().st_size == 0:
        raise Unreadable("is damaged (it has zero bytes)")
    zipped, bad = False, None
    try:
        if zipped := zipfile.is_zipfile(path):
            # torch compares no checksums, so a part overwritten with zeros would come as zeros.
            bad = zipfile.ZipFile(path).testzip()
        if bad is None:
            with warnings.catch_warnings(action="ignore"):  # of what damaged bytes might mean
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipped or "Unsupported global" in str(error) or is_pickle(path):
            raise HoldsCode("holds more than tensors and plain values") from error
        raise Unreadable("is damaged or no file of torch.save") from error
    except Exception as error:  # a damaged file fails in any way it likes
        raise Unreadable("is damaged or no file of torch.save") from error
    raise Unreadable(f"is damaged (the checksum of {bad} is wrong)")


def is_pickle(path: Path) -> bool:
    """Whether a file is a single well-formed pickle, which torch alone does not write; nothing of it is run."""
    with open(path, "rb") as file:
        try:
            for _ in pickletools.genops(file):
                pass
        except Exception:  # a damaged file fails in any way it likes
            return False
        return not file.read(1)


def save_torch(content: object, path: Path) -> None:
    """Write tensors and plain values by `torch.save`. Raises OSError where the disk is full or fails."""
    try:
        torch.save(content, path)
    except RuntimeError as error:
        if not any(word in str(error) for word in WRITING):
            raise
        disk = os.statvfs(path.parent)  # torch does not say what the disk said
        code = errno.ENOSPC if disk.f_bavail * disk.f_frsize < MARGIN else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error
