"""Jaeger's API v3 over gRPC, with a client made from the project's own `.proto` files."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.adjust import WARNINGS
from ares_otel.api.jaeger.proto import api_v3_pb2 as pb
from ares_otel.api.jaeger.proto import storage_v2_pb2
from tests.support.eventually import eventually
from tests.support.jaeger_shop import (
    CHECKOUT,
    LARGE,
    LARGE_SPANS,
    MS,
    RESTOCK,
    SHORT,
    SKEWED,
    Clients,
    Shop,
    ids_of,
    in_order,
    spans_of,
)

TWO_MIB = 2 * 1024 * 1024


async def get(jaeger: Clients, **fields: Any) -> list[TracesData]:
    return [piece async for piece in jaeger.v3.GetTrace(pb.GetTraceRequest(**fields))]


def query(shop: Shop, **fields: Any) -> pb.TraceQueryParameters:
    return pb.TraceQueryParameters(**{"start_time_min": shop.at(-1), "start_time_max": shop.at(100), **fields})


async def find(jaeger: Clients, shop: Shop, **fields: Any) -> list[bytes]:
    """Ids of the traces that a search finds."""
    stream = jaeger.v3.FindTraces(pb.FindTracesRequest(query=query(shop, **fields)))
    return ids_of([piece async for piece in stream])


async def refused(call: Any, code: grpc.StatusCode) -> str:
    """What the error of a call says, whose code has to be this one."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if hasattr(call, "read") else call)
    assert caught.value.code() is code
    return str(caught.value.details())


async def test_a_trace_is_given_by_its_id_with_all_that_was_sent(jaeger: Clients, shop: Shop) -> None:
    pieces = await get(jaeger, trace_id=CHECKOUT.hex(), raw_traces=True)
    sent = spans_of([TracesData(resource_spans=shop.checkout())])
    assert in_order(spans_of(pieces)) == in_order(sent)
    assert {each.resource.attributes[0].value.string_value for each in pieces[0].resource_spans} == {
        "frontend",
        "orders",
    }


@pytest.mark.parametrize("written", ["0000000000000000a3ce929d0e0e4736", "a3ce929d0e0e4736", "A3CE929D0E0E4736"])
async def test_an_id_of_64_bits_is_found_with_and_without_leading_zeros(
    jaeger: Clients, shop: Shop, written: str
) -> None:
    assert ids_of(await get(jaeger, trace_id=written)) == [SHORT]


async def test_an_unknown_trace_is_not_found(jaeger: Clients, shop: Shop) -> None:
    call = jaeger.v3.GetTrace(pb.GetTraceRequest(trace_id="77" * 16))
    assert await refused(call, grpc.StatusCode.NOT_FOUND) == f"There is no trace {'77' * 16}."


@pytest.mark.parametrize("id", ["", "xyz", "0" * 32, "1" * 33])
async def test_an_id_that_is_none_is_an_invalid_argument(jaeger: Clients, id: str) -> None:
    call = jaeger.v3.GetTrace(pb.GetTraceRequest(trace_id=id))
    assert (await refused(call, grpc.StatusCode.INVALID_ARGUMENT)).startswith("trace_id must be a trace id")


async def test_a_range_says_where_a_trace_is_looked_for_and_it_comes_whole(jaeger: Clients, shop: Shop) -> None:
    around_the_last = {"start_time": shop.at(0.1), "end_time": shop.at(0.2)}
    assert len(spans_of(await get(jaeger, trace_id=CHECKOUT.hex(), **around_the_last))) == 3
    elsewhere = pb.GetTraceRequest(trace_id=CHECKOUT.hex(), start_time=shop.at(10), end_time=shop.at(20))
    await refused(jaeger.v3.GetTrace(elsewhere), grpc.StatusCode.NOT_FOUND)
    turned = pb.GetTraceRequest(trace_id=CHECKOUT.hex(), start_time=shop.at(20), end_time=shop.at(10))
    await refused(jaeger.v3.GetTrace(turned), grpc.StatusCode.INVALID_ARGUMENT)


async def test_clocks_that_differ_are_adjusted_and_that_is_told_unless_raw_traces_are_wanted(
    jaeger: Clients, shop: Shop
) -> None:
    raw = {span.name: span for span in spans_of(await get(jaeger, trace_id=SKEWED.hex(), raw_traces=True))}
    assert raw["taken"].start_time_unix_nano > raw["call"].end_time_unix_nano
    assert not [pair for span in raw.values() for pair in span.attributes if pair.key == WARNINGS]
    shown = {span.name: span for span in spans_of(await get(jaeger, trace_id=SKEWED.hex()))}
    assert raw["call"].start_time_unix_nano <= shown["taken"].start_time_unix_nano < raw["call"].end_time_unix_nano
    assert [pair.key for pair in shown["taken"].attributes] == [WARNINGS]


async def test_a_large_trace_comes_in_consecutive_pieces_of_less_than_two_mib(jaeger: Clients, shop: Shop) -> None:
    for raw in (False, True):
        pieces = await get(jaeger, trace_id=LARGE.hex(), raw_traces=raw)
        assert len(pieces) > 1
        assert ids_of(pieces) == [LARGE]
        assert all(piece.ByteSize() < TWO_MIB for piece in pieces)
        assert [span.name for span in spans_of(pieces)] == [f"step {n}" for n in range(1, LARGE_SPANS + 1)]


async def test_a_search_gives_whole_traces_the_most_recent_first(jaeger: Clients, shop: Shop) -> None:
    assert await find(jaeger, shop) == [SKEWED, LARGE, SHORT, RESTOCK, CHECKOUT]
    stream = jaeger.v3.FindTraces(pb.FindTracesRequest(query=query(shop, service_name="orders")))
    assert len(spans_of([piece async for piece in stream])) == 3


async def test_a_search_is_limited_by_its_depth(jaeger: Clients, shop: Shop) -> None:
    assert await find(jaeger, shop, search_depth=2) == [SKEWED, LARGE]


async def test_an_empty_service_is_any_service(jaeger: Clients, shop: Shop) -> None:
    assert await find(jaeger, shop, operation_name="take order") == [CHECKOUT]
    assert await find(jaeger, shop, service_name="frontend", operation_name="take order") == []


async def test_nothing_found_is_an_empty_stream(jaeger: Clients, shop: Shop) -> None:
    assert await find(jaeger, shop, service_name="nobody") == []


async def test_the_bounds_of_the_start_are_inclusive_and_exclusive_to_the_nanosecond(
    jaeger: Clients, shop: Shop
) -> None:
    async def between(first: Timestamp, last: Timestamp) -> list[bytes]:
        return await find(jaeger, shop, service_name="cart", start_time_min=first, start_time_max=last)

    assert await between(shop.at(8), shop.at(8, 1)) == [SHORT]
    assert await between(shop.at(8, 1), shop.at(9)) == []
    assert await between(shop.at(7), shop.at(8)) == []


@pytest.mark.parametrize("missing", ["start_time_min", "start_time_max"])
async def test_both_bounds_of_the_start_are_required(jaeger: Clients, shop: Shop, missing: str) -> None:
    for call, kind in (
        (jaeger.v3.FindTraces, pb.FindTracesRequest),
        (jaeger.v3.FindTraceSummaries, pb.FindTraceSummariesRequest),
    ):
        asked = kind(query=query(shop, **{missing: None}))
        message = await refused(call(asked), grpc.StatusCode.INVALID_ARGUMENT)
        assert message.startswith(f"query.{missing} is required")


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"http.response.status_code": "500"}, [RESTOCK, CHECKOUT]),
        ({"customer": "Ada & Söhne"}, [CHECKOUT]),
        ({"retry": "true", "load": "0.25"}, [CHECKOUT]),
        ({"deployment.environment": "prod"}, [CHECKOUT]),
        ({"deployment.environment": "prod", "customer": "Ada & Söhne"}, [CHECKOUT]),
        ({"customer": "Ada & Söhne", "error": "true"}, []),
        ({"error": "true"}, [CHECKOUT]),
        ({"span.kind": "producer"}, [RESTOCK]),
        ({"exception.type": "OutOfStock"}, []),
        ({"team": "blue"}, []),
    ],
    ids=str,
)
async def test_attributes_are_looked_for_on_spans_and_resources_and_one_span_must_have_all(
    jaeger: Clients, shop: Shop, attributes: dict[str, str], found: list[bytes]
) -> None:
    assert await find(jaeger, shop, attributes=attributes) == found


async def test_durations_bound_a_span(jaeger: Clients, shop: Shop) -> None:
    assert await find(jaeger, shop, duration_min=Duration(nanos=400 * MS)) == [CHECKOUT]
    assert await find(jaeger, shop, duration_min=Duration(nanos=400 * MS + 1)) == []
    assert await find(jaeger, shop, service_name="orders", duration_max=Duration(nanos=200 * MS)) == [CHECKOUT]
    assert await find(jaeger, shop, service_name="orders", duration_max=Duration(nanos=200 * MS - 1)) == []


async def test_traces_of_a_search_are_adjusted_unless_raw_traces_are_wanted(jaeger: Clients, shop: Shop) -> None:
    for raw in (False, True):
        asked = pb.FindTracesRequest(query=query(shop, service_name="late", raw_traces=raw))
        spans = spans_of([piece async for piece in jaeger.v3.FindTraces(asked)])
        told = [pair for span in spans for pair in span.attributes if pair.key == WARNINGS]
        assert bool(told) is not raw


async def test_services_are_those_that_sent_spans(jaeger: Clients, shop: Shop) -> None:
    answer = await jaeger.v3.GetServices(pb.GetServicesRequest())
    assert {"frontend", "orders", "warehouse", "stock", "early", "late", "cart", "batch"} <= set(answer.services)
    assert list(answer.services) == sorted(answer.services)


async def test_operations_are_those_of_a_service_by_kind(jaeger: Clients, shop: Shop) -> None:
    async def operations(**fields: str) -> list[tuple[str, str]]:
        answer = await jaeger.v3.GetOperations(pb.GetOperationsRequest(**fields))
        return [(each.name, each.span_kind) for each in answer.operations]

    assert await operations(service="frontend") == [("POST /checkout", "server"), ("POST /orders", "client")]
    assert await operations(service="frontend", span_kind="client") == [("POST /orders", "client")]
    assert await operations(service="stock", span_kind="internal") == [("left over", "internal")]
    assert await operations(service="nobody") == []
    for wrong in ({}, {"service": "frontend", "span_kind": "sideways"}):
        call = jaeger.v3.GetOperations(pb.GetOperationsRequest(**wrong))
        await refused(call, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_summary_says_about_a_trace_what_a_list_shows(jaeger: Clients, shop: Shop) -> None:
    stream = jaeger.v3.FindTraceSummaries(pb.FindTraceSummariesRequest(query=query(shop, service_name="orders")))
    [summary] = [each async for piece in stream for each in piece.summaries]
    assert summary == pb.TraceSummary(
        trace_id=CHECKOUT.hex(),
        root_service_name="frontend",
        root_operation_name="POST /checkout",
        min_start_time_unix_nano=shop.begin,
        max_end_time_unix_nano=shop.begin + 400 * MS,
        span_count=3,
        error_span_count=1,
        services=[
            pb.ServiceSummary(name="frontend", span_count=2),
            pb.ServiceSummary(name="orders", span_count=1, error_span_count=1),
        ],
    )


async def test_summaries_come_most_recent_first_and_count_orphans(jaeger: Clients, shop: Shop) -> None:
    stream = jaeger.v3.FindTraceSummaries(pb.FindTraceSummariesRequest(query=query(shop)))
    found = [each async for piece in stream for each in piece.summaries]
    assert [each.trace_id for each in found] == [id.hex() for id in (SKEWED, LARGE, SHORT, RESTOCK, CHECKOUT)]
    assert [each.orphan_span_count for each in found] == [0, 0, 0, 1, 0]
    assert found[1].span_count == LARGE_SPANS


async def test_dependencies_are_calls_within_a_range_of_time(jaeger: Clients, shop: Shop) -> None:
    async def dependencies() -> list[tuple[str, str, int]]:
        answer = await jaeger.v3.GetDependencies(
            pb.GetDependenciesRequest(start_time=shop.at(-60), end_time=shop.at(600))
        )
        return [(each.parent, each.child, each.call_count) for each in answer.dependencies]

    async def counted() -> bool:
        return {("frontend", "orders", 1), ("early", "late", 1)} <= set(await dependencies())

    assert await eventually(counted)
    asked = storage_v2_pb2.GetDependenciesRequest(start_time=shop.at(-60), end_time=shop.at(600))
    stored = (await jaeger.dependencies.GetDependencies(asked)).dependencies
    assert [(each.parent, each.child, each.call_count) for each in stored] == await dependencies()
    before = pb.GetDependenciesRequest(start_time=shop.at(-7200), end_time=shop.at(-3600))
    assert not (await jaeger.v3.GetDependencies(before)).dependencies
    for wrong in (
        pb.GetDependenciesRequest(end_time=shop.at()),
        pb.GetDependenciesRequest(start_time=shop.at()),
        pb.GetDependenciesRequest(start_time=shop.at(1), end_time=shop.at()),
    ):
        await refused(jaeger.v3.GetDependencies(wrong), grpc.StatusCode.INVALID_ARGUMENT)
