"""Where settings and the registry are looked for."""

from __future__ import annotations

from typing import Any

import pytest

from ares_otel.sdk.options import Options

API, DATABASE = "http://ares:8080", "postgresql://db/ares"

PLACES: dict[str, tuple[dict[str, Any], dict[str, str], tuple[str | None, str | None]]] = {
    "beside the receiver on this host": ({}, {}, ("http://127.0.0.1:8080", None)),
    "beside the receiver that the code names": ({"endpoint": "collector:4317"}, {}, ("http://collector:8080", None)),
    "beside the receiver that a variable names": (
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:4318"},
        ("http://[::1]:8080", None),
    ),
    "not at somebody's service": ({"endpoint": "https://otlp.example.com"}, {}, (None, None)),
    "where the code says": ({"api_url": API}, {"ARES_OTEL_API_URL": "http://other"}, (API, None)),
    "where the variable says": ({}, {"ARES_OTEL_API_URL": API}, (API, None)),
    "in the database that is written into": ({"database_url": DATABASE}, {}, (None, DATABASE)),
    "in the database that a variable names": (
        {"exporter": "ares_postgres"},
        {"ARES_OTEL_DATABASE_URL": DATABASE},
        (None, DATABASE),
    ),
    "at the API although data goes into the database": ({"database_url": DATABASE, "api_url": API}, {}, (API, None)),
    "not in a database that is not written into": (
        {},
        {"ARES_OTEL_DATABASE_URL": DATABASE},
        ("http://127.0.0.1:8080", None),
    ),
}


@pytest.mark.parametrize(("given", "environment", "place"), PLACES.values(), ids=list(PLACES))
def test_settings_and_the_registry_are(
    given: dict[str, Any],
    environment: dict[str, str],
    place: tuple[str | None, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ARES_OTEL_API_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = Options(**given)

    assert options.control(options.straight) == place


def test_only_what_a_later_call_says_can_differ() -> None:
    first = Options(service_name="orders", environment="test")

    assert first.differences(Options()) == []
    assert first.differences(Options(service_name="orders")) == []
    assert first.differences(Options(service_name="other", endpoint="http://c")) == ["service_name", "endpoint"]


def test_passwords_in_urls_are_not_shown() -> None:
    urls: dict[str, Any] = {"database_url": "postgresql://u:canary@db/ares", "api_url": "http://u:canary@ares:8080"}
    assert "canary" not in repr(Options(**urls))
    for endpoint in ("http://u:canary@", "http://u:canary@localhost:many"):
        with pytest.raises(ValueError, match="write it as") as caught:
            assert not Options(endpoint=endpoint).speaks_http
        assert "canary" not in str(caught.value)
