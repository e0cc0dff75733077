"""Which registered services are targets, and where."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ares_otel.control.scrape_targets import labels_of


def service(metadata: Any, **fields: Any) -> dict[str, Any]:
    row = {
        "name": "billing",
        "instance_id": "b-1",
        "version": "2",
        "status": "online",
        "port": None,
        "health_url": None,
    }
    return {**row, "metadata": orjson.dumps(metadata).decode(), **fields}


@pytest.mark.parametrize(
    ("metadata", "fields", "address"),
    [
        ({"prometheus.io/scrape": "true", "prometheus.io/host": "a", "prometheus.io/port": "1"}, {}, "a:1"),
        ({"prometheus.io/scrape": True}, {"port": 80, "health_url": "http://b:9/ok"}, "b:80"),
        ({"prometheus.io/port": 7}, {"port": 80, "health_url": "http://b:9/ok"}, "b:7"),
        ({"prometheus.io/path": "/m"}, {"health_url": "http://b:9/ok"}, "b:9"),
        ({"prometheus.io/scrape": "true"}, {"health_url": "http://[fd00::1]:9/ok"}, "[fd00::1]:9"),
    ],
)
def test_host_and_port_come_from_what_says_them_best(metadata: Any, fields: dict[str, Any], address: str) -> None:
    labels = labels_of(service(metadata, **fields))
    assert labels is not None
    assert labels["__address__"] == address


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        ({"prometheus.io/scrape": "false", "prometheus.io/host": "a", "prometheus.io/port": 1}, {}),
        ({"prometheus.io/scrape": ["true"], "prometheus.io/host": "a", "prometheus.io/port": 1}, {}),
        ({"prometheus.io/scrape": "true"}, {"port": 80}),
        ({"prometheus.io/scrape": "true", "prometheus.io/host": "a"}, {}),
        (["prometheus.io/scrape"], {"port": 80}),
    ],
)
def test_who_does_not_ask_or_says_no_place_is_no_target(metadata: Any, fields: dict[str, Any]) -> None:
    assert labels_of(service(metadata, **fields)) is None


def test_what_is_known_of_a_service_is_there_for_rules() -> None:
    metadata = {
        "prometheus.io/scrape": "true",
        "prometheus.io/host": "a",
        "prometheus.io/port": 1,
        "prometheus.io/path": "/m",
        "prometheus.io/scheme": "https",
        "team": "red",
        "list": [1],
    }
    assert labels_of(service(metadata)) == {
        "__address__": "a:1",
        "__metrics_path__": "/m",
        "__scheme__": "https",
        "job": "billing",
        "instance": "b-1",
        "__meta_ares_service_name": "billing",
        "__meta_ares_service_instance_id": "b-1",
        "__meta_ares_service_version": "2",
        "__meta_ares_service_status": "online",
        "__meta_ares_service_metadata_prometheus_io_scrape": "true",
        "__meta_ares_service_metadata_prometheus_io_host": "a",
        "__meta_ares_service_metadata_prometheus_io_port": "1",
        "__meta_ares_service_metadata_prometheus_io_path": "/m",
        "__meta_ares_service_metadata_prometheus_io_scheme": "https",
        "__meta_ares_service_metadata_team": "red",
    }
