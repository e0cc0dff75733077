"""How the C library hands memory back to the system."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h of glibc
LARGE_BYTES = 256 * 1024
"""Blocks of this size and more are mapped one by one, and unmapped when they are freed."""


def give_memory_back() -> None:
    """Makes glibc give large blocks back when they are freed; does nothing with another C library.

    By itself glibc raises the size of what it maps one by one to that of the largest block that was ever freed (up to
    32 MiB). Bodies of requests then lie in the common heap, between small objects that live longer, and the process
    stays as large as its worst moment, or several times that: with eight heaps a core, one for each thread.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(_TRIM_THRESHOLD, LARGE_BYTES)
    mallopt(_ARENA_MAX, 2)
