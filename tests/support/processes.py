"""Which processes there are. Looking is all these functions do; they wait by polling, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil


def descendants(pid: int) -> list[psutil.Process]:
    """Every process below `pid`, whatever session it is in."""
    return psutil.Process(pid).children(recursive=True)


def alive(processes: Iterable[psutil.Process]) -> list[str]:
    """Those that still run, described; a zombie has ended."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
        except psutil.NoSuchProcess:
            continue
    return found


def mentioning(text: str) -> list[str]:
    """Processes whose command line holds `text`, a data directory for instance, described."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if text in line and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {line[:200]}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_until_gone(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Raises AssertionError when one of them is still there after `seconds`."""
    processes = list(processes)
    deadline = time.monotonic() + seconds
    while left := alive(processes):
        assert time.monotonic() < deadline, f"still running after {seconds:.0f} s: {left}"
        psutil.wait_procs(processes, timeout=0.2)
