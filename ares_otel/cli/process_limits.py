"""What the process asks of the system it runs on: memory that goes back, and enough open files."""

from __future__ import annotations

import ctypes
import gc
import resource

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h of glibc
LARGE_BYTES = 2 * 1024 * 1024
"""Blocks of this size and more are mapped one by one, and unmapped when they are freed. Smaller ones, such as the body
of an ordinary request and its rows, are used again while they are warm: mapping them took a twentieth of all time."""
KEPT_BYTES = 8 * 1024 * 1024
"""What may stay free at the end of the heap."""
YOUNG_OBJECTS = 20_000
"""New objects after which the garbage collector looks for cycles among them: one request makes hundreds."""


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
    mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_ARENA_MAX, 2)


def spare_the_collector() -> None:
    """Everything that was made until now stays for good: the garbage collector does not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def raise_open_files() -> None:
    """Takes as many open files as the system allows: each connection is one, and the usual soft limit of 1024 is lower
    than what the doors let in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS says "unlimited" and allows less
            return
