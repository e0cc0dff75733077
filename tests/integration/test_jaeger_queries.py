"""Jaeger's services apart from a port: searches without time, no database."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from ares_otel.api.jaeger.failures import tell_incomplete
from ares_otel.api.jaeger.proto import api_v3_pb2, storage_v2_pb2
from ares_otel.api.jaeger.storage_query import StorageService
from ares_otel.api.jaeger.v3_query import QueryService
from ares_otel.model.rpc import DEADLINE_EXCEEDED, UNAVAILABLE, RpcFailure, RpcMethod
from tests.support.jaeger_shop import Shop
from tests.support.ports import free_port


async def everything(method: RpcMethod, request: Any) -> list[Any]:
    """What a method answers."""
    if method.one is not None:
        return [await method.one(request)]
    assert method.stream is not None
    return [answer async for answer in method.stream(request)]


def test_a_search_that_had_no_time_for_everything_says_so_behind_what_it_found() -> None:
    tell_incomplete(7, complete=True)
    with pytest.raises(RpcFailure, match="newest 7 traces") as caught:
        tell_incomplete(7, complete=False)
    assert caught.value.code == DEADLINE_EXCEEDED


async def test_without_the_database_every_method_is_unavailable() -> None:
    shop = Shop()
    bounds: dict[str, Any] = {"start_time_min": shop.at(0), "start_time_max": shop.at(1)}
    times = {"start_time": shop.at(0), "end_time": shop.at(1)}
    v3_search = api_v3_pb2.TraceQueryParameters(**bounds)
    storage_search = storage_v2_pb2.TraceQueryParameters(**bounds)
    requests = {
        "GetTrace": api_v3_pb2.GetTraceRequest(trace_id="77"),
        "GetTraces": storage_v2_pb2.GetTracesRequest(query=[storage_v2_pb2.GetTraceParams(trace_id=bytes(15) + b"1")]),
        "GetOperations": api_v3_pb2.GetOperationsRequest(service="shop"),
    }
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    async with asyncpg.create_pool(nowhere, min_size=0, max_size=1, timeout=5) as pool:
        asked = 0
        for service in (QueryService(pool), StorageService(pool)):
            for method in service.methods():
                if method.name == "GetCapabilities":
                    continue
                fields = {field.name for field in method.request.DESCRIPTOR.fields}
                request: Any = requests.get(method.name)
                if request is None and "query" in fields:
                    request = method.request(query=v3_search if isinstance(service, QueryService) else storage_search)
                elif request is None:
                    request = method.request(**(times if "start_time" in fields else {}))
                with pytest.raises(RpcFailure) as caught:
                    await everything(method, request)
                assert caught.value.code == UNAVAILABLE, method
                assert caught.value.message.endswith(".")
                asked += 1
        assert asked == 13
