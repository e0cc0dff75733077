"""Requests between services, put together from the spans of their two sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

MESSAGING, DATABASE, VIRTUAL = "messaging_system", "database", "virtual_node"

EdgeKey = tuple[bytes, bytes]
"""Trace, and the span of the client's side."""


@dataclass(slots=True)
class Edge:
    """One request, as far as it is known."""

    client: str = ""
    server: str = ""
    connection_type: str = ""
    client_seconds: float | None = None
    server_seconds: float | None = None
    failed: bool = False
    dimensions: dict[str, str] = field(default_factory=dict)
    peer: str = ""
    """Who the client says its server is."""
    virtual: str = ""
    """The side that sends no spans: `client` or `server`."""


class Edges:
    """Requests of which one side was seen, until the other one is or the time is over."""

    def __init__(self, ttl_ns: int, limit: int, done: Callable[[Edge, str], None]) -> None:
        """
        Args:
            done: told of each request that leaves: `complete`, or `expired` without its other side.
        """
        self._ttl_ns = ttl_ns
        self._limit = limit
        self._done = done
        self._waiting: dict[EdgeKey, tuple[int, Edge]] = {}
        """Oldest first, with when they came."""

    def __len__(self) -> int:
        return len(self._waiting)

    def side(self, key: EdgeKey, now_ns: int, change: Callable[[Edge], None]) -> bool:
        """Enters what one side tells; a request whose both sides are known then is done. False when there is no room
        for one more."""
        known = self._waiting.get(key)
        edge = Edge() if known is None else known[1]
        change(edge)
        if edge.client and edge.server:  # one that waits for nobody needs no room
            self._waiting.pop(key, None)
            self._done(edge, "complete")
        elif known is None:
            if len(self._waiting) >= self._limit:
                return False
            self._waiting[key] = (now_ns, edge)
        return True

    def expire(self, now_ns: int | None) -> None:
        """Lets those go that waited long enough; all of them when no time is given."""
        while self._waiting:
            key, (came_ns, edge) = next(iter(self._waiting.items()))
            if now_ns is not None and now_ns - came_ns < self._ttl_ns:
                return
            del self._waiting[key]
            self._done(edge, "expired")


def labels(edge: Edge, *, with_virtual: bool) -> Mapping[str, str | bool]:
    """The attributes of its series."""
    made: dict[str, str | bool] = {
        "client": edge.client,
        "server": edge.server,
        "connection_type": edge.connection_type,
        "failed": edge.failed,
        **edge.dimensions,
    }
    if with_virtual:
        made["virtual_node"] = edge.virtual
    return made
