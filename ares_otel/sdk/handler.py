"""Records of the standard library's `logging` become OpenTelemetry's."""

from __future__ import annotations

import functools
import logging
import logging.config
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.instrumentation.logging import _get_log_level
from opentelemetry.instrumentation.logging.environment_variables import (
    OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION,
    OTEL_PYTHON_LOG_CODE_ATTRIBUTES,
    OTEL_PYTHON_LOG_HANDLER_LEVEL,
)
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs import LoggerProvider

from ares_otel.sdk.values import type_name, utf8

OWN = ("opentelemetry", "ares_otel.sdk")
"""Loggers of those who export. What they say about a failed export is not exported again."""

_CLIENTS = frozenset(
    {"ares_otel", "asyncio", "asyncpg", "charset_normalizer", "grpc", "httpcore", "httpx", "requests", "urllib3"}
)
"""Libraries that exports run over. Exports are untraced; what these say in an untraced context is about the export."""

_APART = ("uvicorn.error", "gunicorn.error", "hypercorn.error")
"""Loggers of servers, which keep what they say (also the traceback of a request that failed) from the root logger."""

_NOT_SAID = frozenset({"otelSpanID", "otelTraceID", "otelTraceSampled", "otelServiceName", "color_message"})
"""Put into records for the console's sake: the same is in the log record's own fields, or is its text in colours."""


class OtlpHandler(LoggingHandler):
    """The handler of `opentelemetry-instrumentation-logging` with source file and line, for the root logger.

    It leaves out what exporting says, takes a record once that comes by two ways, and leaves warnings on standard error
    where no other handler is: Python itself prints them only while there is no handler at all.
    """

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__(
            level=_get_log_level(os.environ.get(OTEL_PYTHON_LOG_HANDLER_LEVEL)) or logging.NOTSET,
            logger_provider=provider,
            log_code_attributes=_switch(OTEL_PYTHON_LOG_CODE_ATTRIBUTES),
        )
        self._seen = threading.local()
        self.addFilter(_not_of_the_export)

    def handle(self, record: logging.LogRecord) -> bool:
        last = getattr(self._seen, "last", None)
        if last is not None and last() is record:
            return False
        self._seen.last = weakref.ref(record)
        self._print_without_console(record)
        return bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: a record whose arguments do not fit its message is a mistake of one line, which the standard
        library's handlers print and survive (`logging.raiseExceptions`)."""
        try:
            super().emit(record)
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Nothing: the provider is flushed, in bounded time, by whoever ends it. `logging.shutdown` calls this at exit,
        when no thread can be started any more."""

    def _translate(self, record: logging.LogRecord) -> LogRecord:
        """With text that UTF-8 can hold: names of files may have surrogates, and one such record would cost all those
        that are exported with it."""
        translated = super()._translate(record)
        if isinstance(translated.body, str):
            translated.body = utf8(translated.body)
        return translated

    def _get_attributes(self, record: logging.LogRecord) -> tuple[dict[str, Any], str | None]:
        attributes, event_name = super()._get_attributes(record)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:  # the official handler has the first argument, which is the number of an OSError
            attributes["exception.type"], attributes["exception.message"] = type_name(error), str(error)
        said = {
            utf8(str(name)): utf8(value) if isinstance(value, str) else value
            for name, value in attributes.items()
            if name not in _NOT_SAID
        }
        return said, event_name

    def _print_without_console(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not any(self._others(record.name)):
            last.handle(record)

    def _others(self, name: str) -> Iterator[logging.Handler]:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            yield from (handler for handler in logger.handlers if handler is not self)
            logger = logger.parent if logger.propagate else None


class Attached:
    """The handler where it belongs, also after `basicConfig`, `dictConfig` or `fileConfig` swept the handlers away."""

    def __init__(self, provider: LoggerProvider) -> None:
        self.handler = OtlpHandler(provider)
        self._undo: list[Callable[[], None]] = []
        self._add()
        self._keep(logging, "basicConfig")
        self._keep(logging.config, "fileConfig")
        self._keep(logging.config.DictConfigurator, "configure")  # not dictConfig: many import that by name

    def detach(self) -> None:
        """Takes the handler away and leaves `logging` as it was. Safe twice."""
        while self._undo:
            self._undo.pop()()
        self._remove()

    def _keep(self, home: Any, name: str) -> None:
        original = getattr(home, name)

        @functools.wraps(original)
        def kept(*args: Any, **named: Any) -> Any:
            with self._aside():
                return original(*args, **named)

        def undo() -> None:
            if getattr(home, name) is kept:
                setattr(home, name, original)

        setattr(home, name, kept)
        self._undo.append(undo)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """`basicConfig` does nothing where a handler is, and the others close the handlers they find."""
        attached = self.handler in logging.getLogger().handlers
        self._remove()
        try:
            yield
        finally:
            if attached and self._undo:
                self._add()

    def _add(self) -> None:
        for logger in (logging.getLogger(), *map(logging.getLogger, _APART)):
            logger.addHandler(self.handler)

    def _remove(self) -> None:
        for logger in (logging.getLogger(), *map(logging.getLogger, _APART)):
            logger.removeHandler(self.handler)


def level_of(level: str | int) -> int:
    """The number of a level.

    Raises:
        ValueError: there is no such level.
    """
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValueError(f"log_level={level!r} is no level: debug, info, warning, error or critical.")
    return number


def set_level(level: str | int | None) -> None:
    """Sets the root logger's level; None: INFO where nobody has configured logging, else as it is."""
    root = logging.getLogger()
    if level is not None:
        root.setLevel(level_of(level))
    elif root.level == logging.WARNING and not root.handlers:
        root.setLevel(logging.INFO)


def wanted() -> bool:
    """Whether records shall go to OpenTelemetry, and do not yet, through somebody's handler."""
    return _switch(OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION) and not any(
        type(handler).__name__ == "LoggingHandler" and type(handler).__module__.startswith("opentelemetry.")
        for handler in logging.getLogger().handlers
    )


def _switch(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() != "false"


def _not_of_the_export(record: logging.LogRecord) -> bool:
    name = record.name
    if any(name == own or name.startswith(f"{own}.") for own in OWN):
        return False
    return is_instrumentation_enabled() or name.partition(".")[0] not in _CLIENTS
