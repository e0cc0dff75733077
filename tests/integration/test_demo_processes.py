"""The processes of the demo shop, with nobody at the address they send to."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest

from ares_otel.demo import DemoShop, ShopError
from tests.support.processes import alive, descendants, wait_until_gone

_PARENT = """
import asyncio, sys
from ares_otel.demo import DemoShop

async def main():
    shop = DemoShop(otlp_grpc=sys.argv[1], otlp_http=sys.argv[1], progress=lambda line: None)
    await shop.start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@asynccontextmanager
async def open_shop(endpoint: str, said: list[str]) -> AsyncIterator[dict[str, str]]:
    shop = DemoShop(otlp_grpc=endpoint, otlp_http=endpoint, progress=said.append)
    try:
        yield await shop.start()
    finally:
        await shop.stop()


async def test_the_shop_works_and_stops_without_a_receiver(nobody: str) -> None:
    said: list[str] = []
    before = set(psutil.Process().children(recursive=True))
    async with open_shop(nobody, said) as urls, httpx.AsyncClient(trust_env=False, timeout=60) as client:
        assert set(urls) == {"storefront", "orders", "payments", "inventory"}
        services = set(psutil.Process().children(recursive=True)) - before
        assert len(services) == 4
        checkout = f"{urls['storefront']}/checkout"

        async def buy(sku: str, card: str) -> int:
            answer = await client.post(checkout, json={"sku": sku, "quantity": 1, "card": card})
            return answer.status_code

        assert await buy("mug-blue", "visa-4242") == 201
        assert await buy("mug-blue", "visa-0002") == 402, "the bank declines this card"
        assert await buy("mug-blue", "mastercard-0341") == 201, "the second attempt works"
        assert await buy("mug-blue", "mastercard-0119") == 502, "three attempts, then the order is given up"
        assert await buy("mug-blue", "amex-3155") == 502, "a crash of the payment service is not repeated"
        assert 409 in {await buy("poster-limited", "visa-4242") for _ in range(2)}, "there is only one"
        assert (await client.get(f"{urls['storefront']}/orders/ord-0")).status_code == 404
    assert alive(services) == []
    assert said[0].startswith("Starting the demo shop")
    assert len(said) == 1, "a missing receiver is no reason to disturb"


async def test_a_service_that_ends_by_itself_is_reported(nobody: str) -> None:
    said: list[str] = []
    reported = asyncio.Event()

    def hear(line: str) -> None:
        said.append(line)
        if "ended with exit code" in line:
            reported.set()

    shop = DemoShop(otlp_grpc=nobody, otlp_http=nobody, progress=hear)
    try:
        await shop.start()
        [payments] = [child for child in psutil.Process().children() if "payments" in child.cmdline()]
        payments.kill()
        async with asyncio.timeout(20):
            await reported.wait()
        assert "The demo service payments ended with exit code -9" in said[-1]
    finally:
        await shop.stop()
        await shop.stop()


async def test_a_service_that_cannot_start_gives_one_clear_error_and_leaves_nothing(
    nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A real reason: the interpreter of an installation that was removed meanwhile, here one that only fails.
    monkeypatch.setattr(sys, "executable", "/bin/false")
    shop = DemoShop(otlp_grpc=nobody, otlp_http=nobody, progress=lambda _: None)
    with pytest.raises(ShopError, match=r"The demo service \w+ did not start \(exit code 1\)"):
        await shop.start()
    assert [child for child in psutil.Process().children() if "ares_otel.demo.service" in child.cmdline()] == []


def test_no_service_outlives_a_killed_parent(nobody: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, nobody], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        with parent.stdout:
            assert parent.stdout.readline() == "started\n"
        services = descendants(parent.pid)
        assert len(services) == 4
    finally:
        parent.kill()
        parent.wait()
    wait_until_gone(services, seconds=20)
