"""What a test sees of the telemetry that the code under test made: the fixture `otel`."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace as trace_api

from ares_otel.testing.attributes import has_all, wanted
from ares_otel.testing.captured_log import LEVELS, CapturedLog, level_named, log_lines
from ares_otel.testing.captured_metric import CapturedMetric
from ares_otel.testing.captured_span import CapturedSpan
from ares_otel.testing.captured_trace import CapturedTrace
from ares_otel.testing.failing import did_you_mean, failure
from ares_otel.testing.meters import Meters
from ares_otel.testing.metric_translation import captured
from ares_otel.testing.one_capture import Capture
from ares_otel.testing.providers import Providers, the_providers
from ares_otel.testing.shown import listed, shown_name, shown_value
from ares_otel.testing.summary import Summary, metric_lines
from ares_otel.testing.waterfall import draw

if TYPE_CHECKING:
    from typing import Self

Name = str | re.Pattern[str]
_SECONDS = 5.0


class Otel:
    """Spans, log records and metrics that were recorded since the test began. Reading is possible at any time and from
    any thread; what is read later may hold more."""

    def __init__(self, providers: Providers, capture: Capture, meters: Meters) -> None:
        self._providers = providers
        self._capture = capture
        self._meters = meters
        self._levels = ExitStack()
        self._summary = Summary(capture, meters, providers.recorder.handler)

    def spans(
        self,
        name: Name | None = None,
        *,
        attributes: Mapping[str, Any] | None = None,
        kind: str | None = None,
        status: str | None = None,
        scope: str | None = None,
        **more: Any,
    ) -> list[CapturedSpan]:
        """The finished spans that are like this, in the order of their start.

        Args:
            name: the exact name, or a pattern of `re.compile` that is searched for in it.
            attributes: attributes that the span has, among others; further keyword arguments are attributes too.
            kind: internal, server, client, producer or consumer.
            status: unset, ok or error.
            scope: what the tracer was got with.
        """
        expected = wanted(attributes, more)
        return [
            span
            for span in map(self._of, self._capture.spans())
            if (name is None or _named(name, span.name))
            and (kind is None or span.kind == kind.lower())
            and (status is None or span.status == status.lower())
            and (scope is None or span.scope == scope)
            and has_all(expected, span.attributes)
        ]

    def span(self, name: Name, **match: Any) -> CapturedSpan:
        """The one finished span that is like this; what can be said is as for `spans`.

        Raises:
            AssertionError: there is none, or there are several.
        """
        __tracebackhide__ = True
        found = self.spans(name, **match)
        if len(found) == 1:
            return found[0]
        raise self._not_one(name, match, found)

    @property
    def unfinished(self) -> list[CapturedSpan]:
        """Spans that were started in this test and have not ended."""
        return [self._of(span) for span in self._capture.open_spans()]

    def trace(self, name: Name | None = None, **match: Any) -> CapturedTrace:
        """The trace that holds the spans that are like this; without arguments the only trace there is.

        Raises:
            AssertionError: there is none, or there are several.
        """
        __tracebackhide__ = True
        found = self.spans(name, **match)
        traces = list(dict.fromkeys(span.trace_id for span in found))
        if len(traces) == 1:
            return CapturedTrace(traces[0], self._capture)
        if not traces and (name is not None or match):
            raise self._not_one(name, match, [])
        raise failure(
            f"there {f'are {len(traces)} traces' if traces else 'is no trace'}, not one", self._summary.everything()
        )

    def wait_for(self, name: Name, timeout: float = _SECONDS, **match: Any) -> CapturedSpan:
        """The first finished span that is like this; waits until another thread has ended it.

        Raises:
            AssertionError: there was none within `timeout` seconds.
        """
        __tracebackhide__ = True
        began = time.monotonic()
        self._capture.wait(lambda: bool(self.spans(name, **match)), timeout)
        return self._arrived(name, match, time.monotonic() - began, blocked=_on_a_loop())

    async def wait_for_async(self, name: Name, timeout: float = _SECONDS, **match: Any) -> CapturedSpan:
        """As `wait_for`, for a test that is a coroutine: tasks of its event loop go on meanwhile."""
        __tracebackhide__ = True
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def listener() -> None:
            with suppress(RuntimeError):  # nobody waits on a loop that is closed
                loop.call_soon_threadsafe(changed.set)

        began = loop.time()
        self._capture.listen(listener)
        try:
            async with asyncio.timeout(timeout):
                while not self.spans(name, **match):
                    changed.clear()
                    if not self.spans(name, **match):
                        await changed.wait()
        except TimeoutError:
            pass
        finally:
            self._capture.unlisten(listener)
        return self._arrived(name, match, loop.time() - began, blocked=False)

    def logs(
        self,
        level: str | None = None,
        *,
        at_least: str | None = None,
        contains: str | None = None,
        in_span: CapturedSpan | str | None = None,
        logger: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> list[CapturedLog]:
        """The log records that are like this, of `logging` and of OpenTelemetry's Logs API, as they were written.

        Args:
            level: DEBUG, INFO, WARN or ERROR, which FATAL is too.
            at_least: that level or a higher one.
            contains: a text in the message.
            in_span: the span that it was written in, or its name.
            logger: name of the logger, or of one above it.
            attributes: attributes that it has, among others; further keyword arguments are attributes too.
        """
        expected = wanted(attributes, more)
        lowest = LEVELS.index(level_named(at_least)) if at_least is not None else 0
        keys = None if in_span is None else self._keys(in_span)
        return [
            log
            for log in (CapturedLog(entry, self._capture) for entry in self._capture.logs())
            if (level is None or log.level == level_named(level))
            and LEVELS.index(log.level) >= lowest
            and (contains is None or contains in log.message)
            and (keys is None or (log.trace_id, log.span_id) in keys)
            and (logger is None or log.logger == logger or log.logger.startswith(logger + "."))
            and has_all(expected, log.attributes)
        ]

    def log(self, message: str, **match: Any) -> CapturedLog:
        """The one log record with this message, or else the one whose message contains it; what else can be said is as
        for `logs`.

        Raises:
            AssertionError: there is none, or there are several.
        """
        __tracebackhide__ = True
        containing = self.logs(contains=message, **match)
        found = [log for log in containing if log.message == message] or containing
        if len(found) == 1:
            return found[0]
        like = f" like {shown_value(match)}" if match else ""
        if found:
            raise failure(f"{len(found)} log records{like} say '{shown_name(message)}', not one", log_lines(found))
        every = self.logs()
        hint = did_you_mean(message, (log.message for log in every)) if not match else ""
        raise failure(
            f"no log record{like} says '{shown_name(message)}'{hint}",
            log_lines(every) or ["no log records"],
            self._summary.log_notes(),
        )

    def set_level(self, level: str | int, logger: str | None = None) -> None:
        """Lets a logger (without a name: the root) write from this level on, until the test ends."""
        target = logging.getLogger(logger)
        before = target.level
        target.setLevel(level.upper() if isinstance(level, str) else level)
        self._levels.callback(target.setLevel, before)

    def metrics(self, name: str | None = None, *, scope: str | None = None) -> list[CapturedMetric]:
        """What was recorded in this test and no other, all or one name. `scope`: what the meter was got with."""
        return captured(self._meters, name, scope)

    def metric(self, name: str, *, scope: str | None = None) -> CapturedMetric:
        """The metric of this name.

        Raises:
            AssertionError: nothing was recorded under that name in this test.
        """
        __tracebackhide__ = True
        found = self.metrics(name, scope=scope)
        if len(found) == 1:
            return found[0]
        if found:
            raise failure(
                f"{len(found)} metrics are named '{shown_name(name)}', of different kinds or units; "
                "take one of metrics(name), or name the scope",
                [line for metric in found for line in metric.table()],
            )
        every = self.metrics()
        raise failure(
            f"nothing was recorded for a metric '{shown_name(name)}'{did_you_mean(name, (one.name for one in every))}",
            metric_lines(every) or ["no metrics"],
            ["The application has shut its meter provider down: meters got after that record nothing."]
            * self._meters.ended,
        )

    def no_errors(self) -> Self:
        """Asserts that no span has the status error and no log record the level ERROR."""
        __tracebackhide__ = True
        spans = [span for span in (*self.spans(status="error"), *self.unfinished) if span.status == "error"]
        logs = self.logs(level="ERROR")
        if spans or logs:
            said = [f"{len(spans)} span{'s' * (len(spans) > 1)} failed"] if spans else []
            said += [f"{len(logs)} log record{'s' * (len(logs) > 1)} with the level ERROR"] if logs else []
            traces = {span.trace_id for span in spans}
            picture = draw(
                [span.raw for span in self._everything() if span.trace_id in traces],
                {span.key: "failed" for span in spans},
            )
            raise failure(" and ".join(said), picture, log_lines(logs))
        return self

    def all_ended(self) -> Self:
        """Asserts that every span that was started in this test has ended."""
        __tracebackhide__ = True
        left = self.unfinished
        if left:
            raise failure(
                f"{listed([span.name for span in left])} never ended",
                self._summary.spans(left, "never ended"),
            )
        return self

    def clear(self) -> None:
        """Forgets what was recorded so far. A span that is open is seen when it ends."""
        self._capture.clear()
        self._meters.clear()

    def attach(self, provider: Any) -> None:
        """Records from a provider of the SDK that is not the global one, such as one that is handed to the code.

        Raises:
            RuntimeError: it is none of the SDK's three kinds.
        """
        self._providers.attach(provider)
        self._follow()

    def tree(self) -> str:
        """Everything as text: the traces, the log records, the metrics."""
        return "\n".join(self._summary.everything())

    def print(self) -> None:
        """Writes `tree()` to standard output, which pytest shows with -s or when the test fails."""
        sys.stdout.write(self.tree() + "\n")

    def __repr__(self) -> str:
        spans, open_ones = len(self._capture.spans()), len(self._capture.open_spans())
        not_ended = f", {open_ones} not ended" if open_ones else ""
        return f"<otel: {spans} spans{not_ended}, {len(self._capture.logs())} log records>"

    @contextmanager
    def _recording(self) -> Iterator[None]:
        recorder = self._providers.recorder
        root = logging.getLogger()
        with ExitStack() as stack:
            stack.callback(self._meters.stop)
            self._follow()
            stack.callback(self._levels.close)
            if recorder.is_past(trace_api.get_current_span().get_span_context()):
                # An earlier test left its span behind as the current one.
                token = otel_context.attach(trace_api.set_span_in_context(trace_api.INVALID_SPAN))
                stack.callback(otel_context.detach, token)
            stack.enter_context(self._providers.watched(self.attach))
            if recorder.handler not in root.handlers:
                root.addHandler(recorder.handler)
                stack.callback(root.removeHandler, recorder.handler)
            recorder.begin(self._capture)
            stack.callback(recorder.end, self._capture)
            yield

    def _follow(self) -> None:
        for provider in self._providers.meters:
            self._meters.follow(provider)

    def _of(self, raw: Any) -> CapturedSpan:
        return CapturedSpan(raw, self._capture)

    def _everything(self) -> list[CapturedSpan]:
        return [self._of(raw) for raw in (*self._capture.spans(), *self._capture.open_spans())]

    def _keys(self, span: CapturedSpan | str) -> set[tuple[str | None, str | None]]:
        spans = [span] if isinstance(span, CapturedSpan) else [one for one in self._everything() if one.name == span]
        return {(one.trace_id, one.span_id) for one in spans}

    def _arrived(self, name: Name, match: Mapping[str, Any], waited: float, *, blocked: bool) -> CapturedSpan:
        __tracebackhide__ = True
        found = self.spans(name, **match)
        if found:
            return found[0]
        note = []
        if blocked:
            note = ["The event loop of this thread stood still meanwhile; use `await otel.wait_for_async(…)`."]
        raise failure(
            f"no {_described(name, match)} within {waited:.1f} s{self._hint(name)}", note, self._summary.everything()
        )

    def _not_one(self, name: Name | None, match: Mapping[str, Any], found: list[CapturedSpan]) -> AssertionError:
        what = _described(name, match)
        if found:
            return failure(
                f"{len(found)} spans are like that, not one: {what}", self._summary.spans(found, "like that")
            )
        still_open = [span for span in self.unfinished if name is None or _named(name, span.name)]
        if still_open:
            picture = self._summary.spans(still_open, "started, never ended")
            return failure(f"no finished {what}: it was started and never ended", picture)
        named = self.spans(name) if match else []
        if named:
            closest = [repr(span) for span in named[:5]]
            return failure(
                f"no {what}; {len(named)} with that name", closest, self._summary.spans(named, "has the name")
            )
        return failure(f"no {what}{self._hint(name)}", self._summary.everything())

    def _hint(self, name: Name | None) -> str:
        return did_you_mean(name, (span.name for span in self._everything()))


def _described(name: Name | None, match: Mapping[str, Any]) -> str:
    text = "span" if name is None else f"span named '{shown_name(name if isinstance(name, str) else name.pattern)}'"
    return f"{text} with {shown_value(dict(match))}" if match else text


def _named(name: Name, there: str) -> bool:
    return name == there if isinstance(name, str) else bool(name.search(there))


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def capture() -> Iterator[Otel]:
    """What the fixture `otel` does, for other scopes and other test frameworks: records in the block.

    Raises:
        RuntimeError: the application has set a provider that is not the SDK's.
    """
    providers = the_providers()
    providers.install()
    otel = Otel(providers, Capture(), Meters())
    with otel._recording():
        yield otel
