"""`OTEL_*` variables mean to `configure()` what they mean to the SDK's own configurator."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from tests.support.forked_application import run_application

EXPORTED = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"}
HTTP = {**EXPORTED, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}

# Both ways in forks of one process: neither sees what the other set up.
BOTH = """
    import json, os, sys
    from tests.support.described_sdk import described

    def official():
        from opentelemetry.sdk._configuration import _OTelSDKConfigurator
        _OTelSDKConfigurator().configure()

    def ares():
        import ares_otel
        ares_otel.configure(remote_config=False, registry=False)

    for way in (official, ares):
        if (pid := os.fork()) == 0:
            try:
                way()
                found = described()
            except Exception as error:
                found = {"raised": str(error)}
            print(json.dumps(found), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
"""


def both(environment: dict[str, str]) -> list[dict[str, Any]]:
    """What came out of the SDK's configurator, and of `configure()`."""
    return _both(tuple(environment.items()))


@cache
def _both(environment: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    run = run_application(BOTH, dict(environment))
    return [json.loads(line) for line in run.stdout.splitlines()]


TABLE: dict[str, dict[str, str]] = {
    "OTLP over gRPC": EXPORTED,
    "OTLP over HTTP": HTTP,
    "a protocol for one signal": {**EXPORTED, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"},
    "no traces and no logs": {**EXPORTED, "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": " None "},
    "two exporters for each signal": dict.fromkeys(EXPORTED, "otlp,console"),
    "endpoint, headers, compression and timeout over gRPC": {
        **EXPORTED,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret,x=a%20b",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
    },
    "endpoint, headers, compression and timeout over HTTP": {
        **HTTP,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/base",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret,x=a%20b",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
    },
    "endpoints and headers of each signal over HTTP": {
        **HTTP,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces/t",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs/l",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://metrics/m",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=1",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "b=2",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "c=3",
    },
    "endpoints of each signal over gRPC, with and without TLS": {
        **EXPORTED,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces:4317",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "logs:4317",
        "OTEL_EXPORTER_OTLP_LOGS_INSECURE": "true",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "7",
    },
    "a ratio": {**EXPORTED, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
    "a ratio for roots": {
        **EXPORTED,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.5",
    },
    "a ratio that is no number": {
        **EXPORTED,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "half",
    },
    "nothing sampled": {**EXPORTED, "OTEL_TRACES_SAMPLER": "always_off"},
    "an unknown sampler": {**EXPORTED, "OTEL_TRACES_SAMPLER": "coin"},
    "other propagators": {**EXPORTED, "OTEL_PROPAGATORS": "baggage"},
    "queues and intervals": {
        **EXPORTED,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BSP_MAX_QUEUE_SIZE": "99",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "33",
        "OTEL_BSP_EXPORT_TIMEOUT": "777",
        "OTEL_BLRP_SCHEDULE_DELAY": "200",
        "OTEL_BLRP_MAX_QUEUE_SIZE": "88",
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "44",
        "OTEL_METRIC_EXPORT_INTERVAL": "1500",
        "OTEL_METRIC_EXPORT_TIMEOUT": "600",
    },
    "queues and intervals that are no numbers": {
        **EXPORTED,
        "OTEL_BSP_SCHEDULE_DELAY": "soon",
        "OTEL_BLRP_MAX_QUEUE_SIZE": "many",
        "OTEL_METRIC_EXPORT_INTERVAL": "often",
    },
    "deltas and exponential histograms": {
        **EXPORTED,
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
    },
    "limits": {
        **EXPORTED,
        "OTEL_ATTRIBUTE_COUNT_LIMIT": "7",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "50",
        "OTEL_SPAN_EVENT_COUNT_LIMIT": "3",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "2",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "5",
    },
    "exemplars and ids": {
        **EXPORTED,
        "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
        "OTEL_PYTHON_ID_GENERATOR": "random",
    },
    "a resource": {
        **EXPORTED,
        "OTEL_RESOURCE_ATTRIBUTES": "team=a%2Cb,service.name=lost,service.instance.id=first,broken",
        "OTEL_SERVICE_NAME": "orders",
    },
    "detectors of resources": {**EXPORTED, "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "os,unknown"},
    "the SDK switched off": {**EXPORTED, "OTEL_SDK_DISABLED": "True"},
}


@pytest.mark.parametrize("environment", TABLE.values(), ids=list(TABLE))
def test_a_variable_means_what_it_means_to_the_sdks_configurator(environment: dict[str, str]) -> None:
    official, ares = both(environment)

    assert ares == official
    assert official["same resource"]


@pytest.mark.parametrize("name", ["a ratio", "queues and intervals", "limits", "other propagators"])
def test_what_is_compared_differs_where_variables_do(name: str) -> None:
    """Were a setting not among what is compared, the table would prove nothing about it."""
    assert both(TABLE[name])[0] != both(EXPORTED)[0]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL takes grpc or http/protobuf"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
    ],
    ids=["a protocol that does not exist", "an exporter that is not installed"],
)
def test_what_the_sdk_refuses_is_refused_in_a_sentence_that_names_the_variable(
    environment: dict[str, str], said: str
) -> None:
    official, ares = both({**EXPORTED, **environment})

    assert "raised" in official
    assert said in ares["raised"]


def test_without_any_variable_everything_goes_to_the_receiver_on_this_host_over_grpc() -> None:
    _, ares = both({})

    for exporter in (ares["spans"][0], ares["logs"][0], ares["metrics"][0]):
        assert exporter["exporter"]["_endpoint"] == "localhost:4317"
        assert ".grpc." in exporter["exporter"]["class"]


def test_a_file_that_declares_the_configuration_is_the_sdks_affair() -> None:
    official, ares = both({"OTEL_CONFIG_FILE": "/tmp/otel.yaml"})

    assert "opentelemetry-configuration" in official["raised"]
    assert ares == official
