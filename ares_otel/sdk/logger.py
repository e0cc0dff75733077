"""A logger whose calls take the trace context: thin over OpenTelemetry's logs API."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry._logs import Logger as OtelLogger
from opentelemetry._logs import LoggerProvider, SeverityNumber, get_logger_provider
from opentelemetry.context import Context
from opentelemetry.trace import TracerProvider, get_tracer
from opentelemetry.util.types import AnyValue

from ares_otel.sdk.caller import caller
from ares_otel.sdk.once import Once
from ares_otel.sdk.trace_context import begin_trace, context_of, span_context_of, without_root
from ares_otel.sdk.values import Converter, type_name

METADATA_CUT = "ares.metadata.cut"
"""Attribute of a record that is not there as a whole: how many values, lists, mappings and texts were cut."""

_once = Once(logging.getLogger(__name__))

_DEBUG, _INFO, _WARN, _ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
_SEVERITIES = {
    _DEBUG: (SeverityNumber.DEBUG, "DEBUG"),
    _INFO: (SeverityNumber.INFO, "INFO"),
    _WARN: (SeverityNumber.WARN, "WARN"),
    _ERROR: (SeverityNumber.ERROR, "ERROR"),
}


class Logger:
    """Writes log records that belong to the trace of the context they are given.

    What it is called with goes to the logger of this name of the OpenTelemetry provider: severity, message as body,
    metadata as attributes, and the file, line and function of the caller. It follows the level of the standard logger
    of this name (`logging.getLogger(name)`); where nobody has configured the root logger, INFO and above are written.

    No call raises because of what it is given, because of the provider, or because there is none; such a thing is said
    once, on the standard logger `ares_otel.sdk.logger`. No call waits for an export: the SDK's batch processor has a
    thread for that. Usable from any thread and from coroutines.
    """

    __slots__ = ("_enabled_for", "_given", "_otel", "_provider", "_standard", "_tracers", "name")

    def __init__(
        self,
        name: str,
        *,
        logger_provider: LoggerProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        """
        Args:
            name: of the logger, and of the instrumentation scope of its records.
            logger_provider: takes the records; default the global one at the time of each call.
            tracer_provider: begins traces; default the global one at the time of each call.
        """
        self.name = name
        self._standard = logging.getLogger(name)
        self._enabled_for = self._standard.isEnabledFor
        self._given = logger_provider
        self._tracers = tracer_provider
        self._provider: LoggerProvider | None = None
        self._otel: OtelLogger | None = None

    def with_trace(self, ctx: Context | None = None, *, operation: str | None = None) -> tuple[Context, str]:
        """The context with a trace in it, and the trace's id: 32 hex digits.

        A context that has a trace is given back as it is. In another a trace begins, with a root span that ends at
        once: spans and records made with the context have a parent that exists. The sampler decides about the trace as
        about any other. The context is not made the current one.

        Args:
            ctx: None is the current context.
            operation: name of the root span; default the logger's name.
        """
        context = self._context(ctx, "with_trace")
        found = span_context_of(context)
        if not found.is_valid:
            try:
                tracer = get_tracer(self.name, tracer_provider=self._tracers)
                context = begin_trace(tracer, operation or self.name, context, caller(2))
            except Exception as error:
                self._failed("begin a trace", error)
                context = without_root(context)
            found = span_context_of(context)
        return context, f"{found.trace_id:032x}"

    def debug(
        self,
        ctx: Context | None,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        exception: BaseException | bool | None = None,
        stacklevel: int = 1,
    ) -> None:
        """Writes a record of severity DEBUG (5). See `error`."""
        if self._enabled_for(_DEBUG):
            self._write(_DEBUG, ctx, message, metadata, exception, stacklevel)

    def info(
        self,
        ctx: Context | None,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        exception: BaseException | bool | None = None,
        stacklevel: int = 1,
    ) -> None:
        """Writes a record of severity INFO (9). See `error`."""
        if self._enabled_for(_INFO) or self._nobody_configured():
            self._write(_INFO, ctx, message, metadata, exception, stacklevel)

    def warn(
        self,
        ctx: Context | None,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        exception: BaseException | bool | None = None,
        stacklevel: int = 1,
    ) -> None:
        """Writes a record of severity WARN (13). See `error`."""
        if self._enabled_for(_WARN):
            self._write(_WARN, ctx, message, metadata, exception, stacklevel)

    def error(
        self,
        ctx: Context | None,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        exception: BaseException | bool | None = None,
        stacklevel: int = 1,
    ) -> None:
        """Writes a record of severity ERROR (17).

        Args:
            ctx: whose trace the record belongs to; None is the current context.
            message: the record's body.
            metadata: anything by name: see `ares_otel.sdk.values` for what becomes of it, and its bounds.
            exception: adds `exception.type`, `exception.message` and `exception.stacktrace`; True is the exception that
                is being handled.
            stacklevel: 1 is the caller, 2 the caller's caller, as in `logging`: for functions around the logger.
        """
        if self._enabled_for(_ERROR):
            self._write(_ERROR, ctx, message, metadata, exception, stacklevel)

    def _write(
        self,
        level: int,
        ctx: Context | None,
        message: str,
        metadata: Mapping[str, Any] | None,
        exception: BaseException | bool | None,
        stacklevel: int,
    ) -> None:
        try:
            now = time_ns()
            otel = self._current()
            context = self._context(ctx, _SEVERITIES[level][1].lower())
            number, text = _SEVERITIES[level]
            if not otel.enabled(context=context, severity_number=number):
                self._unheard()
                return
            given, ours = Converter(), Converter()  # what the metadata needs is not taken from the message
            attributes = given.attributes(metadata)
            body = ours.value(message)
            # Last, because an SDK with too many attributes leaves out the first. What the caller says wins.
            for key, value in caller(stacklevel + 2).items():
                attributes.setdefault(key, value)
            if exception is not None and exception is not False:
                for key, about in _exception(exception, ours).items():
                    attributes.setdefault(key, about)
            if cut := given.cut + ours.cut:
                attributes[METADATA_CUT] = cut
            otel.emit(
                timestamp=now,
                context=context,
                severity_number=number,
                severity_text=text,
                body=body,
                attributes=attributes,
            )
        except Exception as error:
            self._failed("write a record", error)

    def _current(self) -> OtelLogger:
        """The provider's logger; the global provider may be another one than at the last call."""
        provider = self._given or get_logger_provider()
        otel = self._otel
        if otel is None or self._provider is not provider:
            otel = provider.get_logger(self.name)
            self._otel, self._provider = otel, provider
        return otel

    def _context(self, ctx: Context | None, call: str) -> Context:
        try:
            return context_of(ctx)
        except TypeError as error:
            sentence = "The first argument of %s of logger %r %s; the current context is taken."
            _once.say((self.name, "context"), sentence, call, self.name, error)
            return context_of(None)

    def _nobody_configured(self) -> bool:
        """Whether the level is that of a root logger that is as Python made it: then INFO is wanted too."""
        root = logging.root
        if root.level != _WARN or root.handlers or self._standard.disabled or root.manager.disable >= _INFO:
            return False
        standard: logging.Logger | None = self._standard
        while standard is not None and not standard.level:
            standard = standard.parent
        return standard is root

    def _unheard(self) -> None:
        if "Proxy" in type(self._provider).__name__:  # what the API gives until there is one
            _once.say(
                "no provider",
                "Logger %r was called and OpenTelemetry is not set up: its records go nowhere until "
                "ares_otel.configure() was called, or a LoggerProvider was set.",
                self.name,
            )

    def _failed(self, what: str, error: Exception) -> None:
        with contextlib.suppress(Exception):
            _once.say(
                (self.name, what),
                "Logger %r could not %s: %s: %s",
                self.name,
                what,
                type_name(error),
                Converter().text(str(error)),
            )


def get_logger(name: str) -> Logger:
    """The logger of this name over the global providers: the same object each time."""
    logger = _loggers.get(name)
    return logger if logger is not None else _loggers.setdefault(name, Logger(name))


_loggers: dict[str, Logger] = {}


def _exception(exception: BaseException | bool, converter: Converter) -> dict[str, AnyValue]:
    """https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/"""
    one = exception if isinstance(exception, BaseException) else sys.exc_info()[1]
    if one is None:
        return {}
    try:
        message = converter.text(str(one))
    except Exception:
        message = "<exception whose message cannot be shown>"
    try:
        lines = traceback.format_exception(one)
    except Exception:
        lines = [*traceback.format_tb(one.__traceback__), type_name(one)]
    return {
        "exception.type": type_name(one),
        "exception.message": message,
        # The end of a stack trace says more than its beginning.
        "exception.stacktrace": converter.text("".join(lines), keep_end=True),
    }
