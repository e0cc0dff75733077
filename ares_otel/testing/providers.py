"""The providers that tests record from: the application's own where it has set some, else ours, set once."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry._logs import _internal as logs_globals
from opentelemetry.metrics import _internal as metrics_globals
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import DEFAULT_ON

from ares_otel.testing.recorder import Attached, Recorder

_DISABLED = "OTEL_SDK_DISABLED"
_SETTERS: tuple[tuple[Any, str, Callable[[], Any]], ...] = (
    (trace, "_set_tracer_provider", trace.get_tracer_provider),
    (metrics_globals, "_set_meter_provider", metrics.get_meter_provider),
    (logs_globals, "_set_logger_provider", _logs.get_logger_provider),
)
"""Where a global provider is set, by what function, and how it is asked for."""


class _Tracers(TracerProvider):
    def shutdown(self) -> None:
        """An application that ends its telemetry in one test is tested in the next one too."""
        self.force_flush()


class _Meters(MeterProvider):
    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """As above: a meter provider that was shut down gives no meters any more."""


class _Loggers(LoggerProvider):
    def shutdown(self) -> None:
        """As above."""
        self.force_flush()


class Providers:
    """What records, and what it is attached to."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self._attached = Attached()
        self._meters: weakref.WeakSet[Any] = weakref.WeakSet()
        with _enabled():
            resource = Resource.create()
            # Sampled as by default: a parent that is not sampled is respected, OTEL_TRACES_SAMPLER is not.
            self._own_tracers = _Tracers(sampler=DEFAULT_ON, resource=resource, shutdown_on_exit=False)
            self._own_meters = _Meters(resource=resource, shutdown_on_exit=False)
            self._own_loggers = _Loggers(resource=resource, shutdown_on_exit=False)

    @property
    def own_loggers(self) -> LoggerProvider:
        return self._own_loggers

    @property
    def meters(self) -> list[Any]:
        """Every meter provider that is known."""
        return list(self._meters)

    def install(self) -> None:
        """Sets our providers where there are none and attaches to those that are there. Safe to repeat.

        Raises:
            RuntimeError: the application has set a provider that is not the SDK's.
        """
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._own_tracers)
        if isinstance(metrics.get_meter_provider(), metrics_globals._ProxyMeterProvider):
            metrics.set_meter_provider(self._own_meters)
        if isinstance(_logs.get_logger_provider(), logs_globals.ProxyLoggerProvider):
            _logs.set_logger_provider(self._own_loggers)
        self.attach(trace.get_tracer_provider())
        self.attach(metrics.get_meter_provider())
        self.attach(_logs.get_logger_provider())

    def attach(self, provider: Any) -> None:
        """Records what comes from a tracer, meter or logger provider of the SDK, also one that is not the global one.

        Raises:
            RuntimeError: it is not the SDK's.
        """
        add_spans = getattr(provider, "add_span_processor", None)
        add_logs = getattr(provider, "add_log_record_processor", None)
        if callable(add_spans):
            self._attached.once(provider, partial(add_spans, self.recorder.spans))
        elif callable(add_logs):
            self._attached.once(provider, partial(add_logs, self.recorder.logs))
        elif callable(getattr(provider, "add_metric_reader", None)):
            self._attached.once(provider, partial(self._meters.add, provider))
        else:
            kind = f"{type(provider).__module__}.{type(provider).__qualname__}"
            raise RuntimeError(
                f"The global provider {kind} is not one of opentelemetry-sdk, so nothing can be captured from it; "
                "let the tests run without it, or with the SDK's."
            )

    @contextmanager
    def watched(self, attached: Callable[[Any], None]) -> Iterator[None]:
        """In the block, a provider that the code under test sets is attached to, although the global one stays what it
        is: an application that makes its own providers in a factory may use them without asking for the global one."""
        with ExitStack() as stack:
            for home, name, current in _SETTERS:
                original = getattr(home, name, None)
                if original is not None:
                    stack.callback(setattr, home, name, original)
                    setattr(home, name, _attaching(original, partial(self._is_ours, current), attached))
            yield

    def _is_ours(self, current: Callable[[], Any]) -> bool:
        return current() in (self._own_tracers, self._own_meters, self._own_loggers)


@cache
def the_providers() -> Providers:
    """Those of this process."""
    return Providers()


def _attaching(
    original: Callable[..., None], ours: Callable[[], bool], attached: Callable[[Any], None]
) -> Callable[..., None]:
    def set_provider(provider: Any, log: bool) -> None:
        try:
            attached(provider)
        except RuntimeError:
            original(provider, log=log)  # not the SDK's: OpenTelemetry says what becomes of it
        else:
            original(provider, log=log and not ours())  # that ours stays is no mistake of the application

    return set_provider


@contextmanager
def _enabled() -> Iterator[None]:
    """A test that asks for telemetry gets it, also where the SDK is switched off for all the others."""
    value = os.environ.pop(_DISABLED, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[_DISABLED] = value
