"""Official SDK exporters in processes of their own, whose promises the oracle hears."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from ares_otel.model.signal import SIGNALS
from tests.faults.support.items import Item, Request
from tests.faults.support.load import Progress
from tests.faults.support.oracle import Oracle, State, Told
from tests.faults.support.raw_sender import Doors, Protocol
from tests.support.ares_process import environment

_ROOT = Path(__file__).parents[3]
_NUMBERS = itertools.count(1)
PATIENCE = 120.0
"""Seconds until a process has sent all that it has to send."""


class SdkSender:
    """One process that exports so many requests and then ends."""

    def __init__(self, oracle: Oracle, doors: Doors, protocol: Protocol, *, requests: int, items: int) -> None:
        self._oracle = oracle
        self._producer = f"sdk-{protocol}-{next(_NUMBERS)}"
        endpoint = f"http://{doors.http[0]}" if protocol == "http" else doors.grpc[0]
        words = (endpoint, protocol, oracle.run, self._producer, str(requests), str(items))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.support.sdk_process", *words],
            cwd=_ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the exporters log every retry
            text=True,
        )
        self._told: dict[int, Told] = {}
        self._reader = threading.Thread(target=self._read, name=self._producer, daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Waits until everything was sent and acknowledged."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._producer} is not done; {len(self._told)} requests were begun") from None
        self._reader.join(10)
        assert code == 0, f"{self._producer} ended with {code}"

    def kill(self) -> None:
        """Ends it, whatever it does. Safe twice."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if "sends" in said:
                    items = tuple(Item(self._producer, seq, payload) for seq, payload in said["items"])
                    request = Request(SIGNALS[said["signal"]], b"", items)
                    self._told[said["sends"]] = self._oracle.sends(request)
                else:
                    self._oracle.hears(self._told[said["told"]], State.ACKNOWLEDGED)


@contextlib.asynccontextmanager
async def sdk_senders(oracle: Oracle, doors: Doors, *, requests: int = 30, items: int = 20) -> AsyncIterator[Progress]:
    """One process by gRPC and one by HTTP; each sends so many requests. The block's end waits for them."""
    kinds: tuple[Protocol, ...] = ("grpc", "http")
    senders = [SdkSender(oracle, doors, kind, requests=requests, items=items) for kind in kinds]
    try:
        yield Progress(oracle)
        for sender in senders:
            await asyncio.to_thread(sender.wait)
    finally:
        for sender in senders:
            sender.kill()
