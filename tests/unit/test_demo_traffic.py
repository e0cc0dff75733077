"""The demo's customers, and the questions it suggests."""

from __future__ import annotations

import shlex
from itertools import islice

import pytest

from ares_otel.demo import DemoShop, ShopError, queries
from ares_otel.demo.catalogue import LIMITED, Card
from ares_otel.demo.traffic import visits

_BLOCK = 22


def test_every_block_of_visits_holds_every_case() -> None:
    stream = visits(seed=7)
    for _ in range(5):
        block = list(islice(stream, _BLOCK))
        assert {visit.card for visit in block} == set(Card)
        assert {visit.action for visit in block} == {"browse", "lookup", "lookup-unknown", "buy"}
        assert sum(visit.sku == LIMITED for visit in block) == 2


def test_the_same_seed_gives_the_same_visits() -> None:
    assert list(islice(visits(3), 100)) == list(islice(visits(3), 100))
    assert list(islice(visits(3), 100)) != list(islice(visits(4), 100))


def test_suggested_queries_use_the_doors_that_are_there() -> None:
    assert queries({}) == []
    both = queries({"database": "postgresql://ares@/x?host=/a b", "http": "http://127.0.0.1:8080/"})
    psql = [shlex.split(command) for _, command in both if command.startswith("psql")]
    curl = [shlex.split(command) for _, command in both if command.startswith("curl")]
    assert psql
    assert all(words[1] == "postgresql://ares@/x?host=/a b" for words in psql)
    assert curl
    assert all(words[-1].startswith("http://127.0.0.1:8080/api/v1/observability/") for words in curl)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1:4317", "http://", "", "127.0.0.1:many", "http://[::1"])
async def test_an_address_the_shop_cannot_send_to_is_named(address: str) -> None:
    shop = DemoShop(otlp_grpc=address, otlp_http="http://127.0.0.1:4318", progress=print)
    with pytest.raises(ShopError, match="is not an address the demo can send to"):
        await shop.start()
    await shop.stop()
