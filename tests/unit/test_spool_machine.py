"""A spool and a model of it, driven through the same random steps."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ares_otel.model.signal import LOGS, TRACES, Signal
from ares_otel.storage.spool.spool import Entry, Spool
from tests.support.spool import LIMIT, a_record, number_of

_signals = st.sampled_from([TRACES, LOGS])


class SpoolMachine(RuleBasedStateMachine):
    """What must be replayed after a restart: everything that is not done, and nothing that was never appended."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="ares-spool-")
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self._waiting: dict[Signal, list[int]] = {TRACES: [], LOGS: []}
        self._ready: dict[Signal, list[int]] = {TRACES: [], LOGS: []}
        self._taken: dict[int, tuple[Signal, Entry]] = {}
        self._done: set[int] = set()
        self._open()

    def _open(self) -> None:
        self._spool = Spool(Path(self._folder.name), limit_bytes=LIMIT, segment_bytes=600)
        self._spool.open()

    @rule(signal=_signals, count=st.integers(1, 6))
    def append(self, signal: Signal, count: int) -> None:
        numbers = range(self._number, self._number + count)
        self._number += count

        async def work() -> list[bool]:
            return await asyncio.gather(*(self._spool.append(a_record(number, signal=signal)) for number in numbers))

        assert all(self._loop.run_until_complete(work()))
        self._waiting[signal] += numbers
        self._ready[signal] += numbers

    @rule(signal=_signals, count=st.integers(1, 5))
    def read(self, signal: Signal, count: int) -> None:
        entries = self._loop.run_until_complete(self._spool.read(signal, max_records=count, max_bytes=1 << 30))
        wanted, self._ready[signal] = self._ready[signal][:count], self._ready[signal][count:]
        assert [entry.record for entry in entries] == [a_record(number, signal=signal) for number in wanted]
        self._taken |= {number: (signal, entry) for number, entry in zip(wanted, entries, strict=True)}

    def _some(self, data: st.DataObject) -> list[int]:
        numbers = sorted(self._taken)
        return data.draw(st.lists(st.sampled_from(numbers), unique=True)) if numbers else []

    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        chosen = self._some(data)
        self._spool.done([self._taken[number][1] for number in chosen])
        for number in chosen:
            signal, _ = self._taken.pop(number)
            self._waiting[signal].remove(number)
            self._done.add(number)

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        chosen = self._some(data)
        self._spool.give_back([self._taken[number][1] for number in chosen])
        for number in chosen:
            signal, _ = self._taken.pop(number)
            self._ready[signal] = sorted([*self._ready[signal], number])

    @rule()
    def reopen(self) -> None:
        self._spool.close()
        self._open()
        self._taken.clear()
        for signal in (TRACES, LOGS):
            entries = self._loop.run_until_complete(self._spool.read(signal, max_records=1_000_000, max_bytes=1 << 40))
            numbers = [self._number_of(entry, signal) for entry in entries]
            assert numbers == sorted(set(numbers))
            assert set(self._waiting[signal]) <= set(numbers)
            assert set(numbers) - set(self._waiting[signal]) <= self._done  # of segments that were half done
            self._done -= set(numbers)
            self._spool.give_back(entries)
            self._waiting[signal], self._ready[signal] = list(numbers), list(numbers)

    def _number_of(self, entry: Entry, signal: Signal) -> int:
        number = number_of(entry.record)
        assert entry.record == a_record(number, signal=signal)
        return number

    @invariant()
    def figures(self) -> None:
        for signal, numbers in self._waiting.items():
            assert self._spool.waiting(signal).records == len(numbers)
            assert self._spool.waiting(signal).items == sum(2 - number % 2 for number in numbers)
            assert self._spool.has(signal) == bool(numbers)
        everything = [number for numbers in self._waiting.values() for number in numbers]
        assert self._spool.oldest_ns == (a_record(min(everything)).received_ns if everything else None)
        assert all(self._spool.find(a_record(number).key) for number in everything)
        assert not any(self._spool.find(a_record(number).key) for number in self._done)

    def teardown(self) -> None:
        self._spool.close()
        self._loop.close()
        self._folder.cleanup()


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
