"""The shapes of what `/api/v1/events` answers, and an example of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ares_otel.api.models import Time


class PublishedEvent(BaseModel):
    """An event that is on its way."""

    id: str
    topic: str


class TopicRow(BaseModel):
    """What was counted of one topic."""

    topic: str
    published: Annotated[int, Field(description="Events that this process has seen since it started")]
    per_second: Annotated[float, Field(description="Over the last minute")]


class BusState(BaseModel):
    """How the event bus does, as this process sees it."""

    mode: Annotated[Literal["memory", "redis"], Field(description="What carries events now")]
    since: Annotated[Time, Field(description="Since when")]
    wanted: Annotated[Literal["memory", "redis"], Field(description="What eventbus.type asks for")]
    healthy: Annotated[bool, Field(description="False while the wanted one is away")]
    detail: str
    published: Annotated[int, Field(description="Events that this process published")]
    delivered: Annotated[int, Field(description="Events that handlers have taken")]
    dropped: Annotated[int, Field(description="Events that a bounded queue could not hold")]
    failed: Annotated[int, Field(description="Calls of handlers that raised")]
    waiting: Annotated[int, Field(description="Events that wait for Redis to return")]
    topics: Annotated[list[TopicRow], Field(description="The busiest first, at most 1000 and `other`")]


PUBLISHED: dict[str, Any] = {"id": "5b2f6d3a9c1e4f0f8a7b6c5d4e3f2a1b", "topic": "trade.executed"}
STATE: dict[str, Any] = {
    "mode": "redis",
    "since": "2026-01-31T12:00:00.000000Z",
    "wanted": "redis",
    "healthy": True,
    "detail": "Events go over redis://localhost:6379.",
    "published": 120,
    "delivered": 340,
    "dropped": 0,
    "failed": 0,
    "waiting": 0,
    "topics": [{"topic": "trade.executed", "published": 118, "per_second": 1.967}],
}
STREAM = (
    "retry: 1000\n\nid: 5b2f6d3a9c1e4f0f8a7b6c5d4e3f2a1b\nevent: message\n"
    'data: {"id":"5b2f6d3a9c1e4f0f8a7b6c5d4e3f2a1b","topic":"trade.executed","data":{"price":1.5},'
    '"published_at":"2026-01-31T12:00:00.000000Z","source":"host/4711"}\n\n: still here\n\n'
)
