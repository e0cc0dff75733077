"""One Ares with the shop's traces, for all tests of Jaeger's doors that change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support import jaeger_shop
from tests.support.ares_process import AresProcess, running_ares
from tests.support.jaeger_shop import Clients, Shop, jaeger_clients
from tests.support.postgres import copied_database


@pytest.fixture(scope="package")
def ares(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AresProcess]:
    """`ares-otel up` with every door of Jaeger's."""
    options = ("--jaeger-http-port", "0", "--database-url")
    with copied_database(postgres_server) as url, running_ares(tmp_path_factory.mktemp("ares"), *options, url) as ares:
        yield ares


@pytest.fixture(scope="package")
def shop(ares: AresProcess) -> Shop:
    """The traces, written through Jaeger's gRPC port."""
    return jaeger_shop.written(ares.jaeger_grpc)


@pytest.fixture
async def jaeger(ares: AresProcess) -> AsyncIterator[Clients]:
    """Clients of Jaeger's gRPC port."""
    async with jaeger_clients(ares.jaeger_grpc) as clients:
        yield clients
