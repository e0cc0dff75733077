"""`configure()`: who the process is, what is built, and what a second call or somebody else's set-up changes."""

from __future__ import annotations

import json
import uuid
from textwrap import dedent
from typing import Any

import pytest

from tests.support.forked_application import run_application
from tests.support.otlp_sink import Sink

QUIET = "remote_config=False, registry=False"


@pytest.fixture
def name() -> str:
    return f"app-{uuid.uuid4().hex[:12]}"


def tell(expression: str, env: dict[str, str] | None = None, before: str = "pass") -> Any:
    """The JSON of an expression about `telemetry`, in an application that evaluates it after a line before it."""
    script = f"""
import json, os, sys
import ares_otel
from opentelemetry import _logs, metrics, trace
{before}
print(json.dumps({expression}), flush=True)
os._exit(0)
"""
    run = run_application(script, env)
    assert run.stdout, run.stderr
    return json.loads(run.stdout)


def resource(arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    found = tell(f"dict(ares_otel.configure({arguments}, {QUIET}).resource.attributes)", env)
    assert isinstance(found, dict)
    return found


def test_the_resource_says_who_sends() -> None:
    names = "'orders', service_version='1.2', service_namespace='shop'"
    found = resource(f"{names}, environment='test', resource_attributes={{'team': 'a'}}")

    given = {
        "service.name": "orders",
        "service.version": "1.2",
        "service.namespace": "shop",
        "deployment.environment.name": "test",
        "team": "a",
        "telemetry.sdk.language": "python",
        "telemetry.distro.name": "ares-otel",
    }
    assert given.items() <= found.items()
    assert uuid.UUID(found["service.instance.id"]).version == 4
    for key in ("telemetry.distro.version", "host.name", "host.arch", "process.pid", "process.runtime.version"):
        assert found[key], key


def test_the_arguments_of_the_command_line_stay_at_home() -> None:
    """They hold passwords, sometimes."""
    assert not {"process.command_args", "process.command_line"} & resource("'orders'").keys()


def test_code_wins_over_variables_and_variables_over_what_is_found_out() -> None:
    environment = {
        "OTEL_SERVICE_NAME": "by-variable",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=0,team=b,host.name=elsewhere,telemetry.distro.name=ours",
    }

    found = resource("'by-code', service_version='1'", environment)
    by_variable = resource("service_version='1'", environment)

    assert (found["service.name"], found["service.version"]) == ("by-code", "1")
    assert (found["team"], found["host.name"], found["telemetry.distro.name"]) == ("b", "elsewhere", "ours")
    assert by_variable["service.name"] == "by-variable"


def test_a_service_without_a_name_is_told_how_to_get_one() -> None:
    run = run_application(f"import ares_otel; ares_otel.configure({QUIET}).shutdown()")

    assert "OTEL_SERVICE_NAME" in run.stderr


ADDRESSES: dict[str, tuple[str, dict[str, str], str, str]] = {
    "an endpoint is that of gRPC": ("endpoint='http://c:4317'", {}, "grpc", "c:4317"),
    "an endpoint without a scheme is not TLS": ("endpoint='c:4317'", {}, "grpc", "c:4317"),
    "port 4318 is that of HTTP": ("endpoint='http://c:4318'", {}, "http", "http://c:4318/v1/traces"),
    "a protocol that a variable names": (
        "endpoint='http://c:4317/'",
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        "http",
        "http://c:4317/v1/traces",
    ),
    "the code wins over the variables": (
        "endpoint='http://c:4317'",
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d:4317", "OTEL_TRACES_EXPORTER": "console"},
        "grpc",
        "c:4317",
    ),
}

EXPORTERS = """[
    [type(processor.span_exporter).__module__.split('.')[-2], processor.span_exporter._endpoint]
    for processor in telemetry.tracer_provider._active_span_processor._span_processors
]"""


@pytest.mark.parametrize(("arguments", "environment", "protocol", "address"), ADDRESSES.values(), ids=list(ADDRESSES))
def test_where_telemetry_goes(arguments: str, environment: dict[str, str], protocol: str, address: str) -> None:
    found = tell(EXPORTERS, environment, f"telemetry = ares_otel.configure('orders', {arguments}, {QUIET})")

    assert found == [[protocol, address]]


def test_none_in_a_variable_switches_a_signal_off_whatever_the_code_says() -> None:
    before = f"telemetry = ares_otel.configure('orders', endpoint='http://c:4317', {QUIET})"

    assert tell(EXPORTERS, {"OTEL_TRACES_EXPORTER": "none"}, before) == []


MISTAKES = {
    "an exporter that does not exist": ("exporter='kafka'", "OTEL_TRACES_EXPORTER"),
    "two ways at once": ("exporter='otlp', database_url='postgresql:///x'", "leave out one"),
    "an endpoint for what is written into PostgreSQL": (
        "endpoint='http://c', database_url='postgresql:///x'",
        "endpoint=",
    ),
    "a database that nobody names": ("exporter='ares_postgres'", "ARES_OTEL_DATABASE_URL"),
    "an endpoint without a host": ("endpoint='http://'", "http://localhost:4317"),
    "an endpoint with a wrong port": ("endpoint='http://c:port'", "http://localhost:4317"),
    "an unknown instrumentation": ("instrument=('asyncpgg',)", "asyncpg"),
    "names that are one string": ("instrument='asyncpg'", "('asyncpg',)"),
    "an application of another kind": ("app=object()", "FastAPI"),
    "a level that does not exist": ("log_level='loud'", "warning"),
    "an address of the API that is none": ("api_url='ares:8080'", "api_url"),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_told_in_a_sentence(arguments: str, said: str) -> None:
    before = dedent(
        f"""
        message = None
        try:
            ares_otel.configure('orders', {arguments})
        except (TypeError, ValueError) as error:
            message = str(error)
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider), "nothing is half set up"
        """
    )
    message = tell("message", {}, before)

    assert message is not None
    assert said in message


def test_a_second_call_gives_the_same_and_says_what_it_does_not_change(name: str, sink: Sink) -> None:
    script = f"""
        import threading, ares_otel
        from opentelemetry import trace
        found = []
        call = lambda: found.append(ares_otel.configure("{name}", {QUIET}))
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        found.append(ares_otel.configure())
        assert len(set(map(id, found))) == 1
        found.append(ares_otel.configure("other", environment="test"))
        assert len(set(map(id, found))) == 1
        trace.get_tracer("app").start_span("once").end()
    """
    run = run_application(script, sink.environment())

    assert run.returncode == 0, run.stderr
    assert [one.item.name for one in sink.spans(name)] == ["once"]
    assert run.stderr.count("without effect") == 1
    assert "service_name, environment" in run.stderr


def test_after_shutdown_a_call_says_that_nothing_is_sent_any_more(name: str, sink: Sink) -> None:
    script = f"""
        import ares_otel
        ares_otel.configure("{name}", {QUIET}).shutdown()
        ares_otel.configure("{name}")
    """
    assert "shut down" in run_application(script, sink.environment()).stderr


def test_providers_that_are_set_already_are_used_and_nothing_is_exported_twice(name: str, sink: Sink) -> None:
    script = f"""
        import logging
        logging.basicConfig(level="INFO")
        import ares_otel
        from opentelemetry import trace
        from opentelemetry.sdk._configuration import _OTelSDKConfigurator
        _OTelSDKConfigurator().configure()
        telemetry = ares_otel.configure("{name}", {QUIET})
        assert telemetry.tracer_provider is trace.get_tracer_provider()
        trace.get_tracer("app").start_span("once").end()
        logging.getLogger("app").info("said once")
    """
    exporters = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_SERVICE_NAME": name}

    run = run_application(script, sink.environment(**exporters))

    assert run.returncode == 0, run.stderr
    assert [one.item.name for one in sink.spans(name)] == ["once"]
    assert [one.item.body.string_value for one in sink.logs(name)] == ["said once"]
    assert run.stderr.count("nothing is exported twice") == 1


def test_other_providers_later_on_get_the_log_instead_of_the_former_ones() -> None:
    """As between tests, each of which has providers of its own."""
    before = dedent(
        f"""
        import logging
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk.trace import TracerProvider
        handlers = []
        for _ in range(2):
            trace._TRACER_PROVIDER, _logs._internal._LOGGER_PROVIDER = TracerProvider(), LoggerProvider()
            ares_otel.configure("orders", {QUIET})
            handlers.append([handler._logger_provider for handler in logging.getLogger().handlers])
        """
    )
    told = "[len(found) for found in handlers] + [handlers[1] == [_logs.get_logger_provider()]]"

    assert tell(told, {}, before) == [1, 1, True]


def test_where_nobody_answers_the_application_starts_and_ends_all_the_same() -> None:
    script = """
        import ares_otel
        from opentelemetry import trace
        ares_otel.configure("orders", endpoint="http://127.0.0.1:9")
        trace.get_tracer("app").start_span("lost").end()
        print("works")
    """
    run = run_application(script, {"ARES_OTEL_EXIT_TIMEOUT": "0.1"})

    assert (run.returncode, run.stdout) == (0, "works\n"), run.stderr


def test_an_exit_timeout_that_is_no_number_is_said() -> None:
    script = f"import ares_otel; ares_otel.configure('orders', {QUIET})"

    run = run_application(script, {"ARES_OTEL_EXIT_TIMEOUT": "soon", "OTEL_TRACES_EXPORTER": "none"})

    assert "ARES_OTEL_EXIT_TIMEOUT=soon" in run.stderr


def test_the_sdk_switched_off_records_nothing_and_talks_to_nobody(name: str, sink: Sink) -> None:
    script = f"""
        import logging, threading
        import ares_otel
        from opentelemetry import trace
        telemetry = ares_otel.configure("{name}")
        assert telemetry.settings.get_int("cart.limit", 100) == 100
        telemetry.settings.on_change("cart.*", print)
        assert not telemetry.settings.wait(60.0)
        assert not trace.get_tracer("app").start_span("nothing").is_recording()
        logging.warning("not sent")
    """
    run = run_application(script, sink.environment(OTEL_SDK_DISABLED="true"))

    assert run.returncode == 0, run.stderr
    assert sink.spans(name) + sink.logs(name) + sink.metrics(name) == []
