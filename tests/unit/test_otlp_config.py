"""Options of the otlp receiver."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ares_otel.pipeline.duration import parse_duration
from ares_otel.receivers.otlp.config import GrpcConfig, OtlpReceiverConfig
from ares_otel.receivers.otlp.grpc_server import server_options
from ares_otel.receivers.serving.http_config import split_endpoint


def config(**protocols: Any) -> OtlpReceiverConfig:
    return OtlpReceiverConfig.model_validate({"protocols": protocols})


def test_a_protocol_without_options_has_the_defaults_and_one_that_is_not_named_is_off() -> None:
    protocols = config(http=None).protocols
    assert protocols.grpc is None
    assert protocols.http is not None
    assert protocols.http.endpoint == "127.0.0.1:4318"
    assert protocols.http.max_request_body_size == 20 * 1024 * 1024
    assert config(grpc={}).protocols.grpc is not None


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        ("127.0.0.1:4317", ("127.0.0.1", 4317)),
        ("[::1]:4317", ("::1", 4317)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("localhost:0", ("localhost", 0)),
        (":4318", ("", 4318)),
    ],
)
def test_endpoints_are_host_and_port(endpoint: str, parts: tuple[str, int]) -> None:
    assert split_endpoint(endpoint) == parts


@pytest.mark.parametrize("endpoint", ["", "localhost", "4317", "http://localhost:4318", "::1:4317", "a:70000", "a b:1"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="is not host:port"):
        config(grpc={"endpoint": endpoint})


@pytest.mark.parametrize(
    ("protocols", "words"),
    [
        ({}, "name at least one protocol"),
        ({"htttp": {}}, "Extra inputs"),
        ({"grpc": {"max_recv_msg_size": 4}}, "Extra inputs"),
        ({"grpc": {"max_recv_msg_size_mib": 0}}, "greater than or equal to 1"),
        ({"grpc": {"keepalive": {"server_parameters": {"time": 10}}}}, "needs a unit"),
        ({"http": {"traces_url_path": "v1/traces"}}, "is not a URL path"),
        ({"http": {"traces_url_path": "/v1/traces?a"}}, "is not a URL path"),
        ({"http": {"traces_url_path": "/v1/logs"}}, "must differ"),
        ({"http": {"max_request_body_size": 0}}, "greater than or equal to 1"),
        ({"http": {"cors": {"allowed_origins": ["example.com"]}}}, "is not an origin"),
        ({"http": {"cors": {"allowed_origins": ["https://*"]}}}, "is not an origin"),
        ({"http": {"cors": {"allowed_origins": ["https://a.*.com"]}}}, "is not an origin"),
        ({"http": {"cors": {"allowed_origins": ["https://example.com/"]}}}, "is not an origin"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(protocols: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**protocols)


def test_every_option_has_a_description() -> None:
    def described(schema: dict[str, Any]) -> list[str]:
        return [
            name
            for definition in schema.get("$defs", {}).values()
            for name, option in definition.get("properties", {}).items()
            if "description" not in option and name not in ("server_parameters", "enforcement_policy", "grpc", "http")
        ]

    assert described(OtlpReceiverConfig.model_json_schema()) == []


def test_durations_are_written_as_the_collector_writes_them() -> None:
    grpc = config(grpc={"keepalive": {"server_parameters": {"max_connection_age": "1m30s"}}}).protocols.grpc
    assert grpc is not None
    assert grpc.keepalive.server_parameters.max_connection_age == parse_duration("90s") == 90.0


def test_connections_to_a_port_of_several_processes_are_ended_by_age_unless_another_age_is_set() -> None:
    def options(*, shared: bool, **life: str) -> dict[str, int]:
        return dict(
            server_options(GrpcConfig.model_validate({"keepalive": {"server_parameters": life}}), shared=shared)
        )

    never = 2**31 - 1
    assert options(shared=True)["grpc.max_connection_age_ms"] == 60_000
    assert options(shared=True, max_connection_age="5m")["grpc.max_connection_age_ms"] == 300_000
    assert options(shared=True, max_connection_age="0s")["grpc.max_connection_age_ms"] == never
    assert options(shared=False)["grpc.max_connection_age_ms"] == never
    assert [options(shared=shared)["grpc.so_reuseport"] for shared in (False, True)] == [0, 1]


def test_a_configuration_says_where_its_receiver_listens() -> None:
    protocols = {"grpc": {"endpoint": "[::1]:0"}, "http": None}
    grpc, http = OtlpReceiverConfig.model_validate({"protocols": protocols}).endpoints("otlp/other")
    assert (grpc.name, grpc.host, grpc.port) == ("otlp/other grpc", "::1", 0)
    assert (http.name, http.host, http.port) == ("otlp/other http", "127.0.0.1", 4318)
    assert http.setting == "receivers.otlp/other.protocols.http.endpoint"
