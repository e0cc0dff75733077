"""What a worker is told when it starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

import asyncpg
from pydantic import BaseModel, ConfigDict

from ares_otel.cli import console
from ares_otel.cli.options import UpOptions
from ares_otel.model.errors import StartError
from ares_otel.storage.database import ServerFacts
from ares_otel.storage.spool.workers import worker_directory
from ares_otel.storage.writer import CONNECTIONS

LEAST_ADMISSION_MIB = 32
"""The same as the option's least: a large request, compressed and inflated, has to fit."""
OWN_SPOOL_MIB = 32
"""Part of the spool's limit that is the supervisor's at most: it only stores Ares's own spans and log lines."""
WRITER_CONNECTIONS = 8
"""Writer connections for each signal, over all workers, as long as that leaves each of them one."""
SUPERVISOR_CONNECTIONS = 24
"""Reads, listeners, jobs, own telemetry."""
BESIDE_CONNECTIONS = 3
"""Of a worker besides its writer's: settings, and now and then partitions, a probe, a report of the spool."""
OTHERS_CONNECTIONS = 30
"""Places of the embedded server for psql, dashboards and backups."""
_SIGNALS = 3


class Setup(BaseModel):
    """Everything that the supervisor found out or decided for one worker."""

    model_config = ConfigDict(frozen=True)

    number: int
    options: UpOptions
    """With this worker's part of the memory and of the spool."""
    url: str
    facts: ServerFacts
    instance_id: str
    content: str
    """The configuration file, byte for byte (as latin-1)."""
    ports: dict[str, int]
    """`Endpoint.name` → port."""


SetupOf = Callable[[int, str, Mapping[str, int]], Setup]
"""Number of the worker, content of the configuration, ports → what it is told."""


def options_of_worker(options: UpOptions, number: int) -> UpOptions:
    """The options with one worker's part of what is promised for all."""
    limit = options.spool_limit_mib
    return replace(
        options,
        admission_limit_mib=options.admission_limit_mib // options.workers,
        spool_dir=worker_directory(options.spool_directory, number),
        spool_limit_mib=(limit - _own_spool(options)) // options.workers,
    )


def options_of_supervisor(options: UpOptions) -> UpOptions:
    """The options with the supervisor's part; the same ones when there are no workers."""
    if options.workers == 1:
        return options
    return replace(options, spool_limit_mib=_own_spool(options))


def setups(options: UpOptions, url: str, facts: ServerFacts, instance_id: str) -> SetupOf:
    """What to tell each worker, now and whenever one is started again."""

    def setup(number: int, content: str, ports: Mapping[str, int]) -> Setup:
        return Setup(
            number=number,
            options=options_of_worker(options, number),
            url=url,
            facts=facts,
            instance_id=instance_id,
            content=content,
            ports=dict(ports),
        )

    return setup


def check_parts(options: UpOptions) -> None:
    """Raises StartError when what is promised for all is too little for so many workers."""
    workers = options.workers
    if options.admission_limit_mib < workers * LEAST_ADMISSION_MIB:
        raise StartError(
            f"--workers {workers} leaves each worker {options.admission_limit_mib // workers} MiB of "
            f"--admission-limit-mib {options.admission_limit_mib}; each needs {LEAST_ADMISSION_MIB}: raise it to "
            f"{workers * LEAST_ADMISSION_MIB}, or start fewer workers."
        )
    if 0 < options.spool_limit_mib <= workers:
        raise StartError(
            f"--spool-limit-mib {options.spool_limit_mib} is too little for {workers} workers and their supervisor; "
            f"raise it to {workers + 1} at least, or set it to 0 for no spool."
        )


def writer_connections(workers: int) -> int:
    """Connections of one worker's writer for each signal."""
    return max(1, min(CONNECTIONS, WRITER_CONNECTIONS // workers)) if workers > 1 else CONNECTIONS


def connections_needed(workers: int) -> int:
    """Database connections that all processes may have at once."""
    each = _SIGNALS * writer_connections(workers) + BESIDE_CONNECTIONS
    return workers * each + SUPERVISOR_CONNECTIONS


def warn_of_processors(workers: int) -> None:
    """Says when there are more workers than the machine can run at once."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers > processors:
        console.progress(
            f"WARNING: --workers {workers} on {processors} processors: more than one for each only costs memory, and "
            "PostgreSQL wants some of them too."
        )


async def warn_of_connections(connection: asyncpg.Connection, workers: int) -> None:
    """Says when the server may have too few places."""
    allowed = int(await connection.fetchval("SELECT current_setting('max_connections')"))
    needed = connections_needed(workers)
    if needed > allowed:
        console.progress(
            f"WARNING: --workers {workers} may need {needed} connections at once, and the server allows {allowed} for "
            "everybody: raise max_connections there, or start fewer workers."
        )


def _own_spool(options: UpOptions) -> int:
    limit = options.spool_limit_mib
    return min(OWN_SPOOL_MIB, limit // (options.workers + 1)) if limit else 0
