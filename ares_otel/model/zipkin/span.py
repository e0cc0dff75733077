"""A span as Zipkin has it, whichever encoding it came in.

Source: openzipkin/zipkin-api, zipkin2-api.yaml and zipkin.proto.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"]


@dataclass(slots=True)
class Endpoint:
    """A node of the service graph. What is empty or 0 is unknown."""

    service_name: str = ""
    ipv4: str = ""
    """Text of the address."""
    ipv6: str = ""
    port: int = 0

    def __bool__(self) -> bool:
        return bool(self.service_name or self.ipv4 or self.ipv6 or self.port)


@dataclass(slots=True)
class ZipkinSpan:
    """One span. Ids are checked: 16 and 8 bytes, none of them all zero."""

    trace_id: bytes
    id: bytes
    parent_id: bytes = b""
    """Empty for a root."""
    kind: Kind = ""
    """Empty for a local span."""
    name: str = ""
    timestamp: int = 0
    """Microseconds since 1970; 0 when it is not known."""
    duration: int = 0
    """Microseconds; 0 when it is not known. What took less than one has 1."""
    local: Endpoint = field(default_factory=Endpoint)
    remote: Endpoint = field(default_factory=Endpoint)
    annotations: list[tuple[int, str]] = field(default_factory=list)
    """Microseconds since 1970, and text."""
    tags: dict[str, str] = field(default_factory=dict)
    debug: bool = False
    shared: bool = False


class WrongSpan(ValueError):
    """A span that cannot be kept. The message is a clause without a full stop; it holds nothing that a sender chose."""
