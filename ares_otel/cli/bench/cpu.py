"""Processor time of whole process trees, with the children that have ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
import psutil


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads the processor seconds of Ares and of PostgreSQL so far."""

    ares: int
    """Process id of `ares-otel up`."""
    postmaster: int | None
    """Process id of the server's first process; None when it runs elsewhere."""

    @classmethod
    async def of(cls, ares: int, connection: asyncpg.Connection) -> Meter:
        """For a running Ares and a connection to its database."""
        backend: int = await connection.fetchval("SELECT pg_backend_pid()")
        try:
            process = psutil.Process(backend)
            local = "postgres" in process.name()
            return cls(ares, process.ppid() if local else None)
        except psutil.Error:
            return cls(ares, None)

    def ares_seconds(self) -> float:
        return sum(map(_seconds, self.ares_tree()))

    def postgres_seconds(self) -> float | None:
        """None for a server that runs on another machine."""
        if self.postmaster is None:
            return None
        return sum(map(_seconds, tree(self.postmaster)))

    def ares_tree(self) -> Iterator[psutil.Process]:
        """The processes of Ares without those of PostgreSQL, which it may have started."""
        apart = set() if self.postmaster is None else {process.pid for process in tree(self.postmaster)}
        return (process for process in tree(self.ares) if process.pid not in apart)


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _seconds(process: psutil.Process) -> float:
    """Of the process itself and of its children that have ended; those that live are counted by themselves."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
