"""Connections for reads: a pool of their own with a time limit, so that they cannot starve ingest."""

from __future__ import annotations

from functools import partial

import asyncpg

from ares_otel.pipeline.grace import BRIEF_SECONDS, Stages
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs

READ_CONNECTIONS = 8
READ_TIMEOUT_MS = 15_000
"""A query that takes longer is ended: reads must not starve ingest."""


async def open_read_pool(url: str, facts: ServerFacts, telemetry: Telemetry, stack: Stages) -> asyncpg.Pool:
    """The pool, whose connections are shown. `stack`: closes it."""
    options = asyncpg_kwargs(facts)
    if not facts.pooled:  # a pooler refuses settings at connection time
        options["server_settings"] = {
            "statement_timeout": str(READ_TIMEOUT_MS),
            "application_name": "ares-otel read",
            # A plan without the values would be one over every partition, and so would be making it.
            "plan_cache_mode": "force_custom_plan",
        }
    pool = await asyncpg.create_pool(
        url,
        min_size=0,  # kept connections would be restored with a traceback each time the server is away
        max_size=READ_CONNECTIONS,
        timeout=10,
        command_timeout=READ_TIMEOUT_MS / 1000 + 5,
        **options,
    )
    stack.push_bounded("The pool of reads", partial(_close_pool, pool), at_most=BRIEF_SECONDS)
    gauge = telemetry.gauge("ares_otel_pool_connections")
    gauge.labels(pool="read", state="open").set_function(pool.get_size)
    gauge.labels(pool="read", state="idle").set_function(pool.get_idle_size)
    return pool


async def _close_pool(pool: asyncpg.Pool) -> None:
    """Waits for reads under way. Terminates them when it is cancelled."""
    try:
        await pool.close()
    finally:
        pool.terminate()
