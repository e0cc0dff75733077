"""What a spool promises, on a real directory."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from ares_otel.model.errors import Overloaded, StartError
from ares_otel.model.signal import LOGS, METRICS, TRACES
from ares_otel.storage.spool.errors import SpoolBroken, SpoolFull
from ares_otel.storage.spool.format import HEADER_BYTES, decode_header, record_size
from ares_otel.storage.spool.spool import Spool
from tests.support.eventually import eventually
from tests.support.spool import Remembering, a_record, opened, read_all, records_in, segments


async def _gone(directory: Path) -> None:
    async def look() -> bool:
        return not segments(directory)

    await eventually(look, every=0.01)


async def test_what_was_appended_is_read_in_order_by_the_next_process(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        for number in range(20):
            assert await spool.append(a_record(number))
    assert await records_in(tmp_path / "spool") == [a_record(number) for number in range(20)]


async def test_an_append_returns_after_its_bytes_are_in_the_file(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        await spool.append(a_record(1))
        [segment] = segments(tmp_path)
        assert segment.stat().st_size == HEADER_BYTES + record_size(a_record(1)) == spool.bytes_used


async def test_all_that_waits_is_synced_together(tmp_path: Path) -> None:
    observer = Remembering()
    with opened(tmp_path, observer=observer) as spool:
        await asyncio.gather(*(spool.append(a_record(number)) for number in range(500)))
    assert observer.counts["appended"] == 500
    assert observer.counts["synced"] < 250


async def test_the_signals_have_logs_of_their_own(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        await asyncio.gather(
            spool.append(a_record(1)), spool.append(a_record(2, signal=LOGS)), spool.append(a_record(3, signal=METRICS))
        )
        assert [(await read_all(spool, signal))[0].record for signal in (TRACES, LOGS, METRICS)] == [
            a_record(1),
            a_record(2, signal=LOGS),
            a_record(3, signal=METRICS),
        ]
        assert spool.has(LOGS)


async def test_the_answer_of_a_request_that_waits_is_found_also_after_a_restart(tmp_path: Path) -> None:
    record = a_record(1)
    with opened(tmp_path) as spool:
        assert spool.find(record.key) is None
        await spool.append(record)
        assert spool.find(record.key) == (2, 1, "One was wrong: ü.")
    with opened(tmp_path) as spool:
        assert spool.find(record.key) == (2, 1, "One was wrong: ü.")
        spool.done(await read_all(spool))
        assert spool.find(record.key) is None


async def test_a_twin_is_not_written_again(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        assert sorted(await asyncio.gather(*(spool.append(a_record(1)) for _ in range(5)))) == [False] * 4 + [True]
        assert not await spool.append(a_record(1))
        assert spool.waiting(TRACES).records == 1
    assert await records_in(tmp_path) == [a_record(1)]


async def test_a_record_is_given_once_until_it_is_given_back(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for number in range(6):
            await spool.append(a_record(number))
        first = await spool.read(TRACES, max_records=3, max_bytes=1 << 30)
        second = await spool.read(TRACES, max_records=9, max_bytes=1 << 30)
        assert [entry.record for entry in first + second] == [a_record(number) for number in range(6)]
        assert await read_all(spool) == []
        spool.give_back(second)
        spool.give_back(first[1:])
        spool.give_back(first[1:])
        assert [entry.record for entry in await read_all(spool)] == [a_record(number) for number in range(1, 6)]


async def test_a_read_keeps_its_bounds_but_gives_at_least_one(tmp_path: Path) -> None:
    size = record_size(a_record(0))
    with opened(tmp_path) as spool:
        for number in range(6):
            await spool.append(a_record(number * 2))
        assert len(await spool.read(TRACES, max_records=2, max_bytes=1 << 30)) == 2
        assert len(await spool.read(TRACES, max_records=9, max_bytes=size * 2)) == 2
        assert len(await spool.read(TRACES, max_records=9, max_bytes=1)) == 1


async def test_a_segment_is_deleted_when_all_of_it_is_done_in_any_order(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=HEADER_BYTES + 4 * record_size(a_record(1))) as spool:
        for number in range(0, 24, 2):
            await spool.append(a_record(number))
        assert len(segments(tmp_path)) == 3
        entries = await read_all(spool)
        spool.done([entries[7], entries[4], entries[6]])
        spool.done([entries[5]])

        async def second_is_gone() -> bool:
            return len(segments(tmp_path)) == 2

        await eventually(second_is_gone, every=0.01)
        assert spool.waiting(TRACES).records == 8
    observer = Remembering()
    with opened(tmp_path, observer=observer) as spool:
        assert not observer.counts["quarantined"]
        assert [entry.record for entry in await read_all(spool)] == [
            a_record(number) for number in range(0, 24, 2) if not 8 <= number < 16
        ]


async def test_a_segment_that_is_being_written_is_deleted_when_all_of_it_is_done(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        await spool.append(a_record(1))
        spool.done(await read_all(spool))
        await _gone(tmp_path)

        async def unused() -> bool:
            return spool.bytes_used == 0

        await eventually(unused, every=0.01)
        await spool.append(a_record(2))
    assert await records_in(tmp_path) == [a_record(2)]


async def test_a_half_done_segment_is_replayed_as_a_whole_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for number in range(4):
            await spool.append(a_record(number))
        spool.done((await read_all(spool))[:3])
        assert spool.waiting(TRACES).records == 1
    assert await records_in(tmp_path) == [a_record(number) for number in range(4)]


async def test_figures_say_what_waits(tmp_path: Path) -> None:
    observer = Remembering()
    with opened(tmp_path, observer=observer) as spool:
        assert spool.oldest_ns is None
        assert not spool.has(TRACES)
        for number in (5, 3, 4):
            await spool.append(a_record(number, items=10))
        sizes = sum(record_size(a_record(number)) for number in (3, 4, 5))
        assert spool.waiting(TRACES) == (3, 28, sizes)  # two of the senders were told that one item is wrong
        assert spool.waiting(LOGS) == (0, 0, 0)
        assert spool.oldest_ns == a_record(3).received_ns
        entries = await read_all(spool)
        assert spool.has(TRACES)
        spool.done(entry for entry in entries if entry.record.key == a_record(3).key)
        assert spool.oldest_ns == a_record(4).received_ns
        spool.done(entries)
        assert spool.oldest_ns is None
        assert not spool.has(TRACES)
    assert observer.counts["done"] == observer.counts["appended"] == 3
    assert observer.counts["done items"] == observer.counts["appended items"] == 28
    assert observer.counts["done bytes"] == observer.counts["appended bytes"] == sizes


async def test_a_full_spool_refuses_and_takes_again_after_something_is_done(tmp_path: Path) -> None:
    observer = Remembering()
    size = record_size(a_record(2))
    with opened(tmp_path, limit_bytes=2 * HEADER_BYTES + 3 * size, observer=observer) as spool:
        answers = await asyncio.gather(
            *(spool.append(a_record(number)) for number in range(0, 10, 2)), return_exceptions=True
        )
        assert [type(answer) for answer in answers if answer is not True] == [SpoolFull] * 3
        assert await spool.append(a_record(8))  # the headers of three more were reserved before
        with pytest.raises(SpoolFull) as refused:
            await spool.append(a_record(6))
        assert isinstance(refused.value, Overloaded)
        assert refused.value.retry_after >= 1
        assert spool.bytes_used <= spool.limit_bytes
        assert observer.counts["refused full"] == 4
        spool.done(await read_all(spool))
        await _gone(tmp_path)

        async def taken() -> bool:
            try:
                return await spool.append(a_record(6))
            except SpoolFull:
                return False

        await eventually(taken, every=0.01)


async def test_a_spool_takes_no_more_requests_than_it_can_remember(tmp_path: Path) -> None:
    with opened(tmp_path, max_records=2) as spool:
        await spool.append(a_record(1))
        await spool.append(a_record(2))
        with pytest.raises(SpoolFull):
            await spool.append(a_record(3))


async def test_a_request_that_is_larger_than_a_segment_has_one_for_itself(tmp_path: Path) -> None:
    large = a_record(1, payload=os.urandom(3_000_000))
    with opened(tmp_path, segment_bytes=1_000) as spool:
        await asyncio.gather(spool.append(a_record(0)), spool.append(large), spool.append(a_record(2)))
        assert len(segments(tmp_path)) == 3
    assert await records_in(tmp_path) == [a_record(0), large, a_record(2)]


async def test_a_cancelled_append_is_written_whole_all_the_same(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        tasks = [asyncio.create_task(spool.append(a_record(number))) for number in range(30)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks[::2])
    assert await records_in(tmp_path) == [a_record(number) for number in range(30)]


async def test_a_segment_says_when_it_was_made(tmp_path: Path) -> None:
    class Noon:
        def time_ns(self) -> int:
            return 1_700_000_000_000_000_012

        def monotonic(self) -> float:
            return 0.0

    with opened(tmp_path, clock=Noon()) as spool:
        await spool.append(a_record(1))
        header = decode_header(segments(tmp_path)[0].read_bytes())
        assert (header.created_ns, header.number, header.spool) == (1_700_000_000_000_000_012, 1, spool.id)


async def test_an_append_after_close_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=1_000_000)
    spool.open()
    spool.close()
    spool.close()
    with pytest.raises(SpoolBroken):
        await spool.append(a_record(1))


async def test_the_directory_is_closed_to_others_and_keeps_its_identity(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "spool"
    with opened(directory) as spool:
        first = spool.id
        await spool.append(a_record(1))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(segments(directory)[0].stat().st_mode) == 0o600
    with opened(directory) as spool:
        assert spool.id == first
    (directory / "id").write_bytes(b"\xff nonsense")
    with opened(directory) as spool:
        assert spool.id == first


def test_a_directory_has_one_owner_and_the_second_is_told_who(tmp_path: Path) -> None:
    with (
        opened(tmp_path),
        pytest.raises(StartError, match=rf"in use by process {os.getpid()} .*another --spool-dir"),
    ):
        Spool(tmp_path, limit_bytes=1).open()
    with opened(tmp_path):
        pass


def test_a_file_in_the_place_of_the_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(StartError, match="--spool-dir"):
        Spool(tmp_path / "spool", limit_bytes=1).open()


async def test_a_directory_that_was_deleted_takes_nothing(tmp_path: Path) -> None:
    observer = Remembering()
    with opened(tmp_path, observer=observer) as spool:
        await spool.append(a_record(1))
        segments(tmp_path)[0].unlink()
        with pytest.raises(SpoolBroken) as refused:
            await spool.append(a_record(2))
        assert refused.value.retry_after >= 1
        assert observer.counts["refused disk"] == 1
        await spool.append(a_record(3))
    assert await records_in(tmp_path) == [a_record(3)]
