"""What `configure()` gives: the providers of the process, and how they end."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from ares_otel.sdk import handler as handlers
from ares_otel.sdk import resource as resources
from ares_otel.sdk import upkeep
from ares_otel.sdk.lifecycle import Closer, Lifecycle
from ares_otel.sdk.options import Options
from ares_otel.sdk.providers import Providers
from ares_otel.sdk.remote.settings import NobodysSettings, Settings

if TYPE_CHECKING:
    from ares_otel.sdk.control import Control

LOG = logging.getLogger(__name__)

EXIT_TIMEOUT = "ARES_OTEL_EXIT_TIMEOUT"
EXIT_SECONDS = 5.0
"""How long the end of a process waits for telemetry; half of what `docker stop` grants."""

FORK_SECONDS = 1.0
"""How long a fork waits for exports that are under way."""


class Telemetry:
    """The providers of this process. Everything is reached through OpenTelemetry's own API as well."""

    def __init__(self, options: Options, providers: Providers, control: Control | None, *, adopted: bool) -> None:
        """
        Args:
            options: what it was asked for.
            providers: those of the process.
            control: settings and registry, not started yet; None: neither.
            adopted: whether somebody else has set the providers, and ends them at exit.
        """
        self.options = options
        self.tracer_provider: TracerProvider = providers.traces
        self.meter_provider: MeterProvider = providers.metrics
        self.logger_provider: LoggerProvider = providers.logs
        followed = control.settings if control is not None else None
        self.settings: Settings = followed if followed is not None else NobodysSettings()
        """The settings of this service in Ares's configuration service; where they are not followed, getters give
        their defaults."""
        self._control = control
        self._providers = providers
        self._flushes = (
            _Flush(self.tracer_provider.force_flush),
            _Flush(self.logger_provider.force_flush),
            _Flush(self.meter_provider.force_flush),
        )
        self._exit_seconds = _exit_seconds()
        handlers.set_level(options.log_level)
        self._attached = handlers.Attached(providers.logs) if not providers.silent and handlers.wanted() else None
        self._closer = Closer(self._close)
        self._forks = _Forks(providers, self._closer)
        self._lifecycle = Lifecycle(self._end, self._forks, at_exit=not adopted)
        if control is not None:
            control.start()

    @property
    def resource(self) -> Resource:
        """Who this process is. A fork has another instance id."""
        return self.tracer_provider.resource

    @property
    def ended(self) -> bool:
        """Whether it was shut down."""
        return self._closer.asked

    def force_flush(self, timeout_seconds: float = 10.0) -> bool:
        """Sends what was recorded so far; True when the exporters were through with it in time. What a receiver refused
        the exporters have logged: the SDK's processors do not hand on what became of an export."""
        deadline = time.monotonic() + timeout_seconds
        millis = max(1, int(timeout_seconds * 1000))
        begun = [flush.begin(millis) for flush in self._flushes]
        done = [flush.wait(one, deadline, millis) for flush, one in zip(self._flushes, begun, strict=True)]
        return all(done)

    def shutdown(self, timeout_seconds: float = 10.0) -> bool:
        """Sends what was recorded and ends telemetry; True when that was done in time. Leaves `logging` and the
        handling of signals as they were. Safe twice."""
        done = self._closer.run(timeout_seconds)
        self.let_go()
        return done

    def let_go(self) -> None:
        """Leaves `logging`, signals and exit as they were. What is under way is not sent; safe twice."""
        self._lifecycle.stop()
        if self._attached is not None:
            self._attached.detach()

    def _end(self) -> None:
        self._closer.run(self._exit_seconds)

    def _close(self, deadline: float) -> bool:
        return upkeep.end(self._providers, deadline, self._stop_control)

    def _stop_control(self, seconds: float) -> bool:
        return self._control is None or self._control.stop(seconds)


class _Forks:
    """What a fork changes."""

    def __init__(self, providers: Providers, closer: Closer) -> None:
        self._providers = providers
        self._closer = closer
        self._held: list[threading.Lock] = []

    def before_fork(self) -> None:
        """Holds exports back for the moment."""
        self._held += upkeep.quiet(self._providers, FORK_SECONDS)  # another thread may be forking, too

    def after_fork_in_parent(self) -> None:
        """Lets them go on."""
        while self._held:
            self._held.pop().release()

    def after_fork_in_child(self) -> None:
        """Makes everything the child's own; the locks have been replaced."""
        self._held = []
        upkeep.forked(self._providers, resources.of_the_fork())
        self._closer.forked()


class _Flush:
    """Flushes one provider on a thread of its own: the SDK's processors do not look at their time-outs
    (https://github.com/open-telemetry/opentelemetry-python/issues/4555). One that was not done in time goes on, and
    none is begun beside it: who flushes after each request has one thread, also while a receiver hangs."""

    def __init__(self, flush: Callable[[int], object]) -> None:
        self._flush = flush
        self._last: _Attempt | None = None

    def begin(self, millis: int) -> _Attempt | None:
        """Does not wait; None while an earlier one is at it, and where no thread can be started any more: at exit,
        when all is sent anyway."""
        if self._last is not None and self._last.is_alive():
            return None
        attempt = _Attempt(self._flush, millis)
        with contextlib.suppress(RuntimeError):
            attempt.start()
            self._last = attempt
            return attempt
        return None

    def wait(self, attempt: _Attempt | None, deadline: float, millis: int) -> bool:
        """Whether it was done by the deadline. After an earlier one it begins now: that may have missed something."""
        if attempt is None and self._last is not None:
            self._last.join(max(0.0, deadline - time.monotonic()))
            attempt = self.begin(millis)
        if attempt is None:
            return False
        attempt.join(max(0.0, deadline - time.monotonic()))
        return not attempt.is_alive() and attempt.done


class _Attempt(threading.Thread):
    def __init__(self, flush: Callable[[int], object], millis: int) -> None:
        super().__init__(name="ares-otel-flush", daemon=True)
        self._flush = flush
        self._millis = millis
        self.done = False

    def run(self) -> None:
        try:
            self.done = self._flush(self._millis) is not False
        except Exception as error:
            LOG.warning("telemetry could not be flushed: %s", error)


def _exit_seconds() -> float:
    said = os.environ.get(EXIT_TIMEOUT, "").strip()
    try:
        seconds = float(said or EXIT_SECONDS)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        LOG.warning("%s=%s is no number of seconds; %g is used", EXIT_TIMEOUT, said, EXIT_SECONDS)
        return EXIT_SECONDS
    return seconds
