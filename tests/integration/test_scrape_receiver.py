"""The scraping receiver against a real HTTP server: what it asks for, what it stores, and what it does when things go
wrong."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ares_otel.model.batch import DERIVED
from ares_otel.model.errors import Rejected, StartError, Unavailable
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.identity import Identity
from ares_otel.receivers.prometheus.discovery import TargetSource
from ares_otel.receivers.prometheus.fetch import OWN_HEADER
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.recording import Recording
from tests.support.scraped import TEXT, Asked, House, Web, scraping, web

CANARY = "canary-77aa"


def job(page: Web | str, **more: Any) -> dict[str, Any]:
    address = page if isinstance(page, str) else page.address
    return {"static_configs": [{"targets": [address]}], "scrape_timeout": "100ms", **more}


def slow(page: Web | str, **more: Any) -> dict[str, Any]:
    """For tests that scrape by themselves: nothing else does meanwhile, and nothing times out on a busy machine."""
    return job(page, **{"scrape_interval": "300d", "scrape_timeout": "20s", **more})


async def one_scrape(house: House, page: Web | str, **more: Any) -> None:
    """Scrapes once, at once: the interval is longer than any test."""
    receiver = house.receiver(slow(page, **more))
    await receiver.start()
    try:
        [one] = receiver._scrapings.values()
        clock = one.job.context.clock
        await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
    finally:
        house.stops()
        await receiver.stop()


async def until(look: Callable[[], bool]) -> None:
    async def looked() -> bool:
        return look()

    await eventually(looked, every=0.02)


def values(house: House, *names: str) -> dict[str, float | None]:
    """The last value of each."""
    return {one.name: one.value for one in house.told() if one.name in names or not names}


async def test_a_page_is_scraped_again_and_again_and_up_is_1() -> None:
    house = House()
    async with (
        web(body=b"# TYPE a counter\na 1\nb 2\n") as page,
        scraping(house, slow(page, scrape_interval="50ms", scrape_timeout="50ms")),
    ):
        await until(lambda: house.scrapes("ok") >= 3)
        house.stops()
    assert {"a", "b", "up", "scrape_duration_seconds", "scrape_series_added"} <= values(house).keys()
    made = [one.value for one in house.told("scrape_series_added")]
    assert made[:2] == [2, 0]
    ups = house.told("up")
    assert ups[0].labels == {"job": "app", "instance": page.address}
    assert (ups[0].value, ups[0].transport) == (1, "http")
    assert values(house, "scrape_samples_scraped", "scrape_samples_post_metric_relabeling") == {
        "scrape_samples_scraped": 2,
        "scrape_samples_post_metric_relabeling": 2,
    }
    times = [one.time_ns for one in house.told("a") if one.value is not None]
    assert all(one < other for one, other in pairwise(times))


async def test_a_scrape_says_what_it_takes_and_how_long_it_waits() -> None:
    house = House()
    async with web() as page:
        await one_scrape(house, page, metrics_path="/m", params={"a": ["b c"]})
        await one_scrape(house, page, scrape_native_histograms=True, enable_compression=False)
    [first, second] = page.asked
    assert first.target == "/m?a=b+c"
    assert first.headers["accept"].startswith("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,")
    assert first.headers["accept"].endswith("text/plain;version=0.0.4;q=0.2,*/*;q=0.1")
    assert first.headers["accept-encoding"] == "gzip"
    assert first.headers["x-prometheus-scrape-timeout-seconds"] == "20"
    assert first.headers["user-agent"].startswith("ares-otel/")
    assert first.headers["host"] == page.address
    assert second.headers["accept"].startswith("application/vnd.google.protobuf;")
    assert second.headers["accept-encoding"] == "identity"


async def test_a_compressed_page_is_read() -> None:
    house = House()
    headers = {"Content-Type": TEXT, "Content-Encoding": "gzip"}
    async with web(body=gzip.compress(b"a 1\n"), headers=headers) as page:
        await one_scrape(house, page)
    assert values(house, "a", "up") == {"a": 1, "up": 1}


async def test_credentials_and_headers_are_sent_and_files_are_read_each_time(tmp_path: Path) -> None:
    house = House()
    file = tmp_path / "token"
    file.write_text("first\n")
    async with web() as page:
        await one_scrape(house, page, basic_auth={"username": "me", "password": CANARY})
        await one_scrape(
            house,
            page,
            authorization={"credentials_file": str(file)},
            http_headers={"X-Key": {"values": ["a"], "secrets": [CANARY]}},
        )
        file.unlink()
        await one_scrape(house, page, authorization={"credentials_file": str(file)})
    basic = base64.b64encode(f"me:{CANARY}".encode()).decode()
    assert page.asked[0].headers["authorization"] == f"Basic {basic}"
    assert page.asked[1].headers["authorization"] == "Bearer first"
    assert page.asked[1].headers["x-key"] == f"a, {CANARY}"
    assert len(page.asked) == 2
    assert values(house, "up") == {"up": 0}


async def test_a_redirect_is_followed_and_credentials_stay_with_the_first_host() -> None:
    house = House()
    async with web(body=b"a 5\n") as other, web() as page:

        def moved(asked: Asked) -> tuple[int, dict[str, str], bytes]:
            where = "/there" if asked.target == "/metrics" else f"http://{other.address}/metrics"
            return 302, {"Location": where}, b""

        page.answer = moved
        await one_scrape(house, page, authorization={"credentials": CANARY}, http_headers={"X": {"secrets": [CANARY]}})
        assert [one.headers.get("authorization") for one in page.asked] == [f"Bearer {CANARY}"] * 2
        assert CANARY not in str(other.asked)
        assert values(house, "a") == {"a": 5}
        await one_scrape(house, page, follow_redirects=False)
        assert values(house, "up") == {"up": 0}


def text(body: bytes) -> dict[str, Any]:
    return {"body": body}


@pytest.mark.parametrize(
    ("page", "options", "reason"),
    [
        ({"status": 500}, {}, "the answer was 500, not 200"),
        ({"status": 302}, {}, "the answer was 302"),
        (text(b"a 1\nb{\n"), {}, "line 2: it is neither a sample nor a comment"),
        (text(b"a 1\n" * 1000), {"body_size_limit": "1KB"}, "larger than body_size_limit allows (1024 bytes)"),
        (text(b"a 1\nb 1\n"), {"sample_limit": 1}, "more than sample_limit allows (1)"),
        (text(b'a{b="c"} 1\n'), {"label_limit": 3}, "more than label_limit allows (3)"),
        ({"headers": {"Content-Type": "text/html"}}, {}, "set fallback_scrape_protocol"),
        ({"headers": {}}, {}, "set fallback_scrape_protocol"),
        ({"headers": {"Content-Type": "application/openmetrics-text; version=1.0.0"}}, {}, "does not end in # EOF"),
        ({"headers": {"Content-Type": TEXT, "Content-Encoding": "gzip"}}, {}, "not valid gzip data"),
        ({"headers": {"Content-Type": TEXT, "Content-Encoding": "br"}}, {}, "an encoding that was not asked for"),
        (
            {"headers": {"Content-Type": TEXT, "Content-Encoding": "gzip"}, "body": gzip.compress(b"a 1\n" * 10**6)},
            {"body_size_limit": "1MB"},
            "larger than body_size_limit allows (1048576 bytes)",
        ),
        ({"headers": {"Content-Type": "application/vnd.google.protobuf"}, "body": b"\xff"}, {}, "family 1"),
    ],
)
async def test_a_page_that_cannot_be_taken_sets_up_to_0_and_nothing_of_it_is_stored(
    page: dict[str, Any], options: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    house = House()
    async with web(**page) as server:
        await one_scrape(house, server, **options)
    assert set(values(house)) == {"up", *(f"scrape_{name}" for name in REPORTS)}
    assert values(house, "up") == {"up": 0}
    assert reason in caplog.text
    assert house.scrapes("failed") == 1
    assert {one.transport for one in house.told()} == {DERIVED}, "a target that is down shows no life"
    assert house.admission.used_bytes == 0


REPORTS = ("duration_seconds", "samples_scraped", "samples_post_metric_relabeling", "series_added")


async def test_a_page_without_a_type_is_read_as_the_configuration_says() -> None:
    house = House()
    async with web(headers={}) as page:
        await one_scrape(house, page, fallback_scrape_protocol="PrometheusText0.0.4")
    assert values(house, "a", "up") == {"a": 1, "up": 1}


async def test_a_target_that_is_not_there_or_does_not_answer_is_down() -> None:
    house = House()
    await one_scrape(house, f"127.0.0.1:{free_port()}")
    assert values(house, "up") == {"up": 0}
    house = House()
    async with web(gate=asyncio.Event()) as page:
        await one_scrape(house, page, scrape_timeout="30ms")
        assert page.gate is not None
        page.gate.set()
    assert values(house, "up") == {"up": 0}


async def test_series_of_a_target_that_fails_end_and_come_back() -> None:
    house = House()
    async with web() as page:
        receiver = house.receiver(slow(page))
        await receiver.start()
        [one] = receiver._scrapings.values()
        clock = one.job.context.clock
        for status in (200, 503, 200):
            page.status = status
            await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
        await receiver.stop()
    made = [one.value for one in house.told("a")]
    assert made == [1, None, 1, None], "the last one: the receiver is taken out while Ares goes on"
    ended, up = house.told("a")[1], house.told("up")[1]
    assert (ended.time_ns, up.value) == (up.time_ns, 0)
    assert house.told("up")[-1].value is None


async def test_a_stop_of_ares_ends_no_series() -> None:
    house = House()
    async with web() as page:
        await one_scrape(house, page)
    assert None not in [one.value for one in house.told()]


async def test_what_is_not_taken_now_is_repeated_as_it_is() -> None:
    house = House()
    house.recording.fail_with(Unavailable(retry_after=0.01))
    async with web() as page:
        scrape = asyncio.create_task(one_scrape(house, page))
        await until(lambda: len(house.recording.batches) >= 3)
        house.recording.answer = Recording().answer
        await scrape
    assert len({batch.key for batch in house.recording.batches}) == 1
    assert house.scrapes("ok") == 1


async def test_what_is_refused_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.recording.fail_with(Rejected("no"))
    async with web() as page:
        await one_scrape(house, page)
    assert "the pipeline refused 6 data points: no" in caplog.text
    counter = house.telemetry.counter("ares_otel_receiver_rejected_metric_points")
    assert counter.labels(receiver="prometheus", transport="http")._value.get() == 6


async def test_without_memory_a_scrape_is_left_out_and_nobody_is_called_down() -> None:
    house = House(admission=Admission(1024 * 1024))
    with house.admission.reservation() as taken:
        taken.grow(1024 * 1024)
        async with web() as page:
            await one_scrape(house, page)
    assert house.scrapes("skipped") == 1
    assert not house.recording.batches


async def test_a_page_that_is_larger_than_the_memory_fails() -> None:
    house = House(admission=Admission(256 * 1024))
    async with web(body=b"a 1\n" * 50_000) as page:
        await one_scrape(house, page, body_size_limit=0)
    assert values(house, "up") == {"up": 0}


async def test_its_own_page_is_not_scraped(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.services[Identity] = Identity("me")
    async with web(headers={"Content-Type": TEXT, OWN_HEADER: "me"}) as page:
        await one_scrape(house, page)
        assert values(house, "up") == {"up": 0}
        assert "take the target out" in caplog.text
        page.headers[OWN_HEADER] = "another"
        await one_scrape(house, page)
    assert values(house, "up") == {"up": 1}


async def test_relabelling_of_metrics_drops_what_nobody_wants() -> None:
    house = House()
    rules = [{"source_labels": ["__name__"], "regex": "b.*", "action": "drop"}]
    async with web(body=b"a 1\nb 2\nbc 3\n") as page:
        await one_scrape(house, page, metric_relabel_configs=rules)
    assert values(house, "a", "b", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling") == {
        "a": 1,
        "scrape_samples_scraped": 3,
        "scrape_samples_post_metric_relabeling": 1,
    }


async def test_as_many_pages_are_fetched_at_once_as_allowed() -> None:
    house = House()
    async with web(gate=asyncio.Event()) as one:
        many = [{"targets": [f"127.0.0.{number}:{one.port}"]} for number in range(1, 2)]
        jobs = [slow(one, job_name=f"j{number}", static_configs=many) for number in range(3)]
        receiver = house.receiver(*jobs, max_concurrent_scrapes=2)
        await receiver.start()
        clock = receiver._context.clock
        scrapes = [
            asyncio.create_task(one.scrape(clock.time_ns(), until=clock.monotonic() + 20))
            for one in receiver._scrapings.values()
        ]
        await until(lambda: len(one.asked) == 2)
        assert receiver._places.locked()
        assert one.gate is not None
        one.gate.set()
        await asyncio.gather(*scrapes)
        assert len(one.asked) == 3
        await receiver.stop()


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


async def test_no_secret_and_nothing_of_a_page_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    house = House()
    async with web(body=f"a{{b={CANARY}\n".encode()) as page:
        auth = {"username": "me", "password": CANARY}
        await one_scrape(house, page, basic_auth=auth, http_headers={"X": {"secrets": [CANARY]}})
        page.status = 401
        await one_scrape(house, page, basic_auth=auth)
    assert house.scrapes("failed") == 2
    assert CANARY not in caplog.text
