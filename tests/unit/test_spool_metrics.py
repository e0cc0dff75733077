"""The spool's figures in Ares's own metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from ares_otel.exporters.postgres.spool_observer import TelemetrySpoolObserver
from ares_otel.model.signal import LOGS, TRACES
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.spool.errors import SpoolFull
from tests.support.spool import a_record, opened, read_all, segments


class FixedClock:
    """Ten seconds after the first record."""

    def time_ns(self) -> int:
        return a_record(0).received_ns + 10_000_000_000

    def monotonic(self) -> float:
        return 0.0


def _value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"ares_otel_spool_{name}", labels)


async def test_metrics_show_what_waits_what_was_found_and_what_was_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        await spool.append(a_record(0, items=7))
        await spool.append(a_record(1, items=5, signal=LOGS))
    telemetry = Telemetry()
    observer = TelemetrySpoolObserver(telemetry, FixedClock())
    with opened(tmp_path, observer=observer, limit_bytes=1_000) as spool:
        observer.watch(spool)
        await spool.append(a_record(2, items=3))
        with pytest.raises(SpoolFull):
            await spool.append(a_record(3, payload=b"x" * 1_000))
        assert _value(telemetry, "waiting_items", signal="traces") == 10
        assert _value(telemetry, "waiting_requests", signal="traces") == 2
        assert _value(telemetry, "waiting_requests", signal="metrics") == 0
        assert _value(telemetry, "bytes") == spool.bytes_used > 0
        assert _value(telemetry, "limit_bytes") == 1_000
        assert _value(telemetry, "oldest_seconds") == 10.0
        assert _value(telemetry, "sync_seconds_count") == 1
        assert _value(telemetry, "refused_total", reason="full") == 1
        assert _value(telemetry, "items_total", signal="traces", outcome="found") == 7
        assert _value(telemetry, "items_total", signal="traces", outcome="spooled") == 3
        assert _value(telemetry, "items_total", signal="logs", outcome="found") == 4
        spool.done([*await read_all(spool), *await read_all(spool, LOGS)])
        assert _value(telemetry, "oldest_seconds") == 0.0
        assert _value(telemetry, "waiting_items", signal="traces") == 0


async def test_metrics_show_damage(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=1) as spool:
        await spool.append(a_record(0, items=7))
        await spool.append(a_record(2))
    first, last = segments(tmp_path)
    first.write_bytes(first.read_bytes()[:-1] + b"\xff")
    with last.open("ab") as file:
        file.write(bytes(20))
    telemetry = Telemetry()
    with opened(tmp_path, observer=TelemetrySpoolObserver(telemetry)):
        assert _value(telemetry, "quarantined_segments_total") == 1
        assert _value(telemetry, "torn_bytes_total") == 20
        assert _value(telemetry, "items_total", signal=TRACES.name, outcome="lost") == 7


async def test_figures_of_several_spools_are_added_up_until_one_is_forgotten(tmp_path: Path) -> None:
    telemetry = Telemetry()
    observer = TelemetrySpoolObserver(telemetry, FixedClock())
    with opened(tmp_path / "one", observer=observer) as one, opened(tmp_path / "two", observer=observer) as two:
        for spool, number in ((one, 0), (two, 2)):
            observer.watch(spool)
            await spool.append(a_record(number, items=3))
        assert _value(telemetry, "waiting_items", signal="traces") == 6
        assert _value(telemetry, "bytes") == one.bytes_used + two.bytes_used
        assert _value(telemetry, "oldest_seconds") == 10.0
        observer.forget(one)
        assert _value(telemetry, "waiting_items", signal="traces") == 3
        assert _value(telemetry, "oldest_seconds") == pytest.approx(10.0)
