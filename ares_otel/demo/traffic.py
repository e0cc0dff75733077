"""Customers of the shop: an endless, seeded stream of visits at a bounded rate."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import httpx

from ares_otel.demo.catalogue import LIMITED, PRODUCTS, Card

log = logging.getLogger("shop.traffic")

MAX_IN_FLIGHT = 16
"""Visits at the same time; a slow shop gets fewer visitors, not more memory."""


Action = Literal["browse", "lookup", "lookup-unknown", "buy"]


@dataclass(frozen=True, slots=True)
class Visit:
    """What one customer does: look at the catalogue, look up an order, or buy."""

    action: Action
    sku: str = ""
    quantity: int = 1
    card: Card = Card.GOOD


_BLOCK: tuple[Action, ...] = (
    *("browse",) * 4,
    *("lookup",) * 2,
    "lookup-unknown",
)
_CARDS = (
    *(Card.GOOD,) * 5,
    *(Card.SLOW,) * 2,
    *(Card.DECLINED,) * 2,
    *(Card.FLAKY,) * 2,
    Card.UNREACHABLE,
    Card.UNKNOWN,
)


def visits(seed: int) -> Iterator[Visit]:
    """Visits without end. They come in shuffled blocks of 22, and every block holds every case: each card, and the
    limited edition twice. The same seed gives the same visits."""
    rng = random.Random(seed)
    ordinary = [sku for sku in PRODUCTS if sku != LIMITED]
    while True:
        block = [Visit(action) for action in _BLOCK]
        block += [Visit("buy", rng.choice(ordinary), rng.randint(1, 3), card) for card in _CARDS]
        block += [Visit("buy", LIMITED), Visit("buy", LIMITED)]
        rng.shuffle(block)
        yield from block


async def send_traffic(storefront: str, *, rate: float, seed: int) -> None:
    """Visit the shop until cancelled.

    storefront: its URL; rate: visits a second on average. Waits between visits are random, as with real customers. A
    failed visit is a case of the demo and ends nothing.
    """
    rng = random.Random(seed + 1)
    slots = asyncio.Semaphore(MAX_IN_FLIGHT)
    orders: deque[str] = deque(maxlen=32)
    # Not instrumented: a customer's browser sends no spans here, so a trace begins at the storefront.
    async with (
        httpx.AsyncClient(base_url=storefront, timeout=15, trust_env=False) as client,
        asyncio.TaskGroup() as group,
    ):

        async def visit(one: Visit) -> None:
            try:
                await _act(client, one, orders, rng)
            except httpx.HTTPError as error:
                log.warning("A customer gave up: %r", error)
            finally:
                slots.release()

        for one in visits(seed):
            await slots.acquire()
            group.create_task(visit(one))
            await asyncio.sleep(min(rng.expovariate(rate), 3 / rate))


async def _act(client: httpx.AsyncClient, visit: Visit, orders: deque[str], rng: random.Random) -> None:
    if visit.action == "browse":
        await client.get("/products")
    elif visit.action == "lookup":
        await client.get(f"/orders/{rng.choice(orders) if orders else 'ord-0'}")
    elif visit.action == "lookup-unknown":
        await client.get("/orders/ord-0")
    else:
        answer = await client.post(
            "/checkout", json={"sku": visit.sku, "quantity": visit.quantity, "card": visit.card.value}
        )
        if answer.status_code == httpx.codes.CREATED:
            orders.append(answer.json()["order_id"])
