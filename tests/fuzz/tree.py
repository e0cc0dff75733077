"""A request as a tree of wire fields, which can be written again in ways that protobuf would not choose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.wire import BYTES, FIXED32, FIXED64, VARINT, varint

WIDTHS = {FIXED64: 8, FIXED32: 4}


@dataclass(slots=True)
class Field:
    """One field of a message on the wire."""

    number: int
    kind: int
    value: int | bytes | Node
    pad: int = 0
    """Bytes that its varint takes at least: the value of a number, the length of anything else."""
    tag_pad: int = 0
    lie: int = 0
    """What is added to its length."""

    def copied(self) -> Field:
        value = self.value.copied() if isinstance(self.value, Node) else self.value
        return Field(self.number, self.kind, value, self.pad, self.tag_pad, self.lie)

    def written(self) -> bytes:
        head = varint(self.number << 3 | self.kind, self.tag_pad)
        if isinstance(self.value, int):
            return head + varint(self.value, self.pad)
        content = self.value.written() if isinstance(self.value, Node) else self.value
        if self.kind != BYTES:
            return head + content
        return head + varint(max(len(content) + self.lie, 0), self.pad) + content


@dataclass(slots=True)
class Node:
    """The fields of a message, in their order."""

    type: Any
    """Its descriptor."""
    fields: list[Field] = field(default_factory=list)

    def copied(self) -> Node:
        return Node(self.type, [child.copied() for child in self.fields])

    def written(self) -> bytes:
        return b"".join(child.written() for child in self.fields)

    def messages(self) -> Iterator[Node]:
        """This message and all inside it."""
        yield self
        for child in self.fields:
            if isinstance(child.value, Node):
                yield from child.value.messages()


def parsed(data: bytes, kind: Any) -> Node:
    """The tree of valid bytes. Raises ValueError for others."""
    message, place = Node(kind), 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, place = _varint(data, place)
            message.fields.append(Field(number, wire, value))
            continue
        size = WIDTHS.get(wire, -1)
        if wire == BYTES:
            size, place = _varint(data, place)
        if size < 0 or place + size > len(data):
            raise ValueError(f"no field at {place}")
        content, place = data[place : place + size], place + size
        inner = kind.fields_by_number.get(number)
        if wire == BYTES and inner is not None and inner.message_type is not None:
            message.fields.append(Field(number, wire, parsed(content, inner.message_type)))
        else:
            message.fields.append(Field(number, wire, content))
    return message


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError(f"no varint at {place}")
