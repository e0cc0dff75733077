"""Segments that are cut, overwritten, emptied or gone: the start succeeds, what is whole is replayed, the rest is
counted."""

from __future__ import annotations

import random
import shutil
import tracemalloc
import zlib
from pathlib import Path

import pytest

from ares_otel.model.signal import TRACES
from ares_otel.storage.spool.format import HEADER_BYTES, encode_record, marker, record_size
from ares_otel.storage.spool.spool import Spool
from tests.support.eventually import eventually
from tests.support.spool import Remembering, a_record, opened, quarantined, read_all, records_in, segments

COUNT = 5
RECORDS = [a_record(number) for number in range(COUNT)]
ENDS = [HEADER_BYTES + sum(map(record_size, RECORDS[: number + 1])) for number in range(COUNT)]


@pytest.fixture
async def whole(tmp_path: Path) -> Path:
    """A spool with one segment of `COUNT` records, closed."""
    directory = tmp_path / "whole"
    with opened(directory) as spool:
        for record in RECORDS:
            await spool.append(record)
    [segment] = segments(directory)
    assert segment.stat().st_size == ENDS[-1]
    return directory


async def _reopened(whole: Path, data: bytes) -> tuple[list[int], Remembering]:
    """Numbers of the records that are replayed when the segment holds these bytes. Now and then it is checked that
    another start finds the same and has nothing more to set aside."""
    directory = whole.with_name("changed")
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(whole, directory)
    segments(directory)[0].write_bytes(data)
    first, observer = await _numbers(directory)
    if zlib.crc32(data) % 10 == 0:
        again, second = await _numbers(directory)
        assert again == first
        assert second.counts["quarantined"] == second.counts["torn"] == second.counts["lost"] == 0
    return first, observer


async def _numbers(directory: Path) -> tuple[list[int], Remembering]:
    observer = Remembering()
    with opened(directory, observer=observer) as spool:
        found = [RECORDS.index(entry.record) for entry in await read_all(spool)]
    assert observer.counts["found"] == len(found)
    return found, observer


async def test_a_segment_cut_at_every_byte_keeps_all_records_before_the_cut(whole: Path) -> None:
    data = segments(whole)[0].read_bytes()
    for length in range(HEADER_BYTES, len(data)):
        found, observer = await _reopened(whole, data[:length])
        kept = [number for number in range(COUNT) if ENDS[number] <= length]
        assert found == kept, length
        assert observer.counts["torn"] == length - max([HEADER_BYTES, *(ENDS[number] for number in kept)])
        assert not observer.counts["quarantined"]


async def test_a_segment_cut_in_its_header_is_set_aside(whole: Path) -> None:
    data = segments(whole)[0].read_bytes()
    for length in range(HEADER_BYTES):
        found, observer = await _reopened(whole, data[:length])
        assert found == []
        assert observer.counts["quarantined"] == 1
        assert quarantined(whole.with_name("changed")) == ["traces-0000000000000001.seg"]


async def test_any_flipped_byte_costs_at_most_the_record_it_is_in(whole: Path) -> None:
    data = segments(whole)[0].read_bytes()
    flips = random.Random(4)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << flips.randrange(8)
        found, observer = await _reopened(whole, bytes(changed))
        hit = [number for number in range(COUNT) if [HEADER_BYTES, *ENDS][number] <= at < ENDS[number]]
        assert found == [number for number in range(COUNT) if number not in hit], at
        assert observer.counts["quarantined"] == 1
        assert observer.counts["salvaged"] == len(found)
        assert observer.counts["quarantined bytes"] == sum(record_size(RECORDS[number]) for number in hit)


@pytest.mark.parametrize("seed", range(30))
async def test_garbage_in_the_middle_costs_the_records_that_it_covers(whole: Path, seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(segments(whole)[0].read_bytes())
    start = dice.randrange(len(data))
    end = min(len(data), start + dice.randrange(1, 200))
    data[start:end] = dice.randbytes(end - start) if dice.random() < 0.5 else bytes(end - start)
    found, observer = await _reopened(whole, bytes(data))
    untouched = [number for number in range(COUNT) if ENDS[number] <= start or end <= [HEADER_BYTES, *ENDS][number]]
    assert found == untouched
    assert observer.counts["quarantined"] + bool(observer.counts["torn"]) == 1


@pytest.mark.parametrize("seed", range(10))
async def test_bytes_that_were_put_in_or_taken_out_cost_one_record(whole: Path, seed: int) -> None:
    dice = random.Random(seed)
    data = segments(whole)[0].read_bytes()
    at = dice.randrange(HEADER_BYTES, ENDS[-2])
    changed = data[:at] + dice.randbytes(7) + data[at:] if seed % 2 else data[:at] + data[at + 1 :]
    found, _ = await _reopened(whole, changed)
    assert len(found) >= COUNT - 1


async def test_zeros_after_the_last_record_are_a_torn_tail(whole: Path) -> None:
    data = segments(whole)[0].read_bytes()
    found, observer = await _reopened(whole, data + bytes(5_000))
    assert found == list(range(COUNT))
    assert observer.counts["torn"] == 5_000
    assert not observer.counts["quarantined"]


async def test_items_of_a_damaged_record_are_counted_when_its_head_is_right(whole: Path) -> None:
    data = bytearray(segments(whole)[0].read_bytes())
    data[ENDS[2] - 1] ^= 1
    _, observer = await _reopened(whole, bytes(data))
    assert (observer.counts["lost"], observer.counts["lost items"]) == (1, RECORDS[2].items)


async def test_a_segment_of_an_unknown_version_is_kept_for_who_can_read_it(whole: Path) -> None:
    data = bytearray(segments(whole)[0].read_bytes())
    data[8] = 2
    data[HEADER_BYTES - 4 : HEADER_BYTES] = zlib.crc32(data[: HEADER_BYTES - 4]).to_bytes(4, "big")
    found, observer = await _reopened(whole, bytes(data))
    assert found == []
    assert (observer.counts["quarantined"], observer.counts["quarantined bytes"]) == (1, len(data))
    assert (whole.with_name("changed") / "quarantine" / "traces-0000000000000001.seg").read_bytes() == data


async def test_what_a_sender_hides_in_a_payload_is_never_taken_for_a_record(tmp_path: Path) -> None:
    """The payload holds whole records of another spool, and the record around them is damaged."""
    hidden = b"".join(b"".join(encode_record(a_record(number), b"\x01" * 8)) for number in range(100, 110))
    with opened(tmp_path) as spool:
        await spool.append(a_record(0, payload=hidden))
        await spool.append(a_record(1))
        real = marker(spool.id)
    [segment] = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[HEADER_BYTES + 9] ^= 1  # the length: where the record ends is not known any more
    segment.write_bytes(data)
    assert real not in hidden
    assert await records_in(tmp_path) == [a_record(1)]


async def test_a_damaged_segment_stays_in_the_quarantine_after_its_requests_are_done(whole: Path) -> None:
    [segment] = segments(whole)
    data = bytearray(segment.read_bytes())
    data[ENDS[0] - 1] ^= 1
    segment.write_bytes(data)
    with opened(whole) as spool:
        assert quarantined(whole) == ["traces-0000000000000001.seg.waiting"]
        assert spool.bytes_used == len(data)
        spool.done(await read_all(spool))

        async def kept() -> bool:
            return quarantined(whole) == ["traces-0000000000000001.seg"] and spool.bytes_used == 0

        await eventually(kept, every=0.01)
    assert (whole / "quarantine" / "traces-0000000000000001.seg").read_bytes() == data
    assert await records_in(whole) == []


async def _several(directory: Path) -> None:
    with opened(directory, segment_bytes=1) as spool:
        for record in RECORDS:
            await spool.append(record)
    assert len(segments(directory)) == COUNT


async def test_a_missing_file_in_the_middle_is_counted_once_and_the_others_are_replayed(tmp_path: Path) -> None:
    await _several(tmp_path)
    segments(tmp_path)[2].unlink()
    found, observer = await _numbers(tmp_path)
    assert found == [0, 1, 3, 4]
    assert observer.counts["quarantined"] == 1
    found, observer = await _numbers(tmp_path)
    assert found == [0, 1, 3, 4]
    assert not observer.counts["quarantined"]


async def test_an_empty_file_is_set_aside_and_the_order_is_kept(tmp_path: Path) -> None:
    await _several(tmp_path)
    files = segments(tmp_path)
    files[1].write_bytes(b"")
    changed = bytearray(files[3].read_bytes())
    changed[0] ^= 1  # its header: the record in it is whole
    files[3].write_bytes(changed)
    found, observer = await _numbers(tmp_path)
    assert found == [0, 2, 3, 4]
    assert observer.counts["quarantined"] == 2
    assert quarantined(tmp_path) == ["traces-0000000000000002.seg", "traces-0000000000000004.seg.waiting"]
    assert (await _numbers(tmp_path))[0] == [0, 2, 3, 4]
    with opened(tmp_path) as spool:
        await spool.append(a_record(9))
        assert segments(tmp_path)[-1].name == "0000000000000006.seg"


async def test_a_segment_under_a_wrong_name_is_set_aside_and_replayed(tmp_path: Path) -> None:
    await _several(tmp_path)
    segments(tmp_path)[4].rename(tmp_path / "traces" / "0000000000000009.seg")
    (tmp_path / "traces" / "a note.txt").write_text("left alone")
    found, _ = await _numbers(tmp_path)
    assert found == [0, 1, 2, 3, 4]
    assert (tmp_path / "traces" / "a note.txt").exists()


async def test_files_that_were_never_finished_are_removed(tmp_path: Path) -> None:
    await _several(tmp_path)
    new = tmp_path / "traces" / "0000000000000006.new"
    new.write_bytes(segments(tmp_path)[0].read_bytes()[:70])
    found, observer = await _numbers(tmp_path)
    assert found == [0, 1, 2, 3, 4]
    assert not new.exists()
    assert not observer.counts["quarantined"]


async def test_a_record_that_turns_bad_while_ares_runs_is_counted_and_not_given_again(tmp_path: Path) -> None:
    observer = Remembering()
    with opened(tmp_path, observer=observer) as spool:
        for record in RECORDS:
            await spool.append(record)
        [segment] = segments(tmp_path)
        with segment.open("r+b") as file:
            file.seek(ENDS[1] - 1)
            file.write(b"\xff")
        entries = await read_all(spool)
        assert [entry.record for entry in entries] == [RECORDS[number] for number in (0, 2, 3, 4)]
        assert await read_all(spool) == []
        assert (observer.counts["lost"], observer.counts["lost items"]) == (1, RECORDS[1].items - 1)
        assert (observer.counts["quarantined"], observer.counts["salvaged"]) == (1, 4)
        await spool.append(a_record(60))  # goes to another file
        assert len(segments(tmp_path)) == 2
        spool.done(entries)

        async def kept() -> bool:
            return quarantined(tmp_path) == ["traces-0000000000000001.seg"]

        await eventually(kept, every=0.01)
        assert spool.waiting(TRACES).records == 1
    assert await records_in(tmp_path) == [a_record(60)]


async def test_a_segment_that_was_deleted_while_ares_runs_is_counted(tmp_path: Path) -> None:
    observer = Remembering()
    with opened(tmp_path, observer=observer) as spool:
        for record in RECORDS:
            await spool.append(record)
        segments(tmp_path)[0].unlink()
        assert await read_all(spool) == []
        assert observer.counts["lost"] == COUNT
        assert observer.counts["quarantined"] == 1
        assert not spool.has(TRACES)
        await spool.append(a_record(60))
    assert await records_in(tmp_path) == [a_record(60)]


async def test_a_damaged_large_segment_is_searched_in_bounded_memory(tmp_path: Path) -> None:
    size = 30_000_000
    with opened(tmp_path, segment_bytes=2 * size) as spool:
        await spool.append(a_record(0, payload=b"\0" * size))
        await spool.append(a_record(1))
    [segment] = segments(tmp_path)
    with segment.open("r+b") as file:
        file.seek(HEADER_BYTES)
        file.write(b"\xff")
    tracemalloc.start()
    try:
        spool = Spool(tmp_path, limit_bytes=1)
        spool.open()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 4
    assert [entry.record for entry in await read_all(spool)] == [a_record(1)]
    spool.close()
