"""128-bit identities of what rows refer to: equal content, equal id, on every machine and in every process.

An id is BLAKE2b with 16 bytes of output, personalised with the kind (`resource`, `scope`, `series`), over a sequence
of parts. A part is a 4-byte big-endian length and that many bytes; an absent part is the length 0xFFFFFFFF alone. Texts
are UTF-8, numbers and booleans decimal text. An attribute list is one part: the protobuf encodings of its KeyValues,
sorted as bytes, each with its own 4-byte length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from struct import Struct

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

_length = Struct(">I").pack
_ABSENT = _length(0xFFFFFFFF)


def part(value: bytes | str | int | bool | None) -> bytes:
    """One part of an identity."""
    if value is None:
        return _ABSENT
    if isinstance(value, str):
        value = value.encode()
    elif isinstance(value, int):
        value = str(int(value)).encode()
    return _length(len(value)) + value


def canonical_attributes(pairs: Sequence[KeyValue]) -> bytes:
    """An attribute list whose order does not matter, as bytes."""
    encoded = [pair.SerializeToString() for pair in pairs]
    encoded.sort()
    return b"".join([_length(len(data)) + data for data in encoded])


def hasher(kind: str, parts: Iterable[bytes | str | int | bool | None]) -> blake2b:
    """A hash that took the parts so far; `digest()` is the id. Copies of it take further parts."""
    return blake2b(b"".join(map(part, parts)), digest_size=16, person=kind.encode())
