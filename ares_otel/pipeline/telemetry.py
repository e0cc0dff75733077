"""Ares's own metrics: every one is declared in the table below, under the Collector's name where it has one.

The docs page `docs/metrics.md` is checked against this table. Labels never hold values that a sender chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import SIGNALS, Signal


@dataclass(frozen=True, slots=True)
class Instrument:
    """One own metric: name without suffix, kind, help text, labels."""

    name: str
    kind: type[Counter] | type[Gauge] | type[Histogram]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    over_workers: Literal["sum", "largest"] = "sum"
    """What is shown when several processes have the figure."""

    @property
    def is_gauge(self) -> bool:
        """Whether it says how something is now, not what has happened since the start."""
        return self.kind is Gauge


_RECEIVER = ("receiver", "transport")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def _per_signal() -> list[Instrument]:
    """The Collector counts each signal under a name of its own."""
    table: list[Instrument] = []
    for signal in SIGNALS.values():
        items = signal.items
        text = items.replace("_", " ")
        table += [
            Instrument(
                f"otelcol_receiver_accepted_{items}",
                Counter,
                f"Number of {text} successfully pushed into the pipeline",
                _RECEIVER,
            ),
            Instrument(
                f"otelcol_receiver_refused_{items}",
                Counter,
                f"Number of {text} that could not be pushed into the pipeline and may be sent again",
                _RECEIVER,
            ),
            Instrument(
                f"ares_otel_receiver_rejected_{items}",
                Counter,
                f"Number of invalid {text} that the sender was told not to send again",
                _RECEIVER,
            ),
            Instrument(
                f"ares_otel_processor_dropped_{items}",
                Counter,
                f"Number of {text} that the configuration does not keep",
                ("processor",),
            ),
            Instrument(
                f"otelcol_exporter_sent_{items}",
                Counter,
                f"Number of {text} successfully sent to the destination; for postgres: committed",
                ("exporter",),
            ),
            Instrument(
                f"otelcol_exporter_send_failed_{items}",
                Counter,
                f"Number of {text} in failed attempts to send to the destination",
                ("exporter",),
            ),
            Instrument(
                f"otelcol_exporter_enqueue_failed_{items}",
                Counter,
                f"Number of {text} dropped because the sending queue of a tee exporter was full",
                ("exporter",),
            ),
        ]
    return table


_SPOOL = (
    Instrument("ares_otel_spool_bytes", Gauge, "Bytes of the spool's segments on disk"),
    Instrument("ares_otel_spool_limit_bytes", Gauge, "Bytes that the spool may take; then requests are refused"),
    Instrument("ares_otel_spool_waiting_items", Gauge, "Items that wait in the spool for the database", ("signal",)),
    Instrument("ares_otel_spool_waiting_requests", Gauge, "Requests that wait in the spool", ("signal",)),
    Instrument(
        "ares_otel_spool_oldest_seconds",
        Gauge,
        "Age of the oldest request in the spool; 0 when it is empty",
        over_workers="largest",
    ),
    Instrument("ares_otel_spool_sync_seconds", Histogram, "Time to write and sync a group of requests", (), _SECONDS),
    Instrument("ares_otel_spool_refused", Counter, "Requests that the spool refused: `full` or `disk`", ("reason",)),
    Instrument("ares_otel_spool_quarantined_segments", Counter, "Damaged or missing segments of the spool"),
    Instrument(
        "ares_otel_spool_torn_bytes",
        Counter,
        "Bytes cut from the end of a segment: of requests that were never acknowledged",
    ),
    Instrument(
        "ares_otel_spool_items",
        Counter,
        "Items that came in, `spooled` or `found` at the start, and what became of them: `stored`, `deduplicated`, "
        "`rejected` by the database, or `lost` to a damaged disk",
        ("signal", "outcome"),
    ),
)

INSTRUMENTS: dict[str, Instrument] = {
    instrument.name: instrument
    for instrument in [
        *_per_signal(),
        Instrument(
            "ares_otel_receiver_refused_requests",
            Counter,
            "Requests answered with an error before their items could be counted",
            (*_RECEIVER, "signal", "reason"),
        ),
        Instrument(
            "ares_otel_remote_write_exemplars",
            Counter,
            "Exemplars of remote write that were stored, or left out: invalid ones, and those without a sample",
            ("receiver", "outcome"),
        ),
        Instrument(
            "ares_otel_remote_read_requests",
            Counter,
            "Remote reads: `answered`, `refused` as wrong, `too_many` series or samples, `unavailable` database or no "
            "turn in time, `left` by their reader, `failed`",
            ("outcome",),
        ),
        Instrument("ares_otel_remote_read_series", Counter, "Series in answers to remote reads"),
        Instrument("ares_otel_remote_read_samples", Counter, "Samples in answers to remote reads"),
        Instrument(
            "ares_otel_remote_read_seconds", Histogram, "Time until the samples are read, turns included", (), _SECONDS
        ),
        Instrument(
            "ares_otel_connector_items",
            Counter,
            "Items that connectors got: `taken`, `repeated` by the sender, or `failed` to look into",
            ("connector", "signal", "outcome"),
        ),
        Instrument(
            "ares_otel_connector_edges",
            Counter,
            "Requests between services that a connector saw: `complete`, `expired` without their other side, or "
            "`dropped` because too many waited for theirs",
            ("connector", "outcome"),
        ),
        Instrument(
            "ares_otel_scrapes",
            Counter,
            "Scrapes of targets: `ok`, `failed` (then `up` is 0), or `skipped` for lack of memory here; and native "
            "histograms that could not be stored: `wrong_histogram`",
            ("receiver", "outcome"),
        ),
        Instrument("ares_otel_scrape_targets", Gauge, "Targets that are scraped", ("receiver",)),
        Instrument("ares_otel_admission_used_bytes", Gauge, "Bytes of requests that are in memory now"),
        Instrument("ares_otel_admission_limit_bytes", Gauge, "Bytes of requests that may be in memory at once"),
        Instrument("otelcol_exporter_queue_size", Gauge, "Batches waiting in a tee exporter's queue", ("exporter",)),
        Instrument("otelcol_exporter_queue_capacity", Gauge, "Batches the queue can hold", ("exporter",)),
        Instrument("ares_otel_writer_queue_batches", Gauge, "Batches that wait for a writer connection"),
        Instrument("ares_otel_writer_queue_bytes", Gauge, "Row bytes that wait for a writer connection"),
        Instrument("ares_otel_writer_commits", Counter, "Committed transactions of the writer"),
        Instrument("ares_otel_writer_failures", Counter, "Failed transactions of the writer", ("sqlstate_class",)),
        Instrument("ares_otel_writer_rows", Counter, "Committed rows", ("table",)),
        Instrument("ares_otel_writer_commit_seconds", Histogram, "Time of a transaction", (), _SECONDS),
        Instrument(
            "ares_otel_ingest_rejected_items",
            Counter,
            "Items that the database refused for what they hold, put into ingest_rejected",
            ("signal",),
        ),
        Instrument(
            "ares_otel_account_items",
            Counter,
            "What became of every item: received = stored + deduplicated + rejected + refused + dropped + spooled",
            ("signal", *_RECEIVER, "outcome"),
        ),
        *_SPOOL,
        Instrument(
            "ares_otel_encoder_info",
            Gauge,
            "1 for the row encoder in use",
            ("implementation",),
            over_workers="largest",
        ),
        Instrument(
            "ares_otel_encoder_fallbacks",
            Counter,
            "Requests in an unusual form that the native row encoder left to the one in Python",
            ("reason",),
        ),
        Instrument("ares_otel_replaced_characters", Counter, "NUL characters stored as U+FFFD", ("field",)),
        Instrument("ares_otel_pool_connections", Gauge, "Database connections", ("pool", "state")),
        Instrument(
            "ares_otel_config_age_seconds",
            Gauge,
            "Seconds since the settings in force were last seen in the database",
            over_workers="largest",
        ),
        Instrument("ares_otel_workers", Gauge, "Ingest processes of --workers: `wanted`, `ready`", ("state",)),
        Instrument("ares_otel_worker_restarts", Counter, "Ingest processes that ended and were started again"),
        Instrument("ares_otel_health_checks", Counter, "Health checks of registered services", ("outcome",)),
        Instrument("ares_otel_health_checks_running", Gauge, "Health checks under way"),
        Instrument("ares_otel_partition_errors", Counter, "Failed runs of the partition job"),
        Instrument("ares_otel_partitions", Gauge, "Partitions", ("table", "state")),
        Instrument("ares_otel_partition_bytes", Gauge, "Bytes of the partitions on disk, with indexes", ("table",)),
        Instrument("ares_otel_partition_rows", Gauge, "Rows of the partitions, as the server last counted", ("table",)),
        Instrument("ares_otel_partition_oldest_seconds", Gauge, "Age of the oldest partition's beginning", ("table",)),
        Instrument(
            "ares_otel_partition_next_timestamp_seconds",
            Gauge,
            "When a job does the next one of its actions, seconds since 1970; 0 for none",
            ("action",),
        ),
        Instrument("ares_otel_partition_next_run_seconds", Gauge, "Seconds until the next run of retention"),
        Instrument("ares_otel_partitions_dropped", Counter, "Dropped partitions", ("table", "reason")),
        Instrument("ares_otel_partitions_freed_bytes", Counter, "Bytes on disk of dropped partitions", ("table",)),
        Instrument("ares_otel_partitions_archived", Counter, "Partitions written to a file and verified", ("table",)),
        Instrument("ares_otel_partitions_sealed", Counter, "Closed partitions that got their indexes", ("table",)),
        Instrument("ares_otel_packed_samples", Counter, "Samples that were packed when their partition was sealed"),
        Instrument(
            "ares_otel_duplicate_samples",
            Counter,
            "Samples left out when they were packed, because there was one of their series and time already",
        ),
        Instrument("ares_otel_partition_job_failures", Counter, "Failures of the jobs on partitions", ("job",)),
        Instrument("ares_otel_pruned_rows", Counter, "Rows that were deleted one by one for their age", ("table",)),
        Instrument(
            "ares_otel_prometheus_index_series",
            Gauge,
            "Stored series in the index for Prometheus, and those that have no form there: deltas, untranslatable",
            ("state",),
        ),
        Instrument(
            "ares_otel_prometheus_index_translated_series",
            Counter,
            "Series that the job on the index translated: again by other rules, or because no read had met them",
        ),
        Instrument("ares_otel_prometheus_index_failures", Counter, "Rounds of the job on the index that failed"),
        Instrument(
            "ares_otel_rollup_waiting_rows", Gauge, "Increments that waited when the last round began", ("table",)
        ),
        Instrument("ares_otel_rollup_merged_rows", Counter, "Increments merged into roll-ups", ("table",)),
        Instrument(
            "ares_otel_rollup_lag_seconds",
            Gauge,
            "Time since everything that was stored by then was merged into roll-ups; 0 while another process merges",
        ),
        Instrument("ares_otel_rollup_merge_seconds", Histogram, "Time of a transaction that merges", (), _SECONDS),
        Instrument("ares_otel_rollup_edges_seconds", Histogram, "Time to find a minute's edges", (), _SECONDS),
        Instrument(
            "ares_otel_rollup_edges_waiting_minutes",
            Gauge,
            "Minutes that should be in the service map and are not yet",
        ),
        Instrument(
            "ares_otel_rollup_failures",
            Counter,
            "Failures of the job on roll-ups: merge, totals, edges or age",
            ("step",),
        ),
        Instrument(
            "ares_otel_metric_deltas_refused",
            Counter,
            "Deltas that could not be added to the total of their series, put into metric_delta_refused",
        ),
        Instrument("ares_otel_sampling_answers", Counter, "Strategies that clients were told", ("transport",)),
        Instrument(
            "ares_otel_sampling_changes",
            Counter,
            "Probabilities that adaptive sampling changed: up, down, or of a new operation",
            ("direction",),
        ),
        Instrument("ares_otel_sampling_failures", Counter, "Failed rounds of adaptive sampling"),
        Instrument(
            "ares_otel_sampling_operations",
            Gauge,
            "Operations whose probability follows their load; 0 while another process calculates",
        ),
        Instrument(
            "ares_otel_sampling_services",
            Gauge,
            "Services with sampling.target_traces_per_second; 0 while another process calculates",
        ),
        Instrument("ares_otel_sampling_round_seconds", Histogram, "Time of a round of adaptive sampling", (), _SECONDS),
        Instrument("ares_otel_disk_nearly_full", Gauge, "1 while the disk with the data is nearly full"),
        Instrument("ares_otel_bus_mode", Gauge, "1 for what carries the event bus now, 0 for the other", ("mode",)),
        Instrument(
            "ares_otel_bus_mode_since_timestamp_seconds", Gauge, "Since when that mode is active, seconds since 1970"
        ),
        Instrument("ares_otel_bus_healthy", Gauge, "0 while the wanted event bus is away and memory stands in for it"),
        Instrument("ares_otel_bus_waiting", Gauge, "Events that wait to be sent to other processes"),
        Instrument("ares_otel_bus_streams", Gauge, "Open streams of events"),
        Instrument("ares_otel_bus_published", Counter, "Events published by this process"),
        Instrument("ares_otel_bus_delivered", Counter, "Events that handlers have taken"),
        Instrument("ares_otel_bus_dropped", Counter, "Events that a bounded queue of the bus could not hold"),
        Instrument("ares_otel_bus_failed", Counter, "Calls of event handlers that raised"),
        Instrument("ares_otel_bus_skipped", Counter, "Entries in Redis that are no events"),
        Instrument(
            "ares_otel_bus_events",
            Counter,
            "Events that reached this process, by topic; a topic after the first 100 counts as `other`",
            ("topic",),
        ),
        Instrument("ares_otel_tail_dropped", Counter, "Spans and log records that the live tail left out under load"),
    ]
}


class Telemetry:
    """The instruments of one process. Not global: each start, and each test, has its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        self._children: dict[tuple[object, ...], Counter] = {}
        """Counters of items by their labels: `labels` would look for them under a lock, several times for a request."""
        for instrument in INSTRUMENTS.values():
            if issubclass(instrument.kind, Histogram):
                self._made[instrument.name] = Histogram(
                    instrument.name,
                    instrument.help,
                    instrument.labels,
                    registry=self.registry,
                    buckets=instrument.buckets,
                )
            else:
                self._made[instrument.name] = instrument.kind(
                    instrument.name, instrument.help, instrument.labels, registry=self.registry
                )

    def counter(self, name: str) -> Counter:
        """A counter of the table. Raises KeyError for a name that is not declared."""
        made = self._made[name]
        assert isinstance(made, Counter)
        return made

    def gauge(self, name: str) -> Gauge:
        """A gauge of the table. Raises KeyError for a name that is not declared."""
        made = self._made[name]
        assert isinstance(made, Gauge)
        return made

    def histogram(self, name: str) -> Histogram:
        """A histogram of the table. Raises KeyError for a name that is not declared."""
        made = self._made[name]
        assert isinstance(made, Histogram)
        return made

    def account(self, signal: Signal, receiver: str, transport: str, **outcomes: int) -> None:
        """Enters items into the account: `account(TRACES, "otlp", "grpc", received=3)`, later what became of them.

        Outcomes: received | stored | deduplicated | rejected | refused | dropped | spooled.
        """
        for outcome, amount in outcomes.items():
            if amount:
                key = signal, receiver, transport, outcome
                child = self._children.get(key)
                if child is None:
                    child = self._children[key] = self.counter("ares_otel_account_items").labels(
                        signal=signal.name, receiver=receiver, transport=transport, outcome=outcome
                    )
                child.inc(amount)

    def account_answer(self, signal: Signal, receiver: str, transport: str, answer: Accepted) -> None:
        """Enters the outcomes of an answered batch."""
        self.account(
            signal,
            receiver,
            transport,
            stored=answer.stored,
            deduplicated=answer.deduplicated,
            spooled=answer.spooled,
            rejected=answer.rejected,
            dropped=answer.dropped,
        )

    def count_items(self, template: str, signal: Signal, amount: int, **labels: str) -> None:
        """Counts items: `count_items("otelcol_receiver_accepted_{}", TRACES, 3, receiver=…, transport=…)`."""
        if amount:
            key = template, signal, *labels.items()
            child = self._children.get(key)
            if child is None:
                child = self._children[key] = self.counter(template.format(signal.items)).labels(**labels)
            child.inc(amount)
