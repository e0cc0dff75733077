"""Whatever answers where Ares should be: the application runs, is told once, and nothing grows without end."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import pytest

from ares_otel.sdk.remote import events, watch
from ares_otel.sdk.remote.control import RemoteControl
from ares_otel.sdk.remote.watch import WatchedSettings
from tests.support.remote import comes, stranger

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def snapshot(**settings: Any) -> bytes:
    rows = [
        {"config_key": key, "config_value": value, "version": 1, "is_encrypted": False}
        for key, value in settings.items()
    ]
    return b"id: 5\nevent: snapshot\ndata: %s\n\n" % json.dumps({"configs": rows, "revision": 5}).encode()


def change(**fields: Any) -> bytes:
    data = {"service": "orders", "key": "k", "version": 2, "deleted": False, "is_encrypted": False, "value": 2}
    return b"id: 6\nevent: config\ndata: %s\n\n" % json.dumps({**data, **fields}).encode()


ANSWERS = {
    "another program": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi",
    "no such path": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    "no access": b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
    "a redirect": b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "compressed": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b",
    "no JSON": OK + b"event: snapshot\ndata: {\n\n",
    "deep JSON": OK + b"event: snapshot\ndata: " + b"[" * 200_000 + b"\n\n",
    "a long number": OK + b'event: snapshot\ndata: {"configs": ' + b"9" * 10_000 + b"}\n\n",
    "another form": OK + b"event: snapshot\ndata: []\n\n",
    "settings of another form": OK + b'event: snapshot\ndata: {"configs": [{"config_key": 1}]}\n\n',
    "a version of another form": OK + b'event: snapshot\ndata: {"configs": [{"config_key": "k", "version": "1", '
    b'"config_value": 1, "is_encrypted": false}]}\n\n',
    "a revision of another form": OK + b'event: snapshot\ndata: {"configs": [], "revision": true}\n\n',
    "a change of another form": OK + snapshot(k=1) + change(version=None),
    "a change without an id": OK + snapshot(k=1) + change().replace(b"id: 6", b"id: x"),
    "a change without a value": OK + snapshot(k=1) + b'id: 6\nevent: config\ndata: {"key": "k", "deleted": false}\n\n',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_what_is_not_ares_is_said_once_and_asked_rarely(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with stranger(send) as server:
        control = RemoteControl("orders", api_url=server.url)
        control.start()
        await comes(lambda: "are not followed just now" in caplog.text)
        assert control.settings.get_int("k", 1) == 1
        assert len(server.requests) == 1
        assert control.stop(20), "in the middle of the long pause"
    assert len([record for record in caplog.records if record.name.startswith("ares_otel.sdk")]) == 1


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 10_000 + b"\n", b"x" * 10_000], ids=["event", "line"])
async def test_an_endless_event_is_left(
    piece: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "EventParser", lambda: events.EventParser(limit=1_000_000))

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        while True:
            writer.write(piece)
            await writer.drain()

    async with stranger(send) as server:
        control = RemoteControl("orders", api_url=server.url)
        control.start()
        await comes(lambda: "an event of more than" in caplog.text)
        assert control.stop(20)


async def test_a_connection_that_falls_silent_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_TIMEOUT", 0.1)

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + snapshot(k=len(server.requests)))
        await writer.drain()
        await asyncio.sleep(3600)

    async with stranger(send) as server:
        control = RemoteControl("orders", api_url=server.url)
        control.start()
        await comes(lambda: control.settings.get_int("k", 0) >= 2)
        assert control.stop(20)


@pytest.mark.parametrize(
    ("first", "more"), [(OK, b": patience\n\n"), (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n")], ids=["comments", "headers"]
)
async def test_one_who_sends_no_settings_is_left(
    first: bytes, more: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SNAPSHOT_SECONDS", 0.1)

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with stranger(send) as server:
        control = RemoteControl("orders", api_url=server.url)
        control.start()
        await comes(lambda: "it sends no settings within" in caplog.text)
        assert control.stop(20)


async def test_one_who_comes_and_goes_is_asked_less_and_less() -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + snapshot(k=len(server.requests)))
        await writer.drain()

    async with stranger(send) as server:
        control = RemoteControl("orders", api_url=server.url)
        control.start()
        await comes(lambda: control.settings.get_int("k", 0) >= 3)
        view = control._view
        assert isinstance(view, WatchedSettings)
        assert view._patience._away >= 2
        assert control.stop(20)


async def test_a_stop_while_it_connects_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    connected, leave = asyncio.Event(), asyncio.Event()

    async def send(_: asyncio.StreamWriter) -> None:
        connected.set()
        await leave.wait()

    async with stranger(send) as server:
        control = RemoteControl("orders", api_url=server.url)
        control.start()
        await asyncio.wait_for(connected.wait(), 30)
        assert await asyncio.to_thread(control.stop, 20)
        leave.set()


async def test_a_password_in_the_url_is_sent_and_not_said(caplog: pytest.LogCaptureFixture) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWERS["no access"])

    async with stranger(send) as server:
        url = server.url.replace("://", "://alice:canary@")
        control = RemoteControl("orders", api_url=url)
        control.start()
        await comes(lambda: "are not followed just now" in caplog.text)
        assert control.stop(20)
    assert b"authorization: basic" in server.requests[0].lower()
    assert "canary" not in caplog.text


def test_log_lines_of_the_client_are_the_applications_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    WatchedSettings("orders", "http://127.0.0.1:1")

    def log() -> None:
        for name in ("httpx", "httpcore.http11"):
            logging.getLogger(name).info("a request")

    log()
    ours = threading.Thread(target=log, name="ares-otel settings")
    ours.start()
    ours.join()
    assert caplog.text.count("a request") == 2
