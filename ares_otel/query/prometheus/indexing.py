"""Brings the index of series up to date: before each read with the series that appeared since, and by rounds in the
background with everything else.

A series is stored before its first samples are, so a read that asks "which are not indexed yet" first finds all that
was acknowledged before it. Several processes may index the same series at once: the first one counts, and what a series
becomes depends on stored rows alone, so they agree.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

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
MOST_BEFORE_A_READ = 20_000
"""Missing series that a read indexes before it answers. There are more only after an upgrade, or where a read comes in
the very minute in which they all appear."""
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
    """Indexes the series that are missing, all that were committed before the call among them.

    Args:
        patient: whether it may take as long as it takes.

    Raises:
        IndexBehind: so many are missing that it takes too long for a read.
        DatabaseUnavailable, QueryTooSlow: see `reader`. What was indexed before stays.
    """
    [row] = await reader.fetch(STATEMENTS["state"], lag=BEHIND)
    state = State(_stored_config(row["translation"]), row["revision"])
    if not row["missing"] and not row["behind"]:
        return state
    [moment] = await reader.fetch(STATEMENTS["until"])
    most = None if patient else MOST_BEFORE_A_READ
    count = await add_missing(reader, state, lately=True, most=most)
    if most is not None and count >= most:
        raise IndexBehind
    await reader.fetch(STATEMENTS["checked"], until=moment["until"], revision=state.revision)
    return state


async def add_missing(reader: Reader, state: State, *, lately: bool, most: int | None = None) -> int:
    """Indexes series that are missing; how many.

    Args:
        lately: of those only that appeared since all were indexed.
        most: after so many it ends.
    """
    count = 0
    limit = AT_ONCE if most is None else most
    while rows := await reader.fetch(STATEMENTS["missing"], lately=lately or None, limit=limit):
        ids = [row["series_id"] for row in rows]
        for begin in range(0, len(ids), PAGE):
            await store(reader, ids[begin : begin + PAGE], state)
        count += len(ids)
        if len(ids) < limit or most is not None:
            break
    return count


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
    labels: dict[UUID, tuple[str, str]] = {}
    keys = [_keys(member, labels) for member in members]
    async with reader.transaction(lock_timeout=LOCK_SECONDS):
        await reader.fetch(STATEMENTS["share_labels"], key=LABELS_LOCK)
        ids = await _label_ids(reader, labels)
        if outdated:
            await reader.fetch(STATEMENTS["remove_outdated"], ids=list(outdated), revision=revision)
        await reader.fetch(
            STATEMENTS["add_series"],
            series=[member.series_id for member in members],
            parts=[member.part for member in members],
            kinds=[member.kind for member in members],
            name_ids=[ids[label_key(NAME, member.labels[NAME])] if member.labels else None for member in members],
            label_ids=["{" + ",".join(map(str, sorted(ids[key] for key in own))) + "}" for own in keys],
            resources=[member.resource_id for member in members],
            first_seen=[member.first_seen for member in members],
            verbatim=[member.verbatim for member in members],
            revision=revision,
        )


async def _label_ids(reader: Reader, labels: dict[UUID, tuple[str, str]]) -> dict[UUID, int]:
    """The ids of labels, which are added where they are missing."""
    keys = list(labels)
    found = {row["label_key"]: row["label_id"] for row in await reader.fetch(STATEMENTS["label_ids"], keys=keys)}
    missing = [key for key in keys if key not in found]
    if missing:
        names, values = zip(*(labels[key] for key in missing), strict=True)
        await reader.fetch(STATEMENTS["add_labels"], keys=missing, names=list(names), values=list(values))
        for row in await reader.fetch(STATEMENTS["label_ids"], keys=missing):
            found[row["label_key"]] = row["label_id"]
    return found


def _keys(member: Member, labels: dict[UUID, tuple[str, str]]) -> set[UUID]:
    """The keys of a member's labels, which are added to `labels`."""
    own = set()
    for name, value in member.labels.items():
        for pair in ((name, value), (name, "")):
            key = label_key(*pair)
            labels[key] = pair
            own.add(key)
    return own


def label_key(name: str, value: str) -> UUID:
    """The hash of a label; with an empty value that of having a label of this name at all."""
    size = len(name.encode()).to_bytes(4, "big")
    return UUID(bytes=hashlib.blake2b(size + name.encode() + value.encode(), digest_size=16).digest())
