"""Jaeger's remote storage v2, with a client made from the project's own `.proto` files."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.expressions import call_to_proto
from ares_otel.api.jaeger.proto import api_v3_pb2, expression_v1_pb2
from ares_otel.api.jaeger.proto import storage_v2_pb2 as pb
from ares_otel.query.search.expression import (
    LEVELS,
    OPERATORS,
    Attribute,
    Call,
    Expression,
    Field,
    Nested,
    Scalar,
    Values,
)
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

GO_ZERO = Timestamp(seconds=-62_135_596_800)
UNKNOWN = b"\x77" * 16


async def get(jaeger: Clients, *wanted: bytes | pb.GetTraceParams) -> list[TracesData]:
    asked = [pb.GetTraceParams(trace_id=each) if isinstance(each, bytes) else each for each in wanted]
    return [piece async for piece in jaeger.reader.GetTraces(pb.GetTracesRequest(query=asked))]


def query(shop: Shop, **fields: Any) -> pb.TraceQueryParameters:
    return pb.TraceQueryParameters(**{"start_time_min": shop.at(-1), "start_time_max": shop.at(100), **fields})


async def find(jaeger: Clients, shop: Shop, **fields: Any) -> list[bytes]:
    """Ids of the traces that a search finds: the three ways of searching agree."""
    wanted = query(shop, **fields)
    answer = await jaeger.reader.FindTraceIDs(pb.FindTraceIDsRequest(query=wanted))
    found = [each.trace_id for each in answer.trace_ids]
    stream = jaeger.reader.FindTraces(pb.FindTracesRequest(query=wanted))
    assert ids_of([piece async for piece in stream]) == found
    stream = jaeger.reader.FindTraceSummaries(pb.FindTraceSummariesRequest(query=wanted))
    assert [each.trace_id async for piece in stream for each in piece.summaries] == found
    return found


async def refused(jaeger: Clients, **fields: Any) -> str:
    """What the refusal of a search says, whichever way it goes."""
    messages = set()
    wanted = pb.TraceQueryParameters(**fields)
    for call in (
        jaeger.reader.FindTraceIDs(pb.FindTraceIDsRequest(query=wanted)),
        jaeger.reader.FindTraces(pb.FindTracesRequest(query=wanted)).read(),
        jaeger.reader.FindTraceSummaries(pb.FindTraceSummariesRequest(query=wanted)).read(),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        messages.add(str(caught.value.details()))
    assert len(messages) == 1
    return messages.pop()


def attribute(key: str, **value: Any) -> pb.KeyValue:
    return pb.KeyValue(key=key, value=pb.AnyValue(**value))


class TestTraces:
    async def test_several_traces_come_in_the_order_of_the_request_and_as_they_were_sent(
        self, jaeger: Clients, shop: Shop
    ) -> None:
        pieces = await get(jaeger, RESTOCK, SKEWED, CHECKOUT)
        assert ids_of(pieces) == [RESTOCK, SKEWED, CHECKOUT]
        sent = spans_of([TracesData(resource_spans=[*shop.restock(), *shop.skewed(), *shop.checkout()])])
        assert in_order(spans_of(pieces)) == in_order(sent)

    async def test_unknown_ids_are_skipped_and_nothing_found_is_an_empty_stream(
        self, jaeger: Clients, shop: Shop
    ) -> None:
        assert ids_of(await get(jaeger, UNKNOWN, SHORT, UNKNOWN)) == [SHORT]
        assert await get(jaeger, UNKNOWN) == []
        assert await get(jaeger) == []

    async def test_a_large_trace_spans_consecutive_pieces_none_of_which_is_empty_or_mixed(
        self, jaeger: Clients, shop: Shop
    ) -> None:
        pieces = await get(jaeger, SHORT, LARGE, SKEWED)
        assert ids_of(pieces) == [SHORT, LARGE, SKEWED]
        assert len(pieces) > 4
        assert len(spans_of(pieces)) == 1 + LARGE_SPANS + 2
        assert all(piece.ByteSize() < 2 * 1024 * 1024 for piece in pieces)

    async def test_ranges_are_hints_where_each_trace_is(self, jaeger: Clients, shop: Shop) -> None:
        there = pb.GetTraceParams(trace_id=CHECKOUT, start_time=shop.at(0.1), end_time=shop.at(0.2))
        elsewhere = pb.GetTraceParams(trace_id=RESTOCK, start_time=shop.at(10), end_time=shop.at(20))
        not_set = pb.GetTraceParams(trace_id=SHORT, start_time=GO_ZERO, end_time=GO_ZERO)
        pieces = await get(jaeger, there, elsewhere, not_set)
        assert ids_of(pieces) == [CHECKOUT, SHORT]
        assert len(spans_of(pieces)) == 3 + 1

    async def test_what_a_search_says_of_a_trace_leads_to_the_whole_of_it(self, jaeger: Clients, shop: Shop) -> None:
        wanted = query(shop, operation_name="take order")
        [found] = (await jaeger.reader.FindTraceIDs(pb.FindTraceIDsRequest(query=wanted))).trace_ids
        assert shop.at(0).ToNanoseconds() <= found.start.ToNanoseconds() <= found.end.ToNanoseconds()
        asked = pb.GetTraceParams(trace_id=found.trace_id, start_time=found.start, end_time=found.end)
        assert len(spans_of(await get(jaeger, asked))) == 3

    async def test_an_id_of_64_bits_is_found_with_and_without_its_leading_zeros(
        self, jaeger: Clients, shop: Shop
    ) -> None:
        assert SHORT.startswith(bytes(8))
        assert ids_of(await get(jaeger, SHORT[8:])) == ids_of(await get(jaeger, SHORT, SHORT[8:])) == [SHORT]

    @pytest.mark.parametrize("id", [b"", b"\1" * 7, b"\1" * 9, b"\1" * 17])
    async def test_an_id_that_has_not_16_bytes_is_refused(self, jaeger: Clients, id: bytes) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(jaeger, id)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "16 bytes" in str(caught.value.details())


class TestSearches:
    async def test_the_most_recent_trace_comes_first_and_the_depth_limits(self, jaeger: Clients, shop: Shop) -> None:
        assert await find(jaeger, shop) == [SKEWED, LARGE, SHORT, RESTOCK, CHECKOUT]
        assert await find(jaeger, shop, search_depth=3) == [SKEWED, LARGE, SHORT]
        assert "search_depth" in await refused(jaeger, search_depth=-1)

    @pytest.mark.parametrize(
        ("attributes", "found"),
        [
            ([attribute("http.response.status_code", string_value="500")], [RESTOCK, CHECKOUT]),
            ([attribute("http.response.status_code", int_value=500)], [CHECKOUT]),
            ([attribute("http.response.status_code", double_value=500)], [CHECKOUT]),
            ([attribute("http.response.status_code", double_value=500.5)], []),
            ([attribute("http.response.status_code", bool_value=True)], []),
            ([attribute("retry", bool_value=True)], [CHECKOUT]),
            ([attribute("load", double_value=0.25)], [CHECKOUT]),
            ([attribute("key", bytes_value=b"\x00\xff")], [CHECKOUT]),
            (
                [
                    attribute(
                        "tags",
                        array_value=pb.ArrayValue(values=[pb.AnyValue(string_value="new"), pb.AnyValue(int_value=5)]),
                    )
                ],
                [CHECKOUT],
            ),
            ([attribute("cart", kvlist_value=pb.KeyValueList(values=[attribute("items", int_value=3)]))], [CHECKOUT]),
            ([attribute("deployment.environment", string_value="test")], [RESTOCK]),
            ([attribute("team", string_value="blue")], [CHECKOUT]),
            ([attribute("exception.type", string_value="OutOfStock")], [CHECKOUT]),
            ([attribute("reason", string_value="restock")], [CHECKOUT]),
            ([attribute("error", string_value="true")], [CHECKOUT]),
            ([attribute("span.kind", string_value="consumer")], [RESTOCK]),
            ([attribute("otel.scope.version", string_value="2.1")], [CHECKOUT]),
        ],
        ids=lambda value: value[0].key if value and isinstance(value[0], pb.KeyValue) else "",
    )
    async def test_attributes_are_typed_but_for_texts_which_stock_jaegers_send_for_everything(
        self, jaeger: Clients, shop: Shop, attributes: list[pb.KeyValue], found: list[bytes]
    ) -> None:
        assert await find(jaeger, shop, attributes=attributes) == found

    async def test_a_conjunction_matches_within_one_span(self, jaeger: Clients, shop: Shop) -> None:
        customer = attribute("customer", string_value="Ada & Söhne")
        assert await find(jaeger, shop, attributes=[customer, attribute("retry", bool_value=True)]) == [CHECKOUT]
        assert await find(jaeger, shop, attributes=[customer, attribute("team", string_value="blue")]) == []
        assert await find(jaeger, shop, attributes=[customer], service_name="orders") == []

    async def test_an_empty_service_is_any_service(self, jaeger: Clients, shop: Shop) -> None:
        assert await find(jaeger, shop, service_name="", operation_name="taken") == [SKEWED]

    async def test_an_attribute_without_a_value_is_refused(self, jaeger: Clients) -> None:
        message = await refused(jaeger, attributes=[pb.KeyValue(key="customer")])
        assert message.startswith("query.attributes: customer has no value")

    async def test_a_search_without_bounds_is_about_all_time_that_is_kept(self, jaeger: Clients, shop: Shop) -> None:
        bounds = {"start_time_min": GO_ZERO, "start_time_max": None}
        assert await find(jaeger, shop, service_name="orders", **bounds) == [CHECKOUT]

    async def test_durations_bound_a_span_and_none_is_what_go_sends_for_not_set(
        self, jaeger: Clients, shop: Shop
    ) -> None:
        longest = Duration(nanos=400 * MS)
        assert await find(jaeger, shop, duration_min=longest, duration_max=Duration()) == [CHECKOUT]
        assert await find(jaeger, shop, service_name="orders", duration_max=Duration(nanos=199 * MS)) == []

    async def test_a_summary_is_about_the_whole_trace(self, jaeger: Clients, shop: Shop) -> None:
        wanted = pb.FindTraceSummariesRequest(query=query(shop, operation_name="left over"))
        [summary] = [each async for piece in jaeger.reader.FindTraceSummaries(wanted) for each in piece.summaries]
        assert (summary.trace_id, summary.root_service_name, summary.root_operation_name) == (
            RESTOCK,
            "warehouse",
            "send stock",
        )
        assert (summary.span_count, summary.orphan_span_count, summary.error_span_count) == (3, 1, 0)
        assert [(each.name, each.span_count) for each in summary.services] == [("stock", 2), ("warehouse", 1)]


class TestCatalogue:
    async def test_services_and_operations_are_those_of_v3(self, jaeger: Clients, shop: Shop) -> None:
        services = (await jaeger.reader.GetServices(pb.GetServicesRequest())).services
        assert services == (await jaeger.v3.GetServices(api_v3_pb2.GetServicesRequest())).services
        answer = await jaeger.reader.GetOperations(pb.GetOperationsRequest(service="frontend", span_kind="server"))
        assert [(each.name, each.span_kind) for each in answer.operations] == [("POST /checkout", "server")]

    async def test_capabilities_are_declared_exactly(self, jaeger: Clients) -> None:
        search = (await jaeger.capabilities.GetCapabilities(pb.GetCapabilitiesRequest())).search
        assert search.without_service_name
        assert search.same_span_conjunction
        assert tuple(search.filter.levels) == LEVELS == ("span", "resource", "scope", "event", "link")
        assert set(search.filter.operators) == set(OPERATORS)
        assert len(search.filter.operators) == len(OPERATORS)


STATUS = Attribute("http.response.status_code")
CUSTOMER = Attribute("customer", "span")
ADA = Scalar("Ada & Söhne")
CONDITIONS: dict[str, tuple[Call, list[bytes]]] = {
    "eq": (Call("eq", (STATUS, Scalar("500"))), [RESTOCK, CHECKOUT]),
    "eq int": (Call("eq", (STATUS, Scalar("500", "int"))), [CHECKOUT]),
    "eq string": (Call("eq", (STATUS, Scalar("500", "string"))), [RESTOCK]),
    "eq bool": (Call("eq", (Attribute("retry"), Scalar("true", "bool"))), [CHECKOUT]),
    "eq double": (Call("eq", (Attribute("load"), Scalar("0.25", "double"))), [CHECKOUT]),
    "ne": (Call("ne", (Attribute("deployment.environment", "resource"), Scalar("prod"))), [RESTOCK]),
    "gt": (Call("gt", (STATUS, Scalar("499", "int"))), [CHECKOUT]),
    "gte": (Call("gte", (STATUS, Scalar("500", "int"))), [CHECKOUT]),
    "lt": (Call("lt", (Attribute("load"), Scalar("0.3", "double"))), [CHECKOUT]),
    "lte": (Call("lte", (Attribute("load"), Scalar("0.2", "double"))), []),
    "regex": (Call("regex", (Field("name", "span"), Scalar("^(send|take) stock$"))), [RESTOCK]),
    "exists": (Call("exists", (Attribute("team", "scope"),)), [CHECKOUT]),
    "in": (Call("in", (Field("kind", "span"), Values(("producer", "consumer")))), [RESTOCK]),
    "not_in": (
        Call("not_in", (Field("kind", "span"), Values(("internal", "server", "client", "producer")))),
        [RESTOCK],
    ),
    "and": (Call("and", (Call("eq", (CUSTOMER, ADA)), Call("exists", (Attribute("retry", "span"),)))), [CHECKOUT]),
    "or": (
        Call("or", (Call("eq", (CUSTOMER, ADA)), Call("eq", (Field("name", "span"), Scalar("remember"))))),
        [SHORT, CHECKOUT],
    ),
    "not": (
        Call(
            "and",
            (
                Call("eq", (Field("service", "resource"), Scalar("stock"))),
                Call("not", (Call("eq", (Field("kind", "span"), Scalar("consumer"))),)),
            ),
        ),
        [RESTOCK],
    ),
    "some": (
        Call("some", (Nested("event"), Call("eq", (Attribute("exception.type", "event"), Scalar("OutOfStock"))))),
        [CHECKOUT],
    ),
    "some link": (
        Call("some", (Nested("link"), Call("eq", (Field("traceID", "link"), Scalar(RESTOCK.hex()))))),
        [CHECKOUT],
    ),
    "duration": (Call("gte", (Field("duration", "span"), Scalar("400ms"))), [CHECKOUT]),
    "status": (Call("eq", (Field("status", "span"), Scalar("error"))), [CHECKOUT]),
}


class TestFilter:
    @pytest.mark.parametrize("name", list(CONDITIONS))
    async def test_every_operator_and_type_goes_through(self, jaeger: Clients, shop: Shop, name: str) -> None:
        call, found = CONDITIONS[name]
        assert await find(jaeger, shop, filter=call_to_proto(call)) == found

    def test_every_operator_has_a_condition(self) -> None:
        def operators(expression: Expression) -> set[str]:
            if not isinstance(expression, Call):
                return set()
            return {expression.op}.union(*map(operators, expression.args))

        assert set.union(*(operators(call) for call, _ in CONDITIONS.values())) == set(OPERATORS)

    @pytest.mark.parametrize(
        ("key", "value", "level"),
        [
            ("customer", "Ada & Söhne", "span"),
            ("deployment.environment", "prod", "resource"),
            ("team", "blue", "scope"),
            ("exception.type", "OutOfStock", "event"),
            ("reason", "restock", "link"),
        ],
    )
    async def test_every_level_is_looked_at_and_no_other(
        self, jaeger: Clients, shop: Shop, key: str, value: str, level: str
    ) -> None:
        for other in LEVELS:
            call = Call("eq", (Attribute(key, other), Scalar(value)))
            assert await find(jaeger, shop, filter=call_to_proto(call)) == ([CHECKOUT] if other == level else [])
        unqualified = call_to_proto(Call("eq", (Attribute(key), Scalar(value))))
        assert await find(jaeger, shop, filter=unqualified) == ([CHECKOUT] if level in ("span", "resource") else [])

    async def test_ne_and_comparisons_require_the_reference_to_be_present(self, jaeger: Clients, shop: Shop) -> None:
        for op in ("ne", "gt", "lt", "gte", "lte"):
            call = call_to_proto(Call(op, (Attribute("nobody.has.this"), Scalar("1"))))
            assert await find(jaeger, shop, filter=call) == []

    @pytest.mark.parametrize(
        "call",
        [
            Call("like", (STATUS, Scalar("500"))),
            Call("", ()),
            Call("eq", ()),
            Call("eq", (Attribute("a", "galaxy"), Scalar("1"))),
            Call("eq", (Field("colour", "span"), Scalar("red"))),
            Call("eq", (STATUS, Scalar("many", "int"))),
            Call("eq", (STATUS, Scalar("1", "complex"))),
            Call("regex", (STATUS, Scalar("(unclosed"))),
            Call("regex", (STATUS, Scalar(r"(a)\1"))),
            Call("some", (Nested("span"), Call("exists", (STATUS,)))),
            Call("gt", (Field("duration", "span"), Scalar("banana"))),
        ],
        ids=str,
    )
    async def test_what_cannot_be_served_is_refused_and_never_ignored(self, jaeger: Clients, call: Call) -> None:
        assert (await refused(jaeger, filter=call_to_proto(call))).endswith(".")

    async def test_a_filter_excludes_the_other_fields(self, jaeger: Clients) -> None:
        some = call_to_proto(Call("exists", (STATUS,)))
        for field, value in (("service_name", "x"), ("attributes", [attribute("a", int_value=1)])):
            assert "exclude each other" in await refused(jaeger, filter=some, **{field: value})

    async def test_an_empty_argument_is_refused(self, jaeger: Clients) -> None:
        call = expression_v1_pb2.Call(op="exists", args=[expression_v1_pb2.Expression()])
        assert "argument 1 of 'exists' is empty" in await refused(jaeger, filter=call)
