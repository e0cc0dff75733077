"""Brings the index of series up to date: before each read with the series that appeared since, and by rounds in the
background with everything else.

A series is stored before its first samples are, so a read that asks "which are not indexed yet" first finds all that
was acknowledged before it. Several processes may index the same series at once: the first one counts, and what a series
becomes depends on stored rows alone, so they agree.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson

from ares_otel.model.prometheus.config import TranslationConfig
from ares_otel.model.prometheus.labels import NAME
from ares_otel.model.prometheus.verbatim import METADATA_BUCKETS, METADATA_TYPE
from ares_otel.query.prometheus.translation import Member, Members, config_of
from ares_otel.query.reader import DatabaseUnavailable, Reader
from ares_otel.query.statements import load_statements

PAGE = 1000
"""Series that are translated together, in one transaction."""
AT_ONCE = 50_000
"""Series whose ids are asked for together."""
WAIT_SECONDS = 5.0
"""How long a read indexes missing series, or waits for who does, before it answers that they are too many. That happens
after an upgrade, or where it comes in the very seconds in which a hundred thousand appear. Also how long the job in the
background goes on without letting a read have its turn."""
MAX_SERIES_BYTES = 64 * 1024
"""A series, resource or scope whose attributes are larger has no form in Prometheus: no scraper takes such labels."""
BEHIND = timedelta(seconds=20)
"""How much is looked at again by each read before it is written down that it is done. After a hundred thousand series
have appeared at once, each read takes a tenth of a second for so long."""
LOCK_SECONDS = 5.0
LABELS_LOCK = 0x41726573_4C61626C
"""Key of the lock that those who write labels share ("AresLabl")."""
STATEMENTS = load_statements("prometheus_index.sql")


class IndexBehind(DatabaseUnavailable):
    """The index of series for Prometheus is being made, which takes a while; try again in a moment."""


@dataclass(frozen=True, slots=True)
class State:
    """By which rules the index is made now."""

    config: TranslationConfig
    revision: int


async def catch_up(reader: Reader, *, patient: bool = False) -> State:
    """Indexes the series that are missing, all that were committed before the call among them, or waits while another
    task of the process does.

    Args:
        patient: whether it may take as long as it takes.

    Raises:
        IndexBehind: so many are missing that it takes too long for a read.
        DatabaseUnavailable, QueryTooSlow: see `reader`. What was indexed before stays.
    """
    end = time.monotonic() + WAIT_SECONDS
    state, whole = await _state(reader)
    while not whole:
        async with _turn(None if patient else end):
            state, whole = await _state(reader)  # after who had the turn before
            if not whole:
                whole = await _catch_up(reader, state, time.monotonic() + WAIT_SECONDS if patient else end)
        if not whole and not patient and time.monotonic() >= end:
            raise IndexBehind
    return state


async def _state(reader: Reader) -> tuple[State, bool]:
    """By which rules the index is made, and whether it has all series that were committed before."""
    [row] = await reader.fetch(STATEMENTS["state"], lag=BEHIND)
    return State(_stored_config(row["translation"]), row["revision"]), not row["missing"] and not row["behind"]


async def _catch_up(reader: Reader, state: State, end: float) -> bool:
    """Whether all are indexed that were committed before the call."""
    [moment] = await reader.fetch(STATEMENTS["until"])
    _, whole = await add_missing(reader, state, lately=True, end=end)
    if whole:
        await reader.fetch(STATEMENTS["checked"], until=moment["until"], revision=state.revision)
    return whole


@asynccontextmanager
async def _turn(end: float | None) -> AsyncIterator[None]:
    """One task of a process indexes at a time: two would do the same work. Raises IndexBehind: it had no turn until
    `end`."""
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    try:
        async with asyncio.timeout(None if end is None else max(0.0, end - time.monotonic())):
            await turn.acquire()
    except TimeoutError:
        raise IndexBehind from None
    try:
        yield
    finally:
        turn.release()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def add_missing(reader: Reader, state: State, *, lately: bool, end: float = float("inf")) -> tuple[int, bool]:
    """Indexes series that are missing; how many, and whether none is left of those that were before the call.

    Args:
        lately: of those only that appeared since all were indexed.
        end: when it ends though some are left, by the monotonic clock; a page is indexed in any case.
    """
    count = 0
    while rows := await reader.fetch(STATEMENTS["missing"], lately=lately or None, limit=AT_ONCE):
        ids = [row["series_id"] for row in rows]
        for begin in range(0, len(ids), PAGE):
            if count and time.monotonic() >= end:
                return count, False
            page = ids[begin : begin + PAGE]
            await store(reader, page, state)
            count += len(page)
        if len(ids) < AT_ONCE:
            break
    return count, True


def _stored_config(text: str) -> TranslationConfig:
    """What an earlier program stored may be unknown to this one: then the defaults hold until the next round."""
    try:
        return config_of(orjson.loads(text))
    except (ValueError, TypeError):
        return config_of({})


async def store(reader: Reader, ids: Sequence[UUID], state: State, *, anew: bool = False) -> None:
    """Translates series and stores what they become.

    Args:
        anew: what they became by other rules is removed, in the same transaction.
    """
    rows = await reader.fetch(
        STATEMENTS["definitions"],
        ids=list(ids),
        type_key=METADATA_TYPE,
        buckets_key=METADATA_BUCKETS,
        max_bytes=MAX_SERIES_BYTES,
    )
    members = await translated(reader, rows, state.config)
    await _write(reader, members, state.revision, ids if anew else ())


async def store_resources(reader: Reader, ids: Sequence[UUID], state: State) -> None:
    """Makes `target_info` of resources anew."""
    resources = await reader.fetch(STATEMENTS["resources"], ids=list(ids), max_bytes=MAX_SERIES_BYTES)
    made = await asyncio.to_thread(Members, state.config, resources, [])
    members = [member for row in resources for member in made.target_info(row["resource_id"])]
    await _write(reader, members, state.revision, ids)


async def translated(reader: Reader, rows: Sequence[Any], config: TranslationConfig) -> list[Member]:
    """What rows of `definitions` become."""
    resources = list({row["resource_id"] for row in rows} - {None})
    scopes = list({row["scope_id"] for row in rows} - {None})
    found_resources = await reader.fetch(STATEMENTS["resources"], ids=resources, max_bytes=MAX_SERIES_BYTES)
    found_scopes = await reader.fetch(STATEMENTS["scopes"], ids=scopes, max_bytes=MAX_SERIES_BYTES)

    def work() -> list[Member]:
        made = Members(config, found_resources, found_scopes)
        return [member for row in rows for member in made.of(row)]

    return await asyncio.to_thread(work)


async def _write(reader: Reader, members: Sequence[Member], revision: int, outdated: Sequence[UUID]) -> None:
    keys = await asyncio.to_thread(_keys, members)
    async with reader.transaction(lock_timeout=LOCK_SECONDS):
        await reader.fetch(STATEMENTS["share_labels"], key=LABELS_LOCK)
        ids = await _label_ids(reader, keys)
        if outdated:
            await reader.fetch(STATEMENTS["remove_outdated"], ids=list(outdated), revision=revision)
        name_ids, label_ids = await asyncio.to_thread(_ids_of, members, ids)
        await reader.fetch(
            STATEMENTS["add_series"],
            series=[member.series_id for member in members],
            parts=[member.part for member in members],
            kinds=[member.kind for member in members],
            name_ids=name_ids,
            label_ids=label_ids,
            resources=[member.resource_id for member in members],
            first_seen=[member.first_seen for member in members],
            verbatim=[member.verbatim for member in members],
            revision=revision,
        )


async def _label_ids(reader: Reader, keys: Mapping[tuple[str, str], UUID]) -> dict[tuple[str, str], int]:
    """The ids of labels, which are added where they are missing."""
    labels = {key: label for label, key in keys.items()}
    found: dict[tuple[str, str], int] = {}

    def note(rows: Iterable[Any]) -> dict[UUID, tuple[str, str]]:
        """Those that are missing then."""
        found.update((labels[row["label_key"]], row["label_id"]) for row in rows)
        return {key: label for key, label in labels.items() if label not in found}

    missing = note(await reader.fetch(STATEMENTS["label_ids"], keys=list(labels)))
    if missing:
        names, values = map(list, zip(*missing.values(), strict=True))
        added = await reader.fetch(STATEMENTS["add_labels"], keys=list(missing), names=names, values=values)
        if missing := note(added):
            note(await reader.fetch(STATEMENTS["label_ids"], keys=list(missing)))
    return found


def _keys(members: Sequence[Member]) -> dict[tuple[str, str], UUID]:
    """All labels that members have, and for each name that of having it, with their keys. A hash takes longer than
    all else here, so each is made once."""
    pairs = {pair for member in members for pair in member.labels.items()}
    pairs |= {(name, "") for name, _ in pairs}
    return {pair: label_key(*pair) for pair in pairs}


def _ids_of(members: Sequence[Member], ids: Mapping[tuple[str, str], int]) -> tuple[list[int | None], list[str]]:
    """Of each member the id of its name, and the ids of all its labels as an array of PostgreSQL."""
    names = [ids[NAME, member.labels[NAME]] if member.labels else None for member in members]
    label_ids = []
    for member in members:
        own = {ids[pair] for pair in member.labels.items()}
        own.update(ids[name, ""] for name in member.labels)
        label_ids.append("{" + ",".join(map(str, sorted(own))) + "}")
    return names, label_ids


def label_key(name: str, value: str) -> UUID:
    """The hash of a label; with an empty value that of having a label of this name at all."""
    size = len(name.encode()).to_bytes(4, "big")
    return UUID(bytes=hashlib.blake2b(size + name.encode() + value.encode(), digest_size=16).digest())
