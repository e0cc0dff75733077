"""Which targets the scraping receiver has: over workers, after a changed configuration, and out of the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ares_otel.model.batch import DERIVED
from ares_otel.model.errors import Rejected, StartError, Unavailable
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.graph import Parts
from ares_otel.pipeline.host import PipelineHost
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.load import load_bytes
from ares_otel.receivers.prometheus.discovery import TargetSource
from ares_otel.receivers.prometheus.receiver import FACTORY, PrometheusReceiver, Scrapers
from tests.support.parts import plain
from tests.support.recording import Recording
from tests.support.scraped import House, Web, scraping, slow, until, values, web
from tests.support.toys import TOYS, World


async def test_each_target_is_scraped_by_one_worker() -> None:
    targets = [{"targets": [f"host-{number}:80" for number in range(50)]}]
    shares = []
    for number in range(1, 4):
        house = House()
        house.services[Identity] = Identity("me", number, 3)
        receiver = house.receiver(slow("", static_configs=targets))
        await receiver.start()
        shares.append([one.url for one in receiver.targets])
        house.stops()
        await receiver.stop()
    assert sorted(url for share in shares for url in share) == sorted(f"http://host-{n}:80/metrics" for n in range(50))
    assert all(shares)


async def test_a_changed_configuration_goes_on_with_the_targets_it_had() -> None:
    """No target is scraped twice, nothing begins anew, and only what is gone ends."""
    house, after = House(), Recording()
    async with web() as kept, web() as gone, web() as new:

        def config(*pages: Web) -> dict[str, Any]:
            return slow("", static_configs=[{"targets": [page.address for page in pages]}])

        old = house.receiver(config(kept, gone))
        await old.start()
        clock = old._context.clock
        for one in old._scrapings.values():
            await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
        [scraping_kept] = [one for one in old._scrapings.values() if kept.address in one.target.url]
        changed = house.receiver(config(kept, new), recording=after)
        await changed.start()
        await old.stop()
        assert scraping_kept in changed._scrapings.values()
        ended = {one.labels["instance"] for one in house.told(recording=after) if one.value is None}
        assert ended == {gone.address}
        after.batches.clear()
        kept.body = b"b 1\n"
        await scraping_kept.scrape(clock.time_ns(), until=clock.monotonic() + 20)
        made = {one.name: one.value for one in house.told(recording=after)}
        assert (made["a"], made["b"], made["up"], made["scrape_series_added"]) == (None, 1, 1, 1)
        house.stops()
        await changed.stop()


async def test_a_target_that_is_scraped_in_another_way_keeps_what_is_known_of_its_series() -> None:
    house = House()
    async with web(body=b"a 1\nb 1\n") as page:
        old = house.receiver(slow(page))
        await old.start()
        clock = old._context.clock
        [one] = old._scrapings.values()
        await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
        rules = [{"source_labels": ["__name__"], "regex": "b", "action": "drop"}]
        changed = house.receiver(slow(page, metric_relabel_configs=rules, scrape_interval="30s"))
        await changed.start()
        await old.stop()
        [one] = changed._scrapings.values()
        await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
        assert [one.value for one in house.told("b")] == [1, None]
        assert [one.value for one in house.told("a")] == [1, 1]
        house.stops()
        await changed.stop()


async def test_a_configuration_that_does_not_start_gives_the_targets_back() -> None:
    house = House()
    async with web() as page:
        old = house.receiver(slow(page))
        await old.start()
        [one] = old._scrapings.values()
        other = Recording()
        other.fail_with(Rejected("its pipelines have stopped"))
        tried = house.receiver(slow(page), recording=other)
        await tried.start()
        assert not old._scrapings
        await old._sync()
        assert not old._scrapings, "what it finds meanwhile is not its own"
        await tried.stop()  # another component of the new configuration could not start
        assert list(old._scrapings.values()) == [one]
        clock = old._context.clock
        await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
        assert [one.value for one in house.told("a")] == [1]
        house.stops()
        await old.stop()


async def test_a_job_with_too_many_targets_or_a_missing_file_does_not_start(tmp_path: Path) -> None:
    for wrong, message in (
        ({"target_limit": 1, "static_configs": [{"targets": ["a:1", "b:1"]}]}, "target_limit"),
        ({"tls_config": {"ca_file": str(tmp_path / "none.pem")}}, "TLS files of the job 'app'"),
        ({"relabel_configs": [{"target_label": "__scheme__", "replacement": "x"}]}, "neither http nor https"),
    ):
        receiver = House().receiver(slow("a:1", **wrong))
        with pytest.raises(StartError, match=message):
            await receiver.start()
        await receiver.stop()


class Registered(TargetSource):
    """A registry that a test fills."""

    def __init__(self, *found: Mapping[str, str]) -> None:
        self.found: Sequence[Mapping[str, str]] = found
        self.error: Exception | None = None
        self.refused = ""
        self.looked = 0

    async def targets(self, *, include_offline: bool) -> Sequence[Mapping[str, str]]:
        self.looked += 1
        if self.error is not None:
            raise self.error
        return self.found

    async def addresses(self, host: str, port: int) -> list[str]:
        if self.refused:
            raise ValueError(self.refused)
        return ["127.0.0.1"]


async def test_registered_services_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    async with web() as page:
        found = {"__address__": f"orders.internal:{page.port}", "job": "orders", "instance": "orders-1"}
        source = Registered(found, {"__address__": "nonsense/", "job": "b"})
        house.services[TargetSource] = source
        sd = [{"refresh_interval": "1s"}]
        async with scraping(
            house, {"ares_registry_sd_configs": sd, "scrape_timeout": "20s", "scrape_interval": "300d"}
        ) as receiver:
            await until(lambda: len(receiver.targets) == 1)
            [one] = receiver._scrapings.values()
            clock = receiver._context.clock
            await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
            assert house.told("a")[0].labels == {"job": "orders", "instance": "orders-1"}
            assert page.asked[-1].headers["host"] == f"orders.internal:{page.port}"
            assert "leaves out registered services" in caplog.text
            source.error, looked = Unavailable(), source.looked
            await until(lambda: source.looked > looked)
            assert len(receiver.targets) == 1, "the registry is away: its last word counts"
            source.error, source.found = None, []
            await until(lambda: not receiver.targets)
            await until(lambda: len(house.told("a")) == 2)  # the end is sent by the target that was taken away
        assert [one.value for one in house.told("a")] == [1, None]


async def test_a_registered_service_cannot_lead_to_where_it_may_not(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    async with web() as page:
        source = Registered({"__address__": page.address, "job": "a"})
        house.services[TargetSource] = source
        async with scraping(
            house, {"ares_registry_sd_configs": [{}], "scrape_interval": "300d", "scrape_timeout": "20s"}
        ) as receiver:
            await until(lambda: len(receiver.targets) == 1)
            [one] = receiver._scrapings.values()
            clock = receiver._context.clock
            source.refused = "it is loopback"
            await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
            assert not page.asked
            assert "it is loopback" in caplog.text
            source.refused = ""
            page.status, page.headers = 302, {"Location": "http://169.254.169.254/latest"}
            await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
            assert "redirects to another host" in caplog.records[-1].getMessage() or house.scrapes("failed") == 2
        assert values(house, "up") == {"up": None}


def pipelines(receivers: str, *targets: Web, store: str = "one") -> PipelineConfig:
    """A configuration whose targets are scraped by the test alone."""
    named = [page.address for page in targets]
    text = f"""
receivers:
  prometheus:
    config:
      scrape_configs:
        - {{job_name: app, scrape_interval: 300d, scrape_timeout: 300d, static_configs: [{{targets: {named}}}]}}
  toy/broken: {{label: broken}}
exporters: {{store: {{label: {store}}}}}
service: {{pipelines: {{metrics: {{receivers: {receivers}, exporters: [store]}}}}}}
"""
    return load_bytes(text.encode(), "test.yaml", (FACTORY, *TOYS), {})


async def test_pipelines_are_exchanged_under_a_scrape_and_a_wrong_configuration_changes_nothing() -> None:
    world, grace = World(broken={"broken"}), Grace()
    services = {World: world, Scrapers: Scrapers(), Grace: grace}
    host = PipelineHost(Parts(world.telemetry, Admission(), services=services), grace=grace)
    counter = b"# TYPE c counter\nc 1\n"
    async with web(body=counter) as kept, web(body=counter) as gone:
        await host.replace(pipelines("[prometheus]", kept, gone))
        receiver = host.receivers["prometheus"]
        assert isinstance(receiver, PrometheusReceiver)
        scrapings = {one.target.url: one for one in receiver._scrapings.values()}
        one = scrapings[f"http://{kept.address}/metrics"]
        clock = one.job.context.clock

        async def scrape() -> None:
            await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)

        for each in scrapings.values():
            await each.scrape(clock.time_ns(), until=clock.monotonic() + 20)
        with pytest.raises(StartError, match="broken"):
            await host.replace(pipelines("[prometheus, toy/broken]", kept, store="two"))
        assert receiver.targets, "it goes on"
        kept.gate = asyncio.Event()
        kept.came.clear()
        under_way = asyncio.create_task(scrape())
        await kept.came.wait()
        await host.replace(pipelines("[prometheus]", kept, store="three"))
        kept.gate.set()
        await under_way
        await scrape()
        changed = host.receivers["prometheus"]
        assert isinstance(changed, PrometheusReceiver)
        assert list(changed._scrapings.values()) == [one]
        grace.begin()
        await host.stop()
    assert [len(world.received.get(name, ())) for name in ("one", "two", "three")] == [2, 0, 3]
    ends = [batch for batch in world.received["three"] if batch.transport == DERIVED]
    assert len(ends) == 1, "of the target that is gone"
    starts = {
        point.start_time_unix_nano
        for name in ("one", "three")
        for batch in world.received[name]
        for resource in batch.message().resource_metrics
        for metric in resource.scope_metrics[0].metrics
        if metric.name == "c"
        for point in metric.sum.data_points
        if not point.flags and plain(point.attributes)["instance"] == kept.address
    }
    assert len(starts) == 1
