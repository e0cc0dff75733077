"""What an application says through the standard library's `logging` becomes log records of OpenTelemetry."""

from __future__ import annotations

import uuid
from textwrap import dedent

import pytest

from tests.support.forked_application import run_application
from tests.support.otlp_sink import Sink, values

CONFIGURE = """
import logging, logging.config, os, sys
from logging.config import dictConfig
import ares_otel
from opentelemetry import trace

def configure(**named):
    return ares_otel.configure(os.environ["NAME"], remote_config=False, registry=False, **named)

"""


@pytest.fixture
def name() -> str:
    return f"app-{uuid.uuid4().hex[:12]}"


def run(body: str, name: str, sink: Sink, **environment: str) -> str:
    """Runs an application that logs; what it printed on standard error."""
    done = run_application(CONFIGURE + dedent(body), sink.environment(NAME=name, **environment))
    assert done.returncode == 0, done.stderr
    return done.stderr


def texts(sink: Sink, name: str) -> list[str]:
    return [one.item.body.string_value for one in sink.logs(name)]


def test_a_record_has_its_trace_its_source_its_extras_and_its_exception(name: str, sink: Sink) -> None:
    body = """
        configure()
        log = logging.getLogger("shop.orders")
        def pay():
            try:
                raise LookupError("no such card")
            except LookupError:
                log.exception("paying %s failed", 7, extra={"order.id": 7, "paid": False, "items": ["a", "b"]})
        with trace.get_tracer("app").start_as_current_span("pay"):
            pay()
    """
    run(body, name, sink)

    (span,) = sink.spans(name)
    (record,) = sink.logs(name)
    assert record.scope == "shop.orders"
    assert record.item.body.string_value == "paying 7 failed"
    assert (record.item.severity_text, record.item.severity_number) == ("ERROR", 17)
    assert (record.item.trace_id, record.item.span_id) == (span.item.trace_id, span.item.span_id)
    said = record.attributes
    assert said["code.file.path"].endswith("application.py")
    assert said["code.function.name"] == "pay"
    assert said["code.line.number"] == CONFIGURE.count("\n") + 8
    assert (said["exception.type"], said["exception.message"]) == ("LookupError", "no such card")
    assert "raise LookupError" in said["exception.stacktrace"] or "in pay" in said["exception.stacktrace"]
    assert (said["order.id"], said["paid"]) == (7, False)
    assert "items" in said


SWEEPS = {
    "basicConfig": "logging.basicConfig(level='INFO', format='CONSOLE %(message)s')",
    "basicConfig with force": "logging.basicConfig(level='INFO', format='CONSOLE %(message)s', force=True)",
    "dictConfig, imported by name before": (
        "dictConfig({'version': 1, 'formatters': {'f': {'format': 'CONSOLE %(message)s'}},"
        " 'handlers': {'h': {'class': 'logging.StreamHandler', 'formatter': 'f'}},"
        " 'root': {'handlers': ['h'], 'level': 'INFO'}, 'disable_existing_loggers': False})"
    ),
    "fileConfig": (
        "import io; logging.config.fileConfig(io.StringIO('[loggers]\\nkeys=root\\n[handlers]\\nkeys=h\\n"
        "[formatters]\\nkeys=f\\n[logger_root]\\nlevel=INFO\\nhandlers=h\\n[handler_h]\\nclass=StreamHandler\\nformatter=f\\nargs=()\\n"
        "[formatter_f]\\nformat=CONSOLE %(message)s\\n'), disable_existing_loggers=False)"
    ),
}


@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=list(SWEEPS))
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_applications_own_configuration_of_logging_works_and_loses_nothing(
    sweep: str, when: str, name: str, sink: Sink
) -> None:
    first, second = (sweep, "configure()") if when == "before" else ("configure()", sweep)

    printed = run(f"{first}\n{second}\nlogging.getLogger('app').info('said')", name, sink)

    assert texts(sink, name) == ["said"]
    assert printed.splitlines() == ["CONSOLE said"]


LEVELS = {
    "nobody configured logging": ("configure()", ["warning", "info"]),
    "the application did": ("logging.basicConfig(level='ERROR'); configure()", []),
    "the call says so": (
        "logging.basicConfig(level='ERROR'); configure(log_level='debug')",
        ["warning", "info", "debug"],
    ),
    "the application chose a level": ("logging.getLogger().setLevel(31); configure()", []),
}


@pytest.mark.parametrize(("setting", "expected"), LEVELS.values(), ids=list(LEVELS))
def test_which_levels_are_sent_when(setting: str, expected: list[str], name: str, sink: Sink) -> None:
    run(
        f"{setting}\nfor level in ('warning', 'info', 'debug'): getattr(logging.getLogger('a'), level)(level)",
        name,
        sink,
    )

    assert texts(sink, name) == expected


def test_the_console_goes_on_to_say_warnings_where_nobody_configured_logging(name: str, sink: Sink) -> None:
    """Python prints them only while no handler is there, and now there is one."""
    printed = run(
        "configure(); logging.getLogger('a').warning('careful'); logging.getLogger('a').info('fine')", name, sink
    )

    assert printed == "careful\n"


def test_a_server_that_keeps_its_log_to_itself_is_heard_once(name: str, sink: Sink) -> None:
    """uvicorn's loggers do not propagate: without this, no traceback of a failed request would arrive."""
    body = """
        import uvicorn
        configure()
        uvicorn.Config("app")  # configures logging
        error = logging.getLogger("uvicorn.error")
        error.info("apart", extra={"color_message": "in colours"})
        logging.getLogger("uvicorn").propagate = True
        error.info("by both ways")
    """
    run(body, name, sink)

    assert texts(sink, name) == ["apart", "by both ways"]
    assert "color_message" not in sink.logs(name)[0].attributes


def test_what_is_said_about_exports_is_not_exported_but_printed(name: str, sink: Sink) -> None:
    body = """
        configure(log_level="debug")
        from opentelemetry.instrumentation.utils import suppress_instrumentation
        logging.getLogger("opentelemetry.exporter.otlp").error("export failed")
        logging.getLogger("ares_otel.sdk.remote").warning("nobody answers")
        logging.getLogger("urllib3.connectionpool").warning("the application's own")
        with suppress_instrumentation():  # as exports run
            logging.getLogger("urllib3.connectionpool").warning("the export's")
            logging.getLogger("shop").warning("the application's as well")
    """
    printed = run(body, name, sink, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf", OTEL_EXPORTER_OTLP_ENDPOINT=sink.http)

    assert texts(sink, name) == ["the application's own", "the application's as well"]
    for line in ("export failed", "nobody answers"):
        assert line in printed


def test_ids_for_the_console_are_not_sent_as_attributes_too(name: str, sink: Sink) -> None:
    body = """
        logging.basicConfig(format="%(otelTraceID)s %(message)s")
        configure(instrument=["logging"])
        with trace.get_tracer("app").start_as_current_span("s"):
            logging.warning("in a trace")
    """
    printed = run(body, name, sink)

    (record,) = sink.logs(name)
    assert printed == f"{record.item.trace_id.hex()} in a trace\n"
    assert set(values(record.item.attributes)) == {"code.file.path", "code.function.name", "code.line.number"}


SWITCHES = {
    "no records at all": ({"OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": "false"}, [], True),
    "from a level on": ({"OTEL_PYTHON_LOG_HANDLER_LEVEL": "error"}, ["bad"], True),
    "without their source": ({"OTEL_PYTHON_LOG_CODE_ATTRIBUTES": "false"}, ["fine", "bad"], False),
}


@pytest.mark.parametrize(("environment", "expected", "source"), SWITCHES.values(), ids=list(SWITCHES))
def test_the_variables_of_the_logging_instrumentation_keep_their_meaning(
    environment: dict[str, str], expected: list[str], source: bool, name: str, sink: Sink
) -> None:
    run("configure(); log = logging.getLogger('a'); log.info('fine'); log.error('bad')", name, sink, **environment)

    assert texts(sink, name) == expected
    assert all(("code.line.number" in one.attributes) is source for one in sink.logs(name))


def test_the_message_of_an_exception_is_its_text_and_its_type_has_a_module(name: str, sink: Sink) -> None:
    body = """
        import json
        configure()
        for attempt in (lambda: open("/no/such/file"), lambda: json.loads("{")):
            try:
                attempt()
            except (OSError, ValueError):
                logging.getLogger("app").exception("failed")
    """
    run(body, name, sink)

    absent, broken = sink.logs(name)
    assert absent.attributes["exception.message"] == "[Errno 2] No such file or directory: '/no/such/file'"
    assert absent.attributes["exception.type"] == "FileNotFoundError"
    assert broken.attributes["exception.type"] == "json.decoder.JSONDecodeError"


def test_a_mistaken_log_call_neither_raises_nor_costs_its_neighbours(name: str, sink: Sink) -> None:
    body = r"""
        configure()
        logging.basicConfig(level="INFO")
        log = logging.getLogger("app")

        class Unprintable(Exception):
            def __str__(self):
                raise RuntimeError("no text")

        log.info("%d orders", "many")
        log.info("%s", Unprintable())
        try:
            raise ValueError(Unprintable())
        except ValueError:
            log.exception("unprintable")
        log.info("file \udcff", extra={"path": "\udcff", "\udcfe": 1})
        try:
            raise OSError("\udcff")
        except OSError:
            log.exception("surrogate")
        log.info("after")
    """
    printed = run(body, name, sink)

    assert texts(sink, name) == ["file \ufffd", "surrogate", "after"]
    path, surrogate, _ = sink.logs(name)
    assert (path.attributes["path"], path.attributes["\ufffd"]) == ("\ufffd", 1)
    assert surrogate.attributes["exception.message"] == "\ufffd"
    assert "OSError: \ufffd" in surrogate.attributes["exception.stacktrace"]
    assert "%d orders" in printed
