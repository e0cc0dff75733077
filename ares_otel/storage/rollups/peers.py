"""What a client or producer span calls, by OpenTelemetry's semantic conventions, as SQL over its attributes.

The newer name of an attribute is asked for first, then the older ones: both are around for years.
"""

from __future__ import annotations

MOST_CHARACTERS = 100
"""Of a name. Two services, a name and a destination fit an index entry, whatever the alphabet."""


def _first(*keys: str) -> str:
    values = ", ".join(f"nullif(attributes ->> '{key}', '')" for key in keys)
    return f"coalesce({values})" if len(keys) > 1 else values


_SYSTEM = _first("db.system.name", "db.system")
_NAMESPACE = _first("db.namespace", "db.name", "db.redis.database_index")
_PEER = _first("service.peer.name", "peer.service")
_HOST = _first(
    "server.address", "net.peer.name", "network.peer.address", "net.sock.peer.name", "net.sock.peer.addr", "net.peer.ip"
)
_PORT = _first("server.port", "net.peer.port")
# Without the user and password that a URL may hold.
_URL_HOST = (
    f"nullif(substring({_first('url.full', 'http.url')} from '^[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^/?#@]*@)?([^/?#]+)'), '')"
)
_ADDRESS = (
    f"coalesce({_HOST} || coalesce(':' || nullif(nullif({_PORT}, '80'), '443'), ''), {_URL_HOST}, "
    f"{_first('http.host')})"
)
_QUEUE_SYSTEM = _first("messaging.system")
_QUEUE = f"""CASE
    WHEN 'true' IN (attributes ->> 'messaging.destination.temporary', attributes ->> 'messaging.destination.anonymous')
    THEN '(temporary)'
    ELSE {_first("messaging.destination.template", "messaging.destination.name", "messaging.destination")} END"""
DESTINATION = f"left(concat_ws('/', {_QUEUE_SYSTEM}, {_QUEUE}), {MOST_CHARACTERS})"
"""The system and the destination of a message, like `kafka/orders`; empty where the span names none."""

_OPERATION = _first("messaging.operation.type", "messaging.operation")
RECEIVES = f"coalesce({_OPERATION} = 'receive', false)"
"""Whether the span takes messages from a queue, and does not process one."""
_TAKES = f"coalesce({_OPERATION}, '') IN ('receive', 'process', 'deliver', 'settle')"

PEER_TYPE = f"""CASE
    WHEN {_SYSTEM} IS NOT NULL THEN 'database'
    WHEN {_QUEUE_SYSTEM} IS NOT NULL THEN CASE WHEN NOT {_TAKES} THEN 'messaging' END
    ELSE 'external' END"""
"""What is called: database, messaging, external; NULL for a call that fetches messages."""
# The number of a database of Redis tells two servers not apart: their addresses do.
_DATABASE = (
    f"coalesce({_PEER}, concat_ws('/', {_SYSTEM}, "
    f"coalesce(CASE WHEN {_NAMESPACE} !~ '^[0-9]+$' THEN {_NAMESPACE} END, {_ADDRESS}, {_NAMESPACE})))"
)
PEER_NAME = f"""left(CASE
    WHEN {_SYSTEM} IS NOT NULL THEN {_DATABASE}
    WHEN {_QUEUE_SYSTEM} IS NOT NULL THEN concat_ws('/', {_QUEUE_SYSTEM}, {_QUEUE})
    ELSE coalesce({_PEER}, {_ADDRESS}, {_first("rpc.service")}) END, {MOST_CHARACTERS})"""
"""Its name; NULL where the span does not tell."""
