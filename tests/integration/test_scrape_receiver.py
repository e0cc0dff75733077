"""The scraping receiver against a real HTTP server: what it asks for, what it stores, and what it does when things go
wrong."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import ssl
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ares_otel.model.batch import DERIVED
from ares_otel.model.errors import Rejected, Unavailable
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.identity import Identity
from ares_otel.receivers.prometheus.fetch import OWN_HEADER
from tests.support.ports import free_port
from tests.support.recording import Recording
from tests.support.scraped import TEXT, Asked, House, one_scrape, scraping, slow, until, values, web

CANARY = "canary-77aa"
TLS = Path(__file__).parent.parent / "support" / "tls"


async def test_a_page_is_scraped_again_and_again() -> None:
    house = House()
    async with web() as page, scraping(house, slow(page, scrape_interval="500ms", scrape_timeout="500ms")):
        await until(lambda: house.scrapes("ok") >= 2)
        house.stops()
    times = [one.time_ns for one in house.told("a") if one.value is not None]
    assert all(one < other for one, other in pairwise(times))


async def test_up_is_1_and_figures_of_the_scrape_stand_beside_it() -> None:
    house = House()
    async with web(body=b"# TYPE a counter\na 1\nb 2\n") as page:
        receiver = house.receiver(slow(page))
        await receiver.start()
        [one] = receiver._scrapings.values()
        clock = receiver._context.clock
        for _ in range(2):
            await one.scrape(clock.time_ns(), until=clock.monotonic() + 20)
        house.stops()
        await receiver.stop()
    assert set(values(house)) == {"a", "b", "up", *(f"scrape_{name}" for name in REPORTS)}
    assert [one.value for one in house.told("scrape_series_added")] == [2, 0]
    up = house.told("up")[0]
    assert up.labels == {"job": "app", "instance": page.address}
    assert (up.value, up.transport) == (1, "http")
    assert values(house, "scrape_samples_scraped", "scrape_samples_post_metric_relabeling") == {
        "scrape_samples_scraped": 2,
        "scrape_samples_post_metric_relabeling": 2,
    }


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


@pytest.mark.parametrize(
    ("tls", "up"),
    [
        ({"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}, 1),
        ({"ca_file": "ca.pem"}, 0),
        ({"cert_file": "client.pem", "key_file": "client.key"}, 0),
        ({"insecure_skip_verify": True, "cert_file": "client.pem", "key_file": "client.key"}, 1),
        ({"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key", "server_name": "other.test"}, 0),
        ({"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key", "server_name": "localhost"}, 1),
    ],
)
async def test_who_is_asked_by_https_is_checked_and_shown_a_certificate(tls: dict[str, Any], up: int) -> None:
    house = House()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=TLS / "ca.pem")
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    files = {name: str(TLS / value) if name.endswith("_file") else value for name, value in tls.items()}
    async with web(tls=context) as page:
        await one_scrape(house, page, scheme="https", tls_config=files)
    assert values(house, "up") == {"up": up}


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


async def test_an_answer_that_is_no_http_fails_and_nothing_of_it_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SECRET 1\r\n\r\n")
        writer.close()

    house = House()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        await one_scrape(house, f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert values(house, "up") == {"up": 0}
    assert "does not answer in HTTP" in caplog.text
    assert "SECRET" not in caplog.text


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
