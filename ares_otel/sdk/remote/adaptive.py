"""Probabilities that Ares has calculated for the operations of the service, followed while it has a target."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg

from ares_otel.control.sampling.facts import STATEMENTS
from ares_otel.control.sampling.keys import is_ratio
from ares_otel.control.sampling.strategy import MAX_OPERATIONS
from ares_otel.sdk.remote import http
from ares_otel.sdk.remote.patience import Away, Busy, NotAres
from ares_otel.storage.sqlstate import DATABASE_ERRORS

POLL_SECONDS = 15.0
"""Seconds between two questions. Spans say which probability they had: Ares need not know who has asked when."""
SECONDS = 10.0
"""Of a connection to the database, and of a statement."""
PATH = "/jaeger/api/sampling"

log = logging.getLogger("ares_otel.sdk.remote")


class Adaptation:
    """Keeps `probabilities` up to date, on the loop that follows the settings. While Ares is away they stay."""

    def __init__(
        self, service: str, changed: Callable[[], None], *, api_url: str | None = None, database_url: str | None = None
    ) -> None:
        """
        Args:
            changed: called when there are others, on the loop.
            api_url: Ares's HTTP door; or
            database_url: its database.
        """
        self._service = service
        self._changed = changed
        self._api_url = api_url
        self._database_url = database_url
        self._task: asyncio.Task[None] | None = None
        self.probabilities: Mapping[str, float] = {}
        """Operation → probability, of those that something is known of."""

    def follow(self, wanted: bool) -> None:
        """Begins, or ends, on the running loop. Safe twice."""
        if wanted and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="remote probabilities")
        elif not wanted and self._task is not None:
            self._task.cancel()
            self._task, self.probabilities = None, {}

    def forget_loop(self) -> None:
        """The loop is gone: that of another process, or one that was stopped."""
        self._task = None

    async def _run(self) -> None:
        while True:
            try:
                found = await (self._by_rest() if self._api_url is not None else self._by_sql())
                if found != self.probabilities:
                    self.probabilities = found
                    self._changed()
            except (Away, Busy, NotAres, *DATABASE_ERRORS):
                pass  # who follows the settings says it
            except Exception as error:  # a mistake of ours must not end the following for good
                log.error("Probabilities of %s could not be followed.", self._service, exc_info=error)
            await asyncio.sleep(POLL_SECONDS * random.uniform(0.8, 1.2))

    async def _by_rest(self) -> dict[str, float]:
        assert self._api_url is not None
        async with http.client(self._api_url) as client:
            status, document = await http.ask(client, "GET", PATH, params={"service": self._service})
        if status != 200:
            raise NotAres(f"it answers {status}")
        return probabilities_of(document)

    async def _by_sql(self) -> dict[str, float]:
        text, values = STATEMENTS["computed"].bind({"services": [self._service], "most": MAX_OPERATIONS})
        connection = await asyncpg.connect(
            self._database_url, timeout=SECONDS, command_timeout=SECONDS, statement_cache_size=0
        )
        try:
            return {row["operation_name"]: row["probability"] for row in await connection.fetch(text, *values)}
        finally:
            connection.terminate()


def probabilities_of(document: Any) -> dict[str, float]:
    """Those of an answer of Jaeger's protocol. Raises NotAres for something else."""
    try:
        listed = document.get("operationSampling", {}).get("perOperationStrategies", [])
        found = {str(one["operation"]): one["probabilisticSampling"]["samplingRate"] for one in listed}
    except (AttributeError, KeyError, TypeError):
        raise NotAres("it answers with something else than a sampling strategy") from None
    if not all(map(is_ratio, found.values())):
        raise NotAres("it answers with a probability that is none")
    return {operation: float(ratio) for operation, ratio in found.items()}
