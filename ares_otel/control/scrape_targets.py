"""Which registered services want to be scraped, and where their page is: by the words of their metadata that are usual
as annotations in Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson

from ares_otel.control.registry_database import STATEMENTS
from ares_otel.query.reader import reading

SCRAPE, HOST, PORT = "prometheus.io/scrape", "prometheus.io/host", "prometheus.io/port"
PATH, SCHEME = "prometheus.io/path", "prometheus.io/scheme"
MOST = 10_000
"""Services that are scraped at most."""
_META = "__meta_ares_service_"
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")


async def scrape_targets(pool: asyncpg.Pool, *, include_offline: bool) -> list[dict[str, str]]:
    """Labels of each registered service that wants to be scraped, as relabelling sees them.

    Raises:
        DatabaseUnavailable, QueryTooSlow: as their texts say.
    """
    async with reading(pool) as reader:
        rows = await reader.fetch(
            STATEMENTS["scrape_targets"], only_living=None if include_offline else True, most=MOST
        )
    found = (labels_of(dict(row)) for row in rows)
    return [labels for labels in found if labels is not None]


def labels_of(row: Mapping[str, Any]) -> dict[str, str] | None:
    """The labels of one service; None where it does not want to be scraped, or does not say where.

    The host is `prometheus.io/host`, else that of `health_url`; the port `prometheus.io/port`, else the registered one,
    else that of `health_url`.
    """
    metadata = orjson.loads(row["metadata"] or "{}")
    if not isinstance(metadata, dict) or _text(metadata.get(SCRAPE, True)) != "true":
        return None
    try:
        health = urlsplit(row["health_url"] or "")
        health_host, health_port = health.hostname, health.port
    except ValueError:
        health_host, health_port = None, None
    host = _text(metadata.get(HOST)) or health_host
    port = _text(metadata.get(PORT)) or _text(row["port"]) or _text(health_port)
    if not host or not port:
        return None
    labels = {
        "__address__": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "job": row["name"],
        f"{_META}name": row["name"],
        f"{_META}instance_id": row["instance_id"],
        f"{_META}version": row["version"],
        f"{_META}status": row["status"],
    }
    if row["instance_id"]:
        labels["instance"] = row["instance_id"]
    if path := _text(metadata.get(PATH)):
        labels["__metrics_path__"] = path
    if scheme := _text(metadata.get(SCHEME)):
        labels["__scheme__"] = scheme
    for key, value in metadata.items():
        if (text := _text(value)) is not None:
            labels[f"{_META}metadata_{_NO_LABEL.sub('_', key)[:200]}"] = text[:4096]
    return labels


def _text(value: object) -> str | None:
    """A text, a number or a truth value as text; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value if isinstance(value, str) else None
