"""An event as an entry of a Redis stream, and back. JSON only; whatever else stands in the stream is not an event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from ares_otel.eventbus.topics import check_topic
from ares_otel.model.bus import DATA_LIMIT, Event

_MAX_TEXT = 1000
_MAX_DONE = 100_000

Fields = dict[bytes, bytes]


class Received(NamedTuple):
    """An entry that is an event."""

    event: Event
    size: int
    """Bytes of its data as JSON."""
    process: str
    """Which process added it."""
    done: frozenset[tuple[str, str]]
    """Groups (name, pattern) that had it already, within the process that published it while Redis was away."""


def encode(event: Event, payload: bytes, process: str, done: Iterable[tuple[str, str]] = ()) -> Fields:
    """The fields of an entry."""
    fields = {
        b"id": event.id.encode(),
        b"topic": event.topic.encode(),
        b"data": payload,
        b"at": event.published_at.isoformat(timespec="microseconds").encode(),
        b"source": event.source.encode("utf-8", "replace"),
        b"process": process.encode(),
    }
    groups = list(done)
    if groups:
        fields[b"done"] = orjson.dumps(groups)
    return fields


def decode(fields: Mapping[bytes, bytes] | None) -> Received | None:
    """The event of an entry; None for anything that `encode` does not write: anybody can write into a stream."""
    if not fields:
        return None
    try:
        payload = fields[b"data"]
        done = fields.get(b"done", b"[]")
        if len(payload) > DATA_LIMIT or len(done) > _MAX_DONE:
            return None
        id, topic, at, source, process = (
            _text(fields[name]) for name in (b"id", b"topic", b"at", b"source", b"process")
        )
        if not id or not id.isascii() or not id.isprintable() or " " in id or len(id) > 200:
            return None
        published_at = datetime.fromisoformat(at)
        if published_at.tzinfo is None:
            return None
        event = Event(id, check_topic(topic), orjson.loads(payload), published_at.astimezone(UTC), source)
        groups = frozenset((str(name), str(pattern)) for name, pattern in orjson.loads(done))
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    return Received(event, len(payload), process, groups)


def _text(value: bytes) -> str:
    if len(value) > _MAX_TEXT:
        raise ValueError("too long")
    return value.decode("utf-8")
