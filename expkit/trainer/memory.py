"""What becomes of memory that a training step frees."""

import ctypes
import platform

MMAP_MAX, TRIM_THRESHOLD = -4, -1
"""glibc's names for its settings (malloc.h)."""
USUAL = {MMAP_MAX: 65536, TRIM_THRESHOLD: 128 * 1024}
"""Its own values for them."""


def keep_freed() -> None:
    """Have glibc keep what this process frees for its next allocations; under another C library, nothing is done.

    Of itself it gives large blocks back to the system, which clears them page by page when they are wanted again: a
    tenth of each step of a resnet18 on the CPU. Source: mallopt(3).
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_MAX, 0)  # no block apart from the heap, where it would go back as it is freed
        libc.mallopt(TRIM_THRESHOLD, -1)  # the heap does not shrink


def give_back() -> None:
    """Undo `keep_freed`, and give the system what this process has freed."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for setting, value in USUAL.items():
            libc.mallopt(setting, value)
        libc.malloc_trim(0)
