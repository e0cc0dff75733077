"""The figures of several processes as one."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ares_otel.model.signal import LOGS, TRACES
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.pipeline.worker_metrics import MergedMetrics, Retired, Snapshot, gauge_sum, snapshot
from ares_otel.query.account import imbalances, read_account


def text(*others: Snapshot, own: Telemetry | None = None) -> str:
    return generate_latest(MergedMetrics((own or Telemetry()).registry, others)).decode()


def values(*others: Snapshot, own: Telemetry | None = None) -> Mapping[tuple[str, str], float]:
    """Name, and the values of its labels → value."""
    return {
        (sample.name, " ".join(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text(*others, own=own))
        for sample in family.samples
    }


def test_counters_histograms_and_gauges_are_added_up_over_all_processes() -> None:
    processes = [Telemetry() for _ in range(3)]
    for amount, one in enumerate(processes, 1):
        one.counter("ares_otel_writer_commits").inc(amount)
        one.counter("ares_otel_writer_rows").labels(table="service_logs").inc(amount)
        one.histogram("ares_otel_writer_commit_seconds").observe(0.003)
        one.gauge("ares_otel_writer_queue_bytes").set(100 * amount)
    processes[2].counter("ares_otel_writer_rows").labels(table="service_spans").inc(7)
    own, *workers = processes
    found = values(*(snapshot(worker.registry) for worker in workers), own=own)
    assert found["ares_otel_writer_commits_total", ""] == 6
    assert found["ares_otel_writer_rows_total", "service_logs"] == 6
    assert found["ares_otel_writer_rows_total", "service_spans"] == 7
    assert found["ares_otel_writer_commit_seconds_count", ""] == 3
    assert found["ares_otel_writer_commit_seconds_bucket", "0.005"] == 3
    assert found["ares_otel_writer_commit_seconds_bucket", "0.001"] == 0
    assert found["ares_otel_writer_queue_bytes", ""] == 600
    assert gauge_sum(snapshot(workers[0].registry), "ares_otel_writer_queue_bytes") == 200


def test_of_ages_the_largest_is_shown() -> None:
    ages = [Telemetry(), Telemetry()]
    for age, one in zip((5.0, 3.0), ages, strict=True):
        one.gauge("ares_otel_config_age_seconds").set(age)
        one.gauge("ares_otel_spool_oldest_seconds").set(float("inf") if age == 3.0 else 0.0)
    found = values(*(snapshot(one.registry) for one in ages))
    assert found["ares_otel_config_age_seconds", ""] == 5.0
    assert found["ares_otel_spool_oldest_seconds", ""] == float("inf")


def test_what_only_another_version_has_is_left_out() -> None:
    assert "of_tomorrow" not in text([("ares_otel_of_tomorrow", [("ares_otel_of_tomorrow_total", {}, "1.0")])])


def test_sums_do_not_go_down_when_a_worker_ends_and_its_gauges_go_with_it() -> None:
    worker, retired = Telemetry(), Retired()
    worker.counter("ares_otel_writer_commits").inc(4)
    worker.histogram("ares_otel_writer_commit_seconds").observe(0.003)
    worker.gauge("ares_otel_writer_queue_bytes").set(100)
    retired.add(snapshot(worker.registry))
    retired.add(snapshot(worker.registry))  # its successor, with the same figures
    found = values(retired.snapshot)
    assert found["ares_otel_writer_commits_total", ""] == 8
    assert found["ares_otel_writer_commit_seconds_count", ""] == 2
    assert found["ares_otel_writer_queue_bytes", ""] == 0


amounts = st.integers(min_value=0, max_value=1000)
outcomes = st.fixed_dictionaries(dict.fromkeys(("stored", "deduplicated", "rejected", "spooled"), amounts))


@given(st.lists(st.tuples(outcomes, amounts, amounts), min_size=1, max_size=4))
def test_the_account_is_balanced_after_any_workers_were_killed_with_requests_under_way(
    workers: list[tuple[dict[str, int], int, int]],
) -> None:
    retired = Retired()
    for done, under_way, waiting in workers:
        telemetry = Telemetry()
        telemetry.account(TRACES, "otlp", "grpc", received=sum(done.values()) + under_way, **done)
        telemetry.account(LOGS, "self", "internal", received=3, stored=3)
        spool = telemetry.counter("ares_otel_spool_items")
        spool.labels(signal="traces", outcome="spooled").inc(done["spooled"] + waiting)
        spool.labels(signal="traces", outcome="stored").inc(done["spooled"])
        telemetry.gauge("ares_otel_spool_waiting_items").labels(signal="traces").set(waiting)
        retired.add(snapshot(telemetry.registry))
    successor = Telemetry()
    found = sum(waiting for *_, waiting in workers)
    successor.counter("ares_otel_spool_items").labels(signal="traces", outcome="found").inc(found)
    successor.gauge("ares_otel_spool_waiting_items").labels(signal="traces").set(found)
    account = read_account(text(retired.snapshot, own=successor))
    assert imbalances(account) == []
    refused = sum(counts.get("refused", 0) for counts in account.doors.values())
    assert refused == sum(under_way for _, under_way, _ in workers)
