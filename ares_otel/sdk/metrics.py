"""Counters, gauges, histograms and timers by name: thin over OpenTelemetry's metrics API."""

from __future__ import annotations

import contextlib
import logging
import numbers
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Meter, MeterProvider, get_meter_provider

from ares_otel.sdk.once import Once
from ares_otel.sdk.timer import Timer
from ares_otel.sdk.trace_context import context_of
from ares_otel.sdk.values import MAX_LABELS, labels_of, type_name

MAX_INSTRUMENTS = 1_000
"""Names that one collector takes."""
REFUSED = "ares.measurements.refused"
"""Counter of measurements that were not recorded, by `reason`. It appears with the first of them."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds of a timer's histogram, as the semantic conventions have them for durations."""

_COUNTER, _GAUGE, _HISTOGRAM = "counter", "gauge", "histogram"
_NAME = re.compile(
    r"[A-Za-z][-_./A-Za-z0-9]{0,254}"
)  # opentelemetry.io/docs/specs/otel/metrics/api/#instrument-name-syntax
_EXACT = 1 << 53
_INT64 = 1 << 63

_once = Once(logging.getLogger(__name__))


class MetricsCollector:
    """Records measurements by the name of the metric; the instrument is made at the first of them.

    What is recorded goes to the meter of this name of the OpenTelemetry provider. A name keeps its kind and its unit. A
    measurement that OpenTelemetry does not take (another kind or unit than before, a negative number for a counter or a
    histogram, NaN, a name with other letters) is left out: said once, on the standard logger `ares_otel.sdk.metrics`,
    and counted in `ares.measurements.refused` by reason. No call raises or waits for an export. Usable from any thread
    and from coroutines.
    """

    def __init__(self, service: str, *, meter_provider: MeterProvider | None = None) -> None:
        """
        Args:
            service: name of the meter: the instrumentation scope of the points. The service that the points are of is
                the one that the provider was set up for (`service.name` of its resource).
            meter_provider: takes the points; default the global one at the time of each call.
        """
        self.service = service
        self._given = meter_provider
        self._instruments = _Instruments(None)

    def record_counter(
        self,
        name: str,
        value: float = 1,
        labels: Mapping[str, Any] | None = None,
        *,
        unit: str = "",
        description: str = "",
        ctx: Context | None = None,
    ) -> None:
        """Adds to a counter. See `record_histogram`.

        Args:
            value: ≥ 0.
        """
        self._record(_COUNTER, name, value, labels, unit, description, ctx)

    def record_gauge(
        self,
        name: str,
        value: float,
        labels: Mapping[str, Any] | None = None,
        *,
        unit: str = "",
        description: str = "",
        ctx: Context | None = None,
    ) -> None:
        """Sets a gauge: the last value before an export is exported. See `record_histogram`."""
        self._record(_GAUGE, name, value, labels, unit, description, ctx)

    def record_histogram(
        self,
        name: str,
        value: float,
        labels: Mapping[str, Any] | None = None,
        *,
        unit: str = "",
        description: str = "",
        ctx: Context | None = None,
    ) -> None:
        """Puts a value into a histogram.

        Args:
            name: a letter, then letters, digits and `-_./`; 255 at most. Capitals make no difference.
            value: ≥ 0.
            labels: what the point's series is identified by; text, bool and numbers stay what they are.
            unit: UCUM, as `ms` or `{request}`; "" is the one that was given first.
            description: the first one stays.
            ctx: whose trace an exemplar refers to; None is the current context.
        """
        self._record(_HISTOGRAM, name, value, labels, unit, description, ctx)

    def start_timer(
        self,
        name: str,
        labels: Mapping[str, Any] | None = None,
        *,
        description: str = "",
        ctx: Context | None = None,
    ) -> Timer:
        """Starts to measure how long something takes, in seconds, into a histogram of unit `s`.

            stop = metrics.start_timer("database.query", {"table": "trades"}); ...; seconds = stop()
            with metrics.start_timer("database.query", {"table": "trades"}): ...

        Exemplars refer to the span in which the timer was started.
        """
        began_in = get_current() if ctx is None else ctx

        def record(seconds: float, labels: Mapping[str, Any] | None) -> None:
            self._record(_HISTOGRAM, name, seconds, labels, "s", description, began_in, SECONDS)

        return Timer(record, labels)

    def _record(
        self,
        kind: str,
        name: str,
        value: float,
        labels: Mapping[str, Any] | None,
        unit: str,
        description: str,
        ctx: Context | None,
        boundaries: tuple[float, ...] | None = None,
    ) -> None:
        try:
            instruments = self._current()
            found = instruments.by_name.get(name) or instruments.make(kind, name, unit, description, boundaries)
            if found.kind != kind or (unit and found.unit != unit):
                is_now, wanted = _described(found.kind, found.unit), _described(kind, unit or found.unit)
                raise _Refused("conflict", f"it is a {is_now} and was to be a {wanted}")
            number = _number(kind, value)
            found.record(number, self._labels(name, labels) if labels else None, self._context(name, ctx))
        except _Refused as refused:
            self._refuse(refused.reason, name, str(refused))
        except Exception as error:
            self._refuse("error", name, _shown(error))

    def _current(self) -> _Instruments:
        """The instruments of the provider; the global provider may be another one than at the last call."""
        provider = self._given or get_meter_provider()
        if self._instruments.provider is not provider:
            self._instruments = _Instruments(provider, provider.get_meter(self.service))
            if "Proxy" in type(provider).__name__:  # what the API gives until there is one
                _once.say(
                    "no provider",
                    "MetricsCollector %r was called and OpenTelemetry is not set up: its measurements go nowhere until "
                    "ares_otel.configure() was called, or a MeterProvider was set.",
                    self.service,
                )
        return self._instruments

    def _context(self, name: str, ctx: Context | None) -> Context:
        try:
            return context_of(ctx)
        except TypeError as error:
            self._say(name, "context", f"ctx {error}; the current context is taken")
            return context_of(None)

    def _labels(self, name: str, labels: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            if len(labels) > MAX_LABELS:
                self._say(name, "labels", f"a measurement has at most {MAX_LABELS} labels; the others are left out")
            return labels_of(labels)
        except Exception as error:
            self._say(name, "labels", f"its labels are left out, they could not be read: {_shown(error)}")
            return {}

    def _refuse(self, reason: str, name: str, why: str) -> None:
        with contextlib.suppress(Exception):
            self._say(name, reason, why)
            meter = self._instruments.meter
            if meter is not None:
                counter = meter.create_counter(
                    REFUSED, "{measurement}", "Measurements that were not recorded, and why."
                )
                counter.add(1, {"reason": reason})

    def _say(self, name: object, reason: str, why: str) -> None:
        about = str(name)[:80]
        what = None if reason == "limit" else about  # names without end are the reason
        _once.say((self.service, what, reason), "Metric %r of MetricsCollector %r: %s.", about, self.service, why)


@dataclass(frozen=True, slots=True)
class _Instrument:
    kind: str
    unit: str
    record: Callable[..., None]
    """The `add`, `set` or `record` of OpenTelemetry's instrument."""


class _Instruments:
    """Those of one provider. Without a lock, which a fork could leave held: what two threads make at once is the same,
    because the meter gives one instrument for one name."""

    def __init__(self, provider: MeterProvider | None, meter: Meter | None = None) -> None:
        self.provider = provider
        self.meter = meter
        self.by_name: dict[str, _Instrument] = {}
        """As the application writes the name."""
        self._claims: dict[str, tuple[str, str, str, Any]] = {}
        """Lower-case name → what it was made with: whoever is first says what the name is."""

    def make(self, kind: str, name: str, unit: str, description: str, boundaries: Any) -> _Instrument:
        """The instrument of this name, made where there is none.

        Raises:
            _Refused: there cannot be one.
        """
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise _Refused("name", "a name is a letter, then letters, digits and -_./, 255 at most")
        if not isinstance(unit, str) or len(unit) > 63 or not unit.isascii():
            raise _Refused("unit", "a unit is ASCII text of at most 63 characters")
        if len(self.by_name) >= MAX_INSTRUMENTS:
            raise _Refused("limit", f"there are {MAX_INSTRUMENTS} metrics already, and this would be one more")
        claim = (kind, unit, str(description), boundaries)
        kind, unit, description, boundaries = self._claims.setdefault(name.lower(), claim)
        meter = self.meter
        assert meter is not None
        if kind == _COUNTER:
            record: Callable[..., None] = meter.create_counter(name, unit, description).add
        elif kind == _GAUGE:
            record = meter.create_gauge(name, unit, description).set
        else:
            record = meter.create_histogram(
                name, unit, description, explicit_bucket_boundaries_advisory=boundaries
            ).record
        return self.by_name.setdefault(name, _Instrument(kind, unit, record))


class _Refused(Exception):
    """A measurement that cannot be recorded: the reason as a word, and as a sentence."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


def _described(kind: str, unit: str) -> str:
    return f"{kind} with unit {unit!r}" if unit else f"{kind} without a unit"


def _number(kind: str, value: Any) -> int | float:
    if type(value) is not int and type(value) is not float:
        if not isinstance(value, numbers.Real | Decimal):
            raise _Refused("value", f"a value is a number, and was a {type(value).__name__}")
        value = int(value) if isinstance(value, numbers.Integral) else float(value)
    if not isfinite(value):
        raise _Refused("value", "a value is a finite number, and was NaN or infinite")
    if value < 0 and kind != _GAUGE:
        raise _Refused("value", f"a {kind} takes no negative number; a gauge does")
    # OTLP has 64 bits for an integer, also for the sum of many; one that does not fit ends the export of all metrics.
    limit = _INT64 if kind == _GAUGE else _EXACT
    return value if -limit <= value < limit else float(value)


def _shown(error: Exception) -> str:
    try:
        return f"{type_name(error)}: {error}"
    except Exception:
        return type_name(error)
