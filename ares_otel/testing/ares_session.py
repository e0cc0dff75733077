"""What the tests of one process share of the fixture `ares`: the way to the house, and a thread for questions."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from ares_otel.testing.ares import Ares
from ares_otel.testing.database import DatabaseThread
from ares_otel.testing.house.client import HouseClient


class AresSession:
    """From the first test that needs it to `close`."""

    def __init__(self, run: str | None) -> None:
        """
        Args:
            run: what the workers of this run of tests have in common; None where there are none.

        Raises:
            RuntimeError: PostgreSQL does not start; the text says why.
        """
        self.run = run if run is not None else uuid.uuid4().hex
        self._house = HouseClient(self.run)
        self._database = DatabaseThread()

    @contextmanager
    def test(self) -> Iterator[Ares]:
        """What one test has."""
        ares = Ares(self._house, self._database)
        try:
            yield ares
        finally:
            ares._end()

    def close(self) -> None:
        """Leaves the house, which ends with the last one who leaves."""
        self._database.stop()
        self._house.close()
