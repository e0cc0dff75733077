"""A running application obeys the settings of its service: levels of logs, sampling, the interval of metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler

from ares_otel.sdk.background import Background
from ares_otel.sdk.remote import keys, stamps
from ares_otel.sdk.remote.adaptive import Adaptation
from ares_otel.sdk.remote.levels import Levels
from ares_otel.sdk.remote.reader import FlexibleMetricReader
from ares_otel.sdk.remote.sampler import RemoteSampler
from ares_otel.sdk.remote.settings import Settings

if TYPE_CHECKING:
    from ares_otel.control.config_manager import ConfigManager
    from ares_otel.sdk.remote.watch import WatchedSettings

log = logging.getLogger("ares_otel.sdk.remote")


class RemoteControl:
    """Follows the settings of one service, from Ares's API or from the database, on a thread of its own.

    Making one does no I/O; `start` begins. Whether Ares answers or not, the application runs, and what is in force
    stays. A process that was forked follows by itself.
    """

    def __init__(self, service_name: str, *, api_url: str | None = None, database_url: str | None = None) -> None:
        """
        Args:
            service_name: whose settings; as `service.name` in its telemetry.
            api_url: Ares's HTTP door, such as `http://127.0.0.1:8080`; or
            database_url: its database.

        Raises:
            ValueError: not exactly one of the two is given, or `api_url` is no http or https URL.
        """
        if (api_url is None) == (database_url is None):
            raise ValueError("Settings come either from Ares's API or from its database: give api_url or database_url.")
        self._service_name = service_name
        self._api_url = api_url
        self._database_url = database_url
        self._view = self._make_view()
        self.settings = Settings(self._view)
        """What the application may read, and hear of."""
        self._levels = Levels()
        self._samplers: list[RemoteSampler] = []
        self._readers: list[FlexibleMetricReader] = []
        self._adaptation = Adaptation(service_name, self._apply_sampling, api_url=api_url, database_url=database_url)
        for apply in (self._apply_levels, self._follow_probabilities, self._apply_sampling, self._apply_interval):
            self._view.on_taken(apply)
        self._started = False
        self._background = Background("ares-otel settings", self._forked)

    def sampler(self, base: Sampler) -> Sampler:
        """A sampler that is `base` while nothing of `sampling.*` is set that decides about traces."""
        sampler = RemoteSampler(base)
        self._samplers.append(sampler)
        self._apply_sampling()
        self._background.call_soon(self._follow_probabilities)
        return sampler

    def span_processor(self) -> SpanProcessor:
        """Puts `ares.config.revision` on spans. To be added before those that export."""
        return stamps.SpanStamp(self._revision)

    def log_record_processor(self) -> LogRecordProcessor:
        """Puts `ares.config.revision` on log records. To be added before those that export."""
        return stamps.LogStamp(self._revision)

    def metric_reader(
        self, exporter: MetricExporter, interval_millis: float | None = None, timeout_millis: float | None = None
    ) -> MetricReader:
        """A reader that exports periodically, at `metrics.interval` where that is set.

        Args:
            interval_millis: where it is not; None for `OTEL_METRIC_EXPORT_INTERVAL`.
            timeout_millis: of an export; None for `OTEL_METRIC_EXPORT_TIMEOUT`.
        """
        reader = FlexibleMetricReader(exporter, interval_millis, timeout_millis)
        self._readers.append(reader)
        self._apply_interval()
        return reader

    def observe(self, meter_provider: MeterProvider) -> None:
        """Makes the gauge `ares.config.revision`."""
        stamps.observe(meter_provider, self._revision)

    def start(self) -> None:
        """Follows the settings from now on. Does not wait; safe twice."""
        if not self._started:
            self._started = True
            self._background.submit(self._view.start)

    def stop(self, timeout_seconds: float) -> bool:
        """Ends; True when that took at most so many seconds. What is in force stays. Safe twice and without `start`."""
        started, self._started = self._started, False
        ended = self._background.stop(timeout_seconds)
        if started:
            self._replace_view()  # for another start
        return ended

    def _make_view(self) -> WatchedSettings | ConfigManager:
        if self._api_url is not None:
            from ares_otel.sdk.remote.watch import WatchedSettings

            return WatchedSettings(self._service_name, self._api_url, check=keys.problem_of)
        from ares_otel.control.config_manager import ConfigManager
        from ares_otel.control.crypto import KeyMissing, Keyring

        class Closed(Keyring):
            """Opens nothing: secrets in the configuration service are Ares's to keep."""

            def decrypt(self, service: str, key: str, envelope: Any) -> Any:
                raise KeyMissing(keys.SECRET)

        assert self._database_url is not None
        return ConfigManager(
            self._database_url,
            services=[self._service_name],
            keyring=Closed(),
            check=keys.problem_of,
            connect_options={"statement_cache_size": 0},  # there may be a pooler between
            starts_silently=False,
            logger=log,
        )

    def _replace_view(self) -> None:
        self._adaptation.forget_loop()
        view = self._make_view()
        view.inherit(self._view)
        self._view = view
        self.settings._follow(view)

    def _forked(self) -> None:
        if self._started:
            self._replace_view()
            self._background.submit(self._view.start)

    def _revision(self) -> int:
        return self._view.newest_change

    def _apply_levels(self) -> None:
        view = self._view
        wanted = {}
        for key in view.keys():  # noqa: SIM118 - not a dictionary
            if key == keys.LEVEL or key.startswith(keys.LEVEL_OF):
                wanted[key.removeprefix(keys.LEVEL).removeprefix(".")] = keys.LEVELS[view.get_string(key, "")]
        self._levels.apply(wanted)

    def _apply_sampling(self) -> None:
        view = self._view
        ratio, limit = view.get_json(keys.RATIO), view.get_json(keys.MAX_RATE)
        rules = view.get_json(keys.RULES)
        adaptive = None if view.get_json(keys.TARGET) is None else self._adaptation.probabilities
        for sampler in self._samplers:
            sampler.apply(
                None if ratio is None else float(ratio),
                rules,
                limit=None if limit is None else int(limit),
                adaptive=adaptive,
            )

    def _follow_probabilities(self) -> None:
        self._adaptation.follow(bool(self._samplers) and self._view.get_json(keys.TARGET) is not None)

    def _apply_interval(self) -> None:
        seconds = self._view.get_json(keys.INTERVAL)
        for reader in self._readers:
            reader.apply(None if seconds is None else float(seconds))
