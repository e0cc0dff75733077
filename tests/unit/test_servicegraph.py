"""The `servicegraph` connector: which requests between services it finds in spans, and what it says of them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.connectors.servicegraph.config import ServiceGraphConfig
from ares_otel.connectors.servicegraph.connector import FACTORY, ServiceGraph
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import METRICS
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.telemetry import Telemetry
from tests.support.parts import make_batch, plain, traces

SECOND = 1_000_000_000
CLIENT, SERVER, PRODUCER, CONSUMER = 3, 2, 4, 5
TOTAL, FAILED = "traces_service_graph_request_total", "traces_service_graph_request_failed_total"
SERVER_SECONDS = "traces_service_graph_request_server"
CLIENT_SECONDS = "traces_service_graph_request_client"


class Place:
    """A connector, its clock, and what it handed on."""

    def __init__(self, **options: Any) -> None:
        self.now_ns = 1_700_000_000 * SECOND
        self.telemetry = Telemetry()
        self.batches: list[Batch] = []
        context = BuildContext(
            "servicegraph",
            self.telemetry,
            Admission(),
            clock=self,
            log=logging.getLogger("ares_otel.test"),
            services={Identity: Identity("ares-1")},
        )
        made = FACTORY.build(context, ServiceGraphConfig.model_validate(options), {METRICS: self})
        assert isinstance(made, ServiceGraph)
        self.connector = made

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / SECOND

    async def consume(self, batch: Batch) -> Accepted:
        self.batches.append(batch)
        return Accepted(batch.items)

    async def see(self, service: str, *spans: dict[str, Any], **resource: Any) -> None:
        await self.connector.observe(make_batch(traces(*spans, resource={"service__name": service, **resource})))

    async def flush(self, *, after: float = 0.0) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        self.now_ns += int(after * SECOND)
        self.batches.clear()
        await self.connector.emitter.flush()
        found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        for batch in self.batches:
            for metric in batch.message().resource_metrics[0].scope_metrics[0].metrics:
                data = getattr(metric, metric.WhichOneof("data")).data_points
                found.setdefault(metric.name, []).extend((plain(one.attributes), one) for one in data)
        return found

    def edges(self, outcome: str) -> float:
        labels = {"connector": "servicegraph", "outcome": outcome}
        return self.telemetry.registry.get_sample_value("ares_otel_connector_edges_total", labels) or 0.0


def span(number: int, kind: int, *, parent: int = 0, seconds: float = 0.1, **fields: Any) -> dict[str, Any]:
    return {
        "name": "work",
        "kind": kind,
        "trace_id": b"t" * 16,
        "span_id": number.to_bytes(8, "big"),
        "parent_span_id": parent.to_bytes(8, "big") if parent else b"",
        "start_time_unix_nano": SECOND,
        "end_time_unix_nano": SECOND + round(seconds * SECOND),
    } | fields


def edge(client: str, server: str, connection: str = "", *, failed: bool = False) -> dict[str, Any]:
    return {"client": client, "server": server, "connection_type": connection, "failed": failed}


@pytest.mark.parametrize("server_first", [False, True])
async def test_a_request_is_put_together_from_both_sides_in_either_order(server_first: bool) -> None:
    place = Place()
    sides = [("web", span(1, CLIENT, seconds=0.5)), ("api", span(2, SERVER, parent=1, seconds=0.25))]
    for service, one in reversed(sides) if server_first else sides:
        assert await place.flush() == {}
        await place.see(service, one)
    found = await place.flush()
    assert {name: [labels for labels, _ in points] for name, points in found.items()} == {
        name: [edge("web", "api")] for name in (TOTAL, SERVER_SECONDS, CLIENT_SECONDS)
    }
    assert (found[TOTAL][0][1].as_int, found[CLIENT_SECONDS][0][1].sum, found[SERVER_SECONDS][0][1].sum) == (
        1,
        0.5,
        0.25,
    )
    assert list(found[CLIENT_SECONDS][0][1].explicit_bounds)[:3] == [0.002, 0.004, 0.006]
    (batch,) = place.batches
    (group,) = batch.message().resource_metrics
    assert plain(group.resource.attributes) == {"service.name": "servicegraph", "service.instance.id": "ares-1"}
    assert group.scope_metrics[0].scope.name == "traces_service_graph"
    assert place.edges("complete") == 1


async def test_a_request_failed_when_one_of_its_sides_did() -> None:
    place = Place()
    await place.see("web", span(1, CLIENT, status={"code": 2}), span(3, CLIENT), span(5, CLIENT))
    await place.see("api", span(2, SERVER, parent=1), span(4, SERVER, parent=3, status={"code": 2}))
    await place.see("api", span(6, SERVER, parent=5, status={"code": 1}))
    found = await place.flush()
    assert {labels["failed"]: point.as_int for labels, point in found[TOTAL]} == {True: 2, False: 1}
    assert [(labels, point.as_int) for labels, point in found[FAILED]] == [(edge("web", "api", failed=True), 2)]


async def test_messages_databases_users_and_silent_servers_are_nodes() -> None:
    place = Place(virtual_node_extra_label=True)
    await place.see("web", span(1, SERVER), span(2, PRODUCER, parent=1))
    await place.see("jobs", span(3, CONSUMER, parent=2))
    await place.see("web", span(4, CLIENT, attributes={"db__name": "orders", "server__address": "10.0.0.1"}))
    await place.see("web", span(5, CLIENT, attributes={"peer__service": "bank", "server__address": "10.0.0.2"}))
    await place.see("web", span(6, CLIENT), span(7, SERVER, parent=99))
    assert len((await place.flush())[TOTAL]) == 3
    found = await place.flush(after=2)
    assert [labels for labels, _ in found[TOTAL]] == [
        edge("user", "web", "virtual_node") | {"virtual_node": "client"},
        edge("web", "jobs", "messaging_system") | {"virtual_node": ""},
        edge("web", "orders", "database") | {"virtual_node": ""},
        edge("web", "bank", "virtual_node") | {"virtual_node": "server"},
    ]
    servers = {labels["server"] for labels, _ in found[SERVER_SECONDS]}
    clients = {labels["client"] for labels, _ in found[CLIENT_SECONDS]}
    assert (servers, clients) == ({"web", "jobs", "orders"}, {"web"})
    assert (place.edges("complete"), place.edges("expired")) == (4, 2)


async def test_dimensions_are_prefixed_by_their_side() -> None:
    place = Place(dimensions=["region", "http.method"])
    await place.see("web", span(1, CLIENT, attributes={"http__method": "GET"}), region="here")
    await place.see("api", span(2, SERVER, parent=1, attributes={"region": 5}), region="there")
    ((labels, _),) = (await place.flush())[TOTAL]
    assert labels == edge("web", "api") | {
        "client_region": "here",
        "client_http.method": "GET",
        "server_region": "5",
    }


async def test_more_requests_than_may_wait_are_counted_as_dropped() -> None:
    place = Place(store={"max_items": 2, "ttl": "1s"})
    await place.see("web", *(span(number, CLIENT) for number in (1, 2, 3)))
    await place.see("api", *(span(number + 10, SERVER, parent=number) for number in (1, 2)))
    assert (place.edges("complete"), place.edges("dropped")) == (2, 1)
    await place.see("web", span(4, CLIENT))
    place.now_ns += SECOND
    await place.see("web", span(5, CLIENT), span(6, CLIENT))
    assert (place.edges("expired"), place.edges("dropped")) == (1, 1)


async def test_requests_that_wait_for_nobody_are_counted_also_when_no_more_may_wait() -> None:
    place = Place(store={"max_items": 1})
    await place.see("web", span(1, CLIENT), span(2, CLIENT, attributes={"db__name": "orders"}), span(3, SERVER))
    found = (await place.flush())[TOTAL]
    assert [(labels["client"], labels["server"]) for labels, _ in found] == [("web", "orders"), ("user", "web")]
    assert (place.edges("complete"), place.edges("dropped")) == (2, 0)


async def test_the_end_waits_for_no_other_side() -> None:
    place = Place()
    await place.connector.start()
    await place.see("web", span(1, CLIENT, attributes={"peer__service": "bank"}))
    await place.connector.stop()
    assert sum(batch.items for batch in place.batches) == 2


async def test_histograms_have_the_bounds_or_the_kind_that_is_configured() -> None:
    place = Place(latency_histogram_buckets=["100ms", "1s"])
    await place.see("web", span(1, SERVER))
    ((_, point),) = (await place.flush())[SERVER_SECONDS]
    assert (list(point.explicit_bounds), list(point.bucket_counts)) == ([0.1, 1], [1, 0, 0])
    place = Place(exponential_histogram_max_size=20)
    await place.see("web", span(1, SERVER))
    ((_, exponential),) = (await place.flush())[SERVER_SECONDS]
    assert list(exponential.positive.bucket_counts) == [1]


async def test_data_points_can_be_earlier_than_they_are_handed_on() -> None:
    place = Place(metrics_timestamp_offset="30s")
    began = place.now_ns
    await place.see("web", span(1, CLIENT))
    await place.see("api", span(2, SERVER, parent=1))
    place.now_ns += 10 * SECOND
    for _, ((_, point),) in (await place.flush()).items():
        times = (point.start_time_unix_nano, point.time_unix_nano)
        assert times == (began - 30 * SECOND, began - 20 * SECOND)


async def test_series_without_requests_are_forgotten_after_a_quarter_of_an_hour() -> None:
    place = Place()
    await place.see("web", span(1, CLIENT))
    await place.see("api", span(2, SERVER, parent=1))
    place.now_ns += 14 * 60 * SECOND
    assert TOTAL in await place.flush()
    place.now_ns += 60 * SECOND
    assert TOTAL in await place.flush()
    assert not await place.flush()


async def test_without_names_of_peers_there_are_no_virtual_nodes() -> None:
    place = Place(virtual_node_peer_attributes=[])
    await place.see("api", span(1, SERVER), span(2, CLIENT, attributes={"peer__service": "bank"}))
    await place.connector.stop()
    assert not await place.flush()


async def test_only_the_clients_span_names_its_peer() -> None:
    place = Place()
    await place.see("web", span(1, CLIENT), span(2, CLIENT, attributes={"peer__service": "bank"}), peer__service="me")
    place.now_ns += 3 * SECOND
    ((labels, point),) = (await place.flush())[TOTAL]
    assert (labels["server"], point.as_int) == ("bank", 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency_histogram_buckets": ["2s", "1s"]}, "must rise"),
        ({"latency_histogram_buckets": ["1s"], "exponential_histogram_max_size": 9}, "use either"),
        ({"exponential_histogram_max_size": 1}, "0 or at least 2"),
        ({"store": {"ttl": "0"}}, "greater than 0"),
        ({"metrics_timestamp_offset": "25h"}, "less than or equal to 86400"),
        ({"cache_loop": "1m"}, "forgotten at each hand-over; leave it out"),
        ({"store_expiration_loop": "2s"}, "leave when spans come"),
        ({"database_name_attribute": "db.name"}, "in the list database_name_attributes"),
        ({"metrics_exporter": "otlp"}, "as a receiver in a metrics pipeline"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServiceGraphConfig.model_validate(options)


@settings(max_examples=60)
@given(
    pairs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.booleans()), max_size=12),
    data=st.data(),
)
async def test_every_request_is_counted_once_in_whatever_order_its_sides_come(
    pairs: list[tuple[str, str, bool]], data: st.DataObject
) -> None:
    place = Place()
    sides = []
    for number, (client, server, failed) in enumerate(pairs, 1):
        sides.append((client, span(2 * number, CLIENT)))
        sides.append((server, span(2 * number + 1, SERVER, parent=2 * number, status={"code": 2 if failed else 0})))
    for service, one in data.draw(st.permutations(sides)):
        await place.see(service, one)
    found = await place.flush()
    counted = {
        (labels["client"], labels["server"], labels["failed"]): point.as_int for labels, point in found.get(TOTAL, [])
    }
    assert counted == {pair: pairs.count(pair) for pair in pairs}
    assert sum(point.as_int for _, point in found.get(FAILED, [])) == sum(failed for _, _, failed in pairs)
