"""Memory that a process frees and soon wants again stays with it."""

from __future__ import annotations

import ctypes

# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 256 << 20
_LARGEST_KEPT = 32 << 20  # the most that glibc takes for M_MMAP_THRESHOLD


def keep_freed_memory() -> None:
    """Has malloc keep what is freed, in blocks of up to 32 MiB, for what comes next; 256 MiB of it in each of
    its arenas at the most.

    By itself glibc hands decoded pictures and pieces of files back to the kernel, which then clears each of their pages
    for the next one: 40 of 550 µs that a photo cost. Does nothing without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
