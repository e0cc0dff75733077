"""What can be done to a request: each of these is something that an exporter, a proxy or an attacker might send."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

from google.protobuf.descriptor import FieldDescriptor

from tests.fuzz.tree import Field, Node
from tests.support.wire import BYTES, FIXED32, FIXED64, VARINT

NUMBERS = [0, 1, 2, 3, 7, 24, 127, 128, 255, 999, 1000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
DOUBLES = [
    0.0,
    -0.0,
    1.0,
    0.1,
    1e16,
    1e-16,
    1e17,
    5e-324,
    1.7e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    0.5,
    1e22,
]
TEXTS: list[bytes] = [
    *(
        b"",
        b"\0",
        b"a\0b",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b'"\\\n\x01',
        b"x" * 300,
    ),
    *("é".encode() * 200, "\U0001f600".encode(), b"service.name", b"code.lineno", b"code.file.path", b"parent_span_id"),
    *(
        b"00f067aa0ba902b7",
        b"WARNING",
        b" err ",
        b"fatal",
        b"telemetry.sdk.language",
        b"\\u0000",
        b"\x7f",
        b"1234567890",
    ),
]
Mutation = Callable[[Random, Node, Sequence[Node]], None]


def _message(random: Random, root: Node) -> Node:
    """A message of the tree; deep ones as likely as flat ones."""
    found = [message for message in root.messages() if message.fields]
    return random.choice(found) if found else root


def _field(random: Random, root: Node) -> Field | None:
    fields = _message(random, root).fields
    return random.choice(fields) if fields else None


def double_a_field(random: Random, root: Node, others: Sequence[Node]) -> None:
    message = _message(random, root)
    if message.fields:
        copy = random.choice(message.fields).copied()
        message.fields.insert(random.randint(0, len(message.fields)), copy)


def move_a_field(random: Random, root: Node, others: Sequence[Node]) -> None:
    fields = _message(random, root).fields
    if fields:
        fields.insert(random.randint(0, len(fields) - 1), fields.pop(random.randrange(len(fields))))


def shuffle(random: Random, root: Node, others: Sequence[Node]) -> None:
    random.shuffle(_message(random, root).fields)


def drop_a_field(random: Random, root: Node, others: Sequence[Node]) -> None:
    fields = _message(random, root).fields
    if fields:
        fields.pop(random.randrange(len(fields)))


def pad_a_varint(random: Random, root: Node, others: Sequence[Node]) -> None:
    if found := _field(random, root):
        if random.random() < 0.2:
            found.tag_pad = random.randint(2, 6)
        else:
            found.pad = random.choice([2, 3, 4, 4, 4, 5, 9, 10, 11])


def pad_every_length(random: Random, root: Node, others: Sequence[Node]) -> None:
    kind = _message(random, root).type
    for message in root.messages():
        for found in message.fields:
            if isinstance(found.value, Node) and (found.value.type is kind or random.random() < 0.1):
                found.pad = 4


def lie_about_a_length(random: Random, root: Node, others: Sequence[Node]) -> None:
    found = _field(random, root)
    if found is not None and found.kind == BYTES:
        found.lie = random.choice([-2, -1, 1, 2, 100, 2**31, 2**32, 2**63])


def change_a_wire_type(random: Random, root: Node, others: Sequence[Node]) -> None:
    if found := _field(random, root):
        found.kind = random.choice([VARINT, FIXED64, BYTES, FIXED32, 3, 4, 6, 7])
        values: list[int | bytes] = [random.choice(NUMBERS), random.randbytes(8), random.randbytes(4), b""]
        found.value = random.choice([*values, random.choice(TEXTS)])


def change_a_field_number(random: Random, root: Node, others: Sequence[Node]) -> None:
    if found := _field(random, root):
        found.number = random.choice([*range(20), 31, 100, 2**29 - 1, 2**29])


def add_an_unknown_field(random: Random, root: Node, others: Sequence[Node]) -> None:
    made = random.choice([Field(90, VARINT, 1), Field(91, BYTES, b"new"), Field(92, FIXED64, b"12345678")])
    fields = _message(random, root).fields
    fields.insert(random.randint(0, len(fields)), made)


def add_a_group(random: Random, root: Node, others: Sequence[Node]) -> None:
    fields = _message(random, root).fields
    place = random.randint(0, len(fields))
    fields[place:place] = [Field(80, 3, b""), *([Field(80, 4, b"")] if random.random() < 0.8 else [])]


def change_a_number(random: Random, root: Node, others: Sequence[Node]) -> None:
    numbers = [found for message in root.messages() for found in message.fields if found.kind != BYTES]
    if not numbers:
        return
    found = random.choice(numbers)
    if found.kind == VARINT:
        found.value = random.choice([random.choice(NUMBERS), random.getrandbits(random.randint(1, 64))])
    elif found.kind == FIXED64:
        bits = random.choice([random.choice(NUMBERS), random.getrandbits(64), _bits(random.choice(DOUBLES))])
        found.value = struct.pack("<Q", bits)
    elif found.kind == FIXED32:
        found.value = struct.pack("<I", random.getrandbits(32))


def _bits(value: float) -> int:
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return int(bits)


def change_a_text(random: Random, root: Node, others: Sequence[Node]) -> None:
    texts = [found for message in root.messages() for found in message.fields if isinstance(found.value, bytes)]
    texts = [found for found in texts if found.kind == BYTES]
    if not texts:
        return
    found = random.choice(texts)
    old = bytes(found.value) if isinstance(found.value, bytes) else b""
    place = random.randint(0, len(old))
    found.value = random.choice(
        [
            random.choice(TEXTS),
            old[:place] + random.choice(TEXTS) + old[place:],
            old[:place],
            old + old,
            old[:place] + random.randbytes(random.randint(1, 3)) + old[place:],
        ]
    )


def change_a_value(random: Random, root: Node, others: Sequence[Node]) -> None:
    """Another kind of value into an AnyValue."""
    values = [message for message in root.messages() if message.type.name == "AnyValue"]
    if not values:
        return
    value = random.choice(values)
    double = struct.pack("<d", random.choice([random.choice(DOUBLES), random.uniform(-1e6, 1e6)]))
    kinds = value.type.fields_by_number
    array, pairs = kinds[5].message_type, kinds[6].message_type
    made = [
        *(Field(1, BYTES, random.choice(TEXTS)), Field(2, VARINT, random.getrandbits(1)), Field(4, FIXED64, double)),
        *(Field(3, VARINT, random.choice(NUMBERS)), Field(7, BYTES, random.randbytes(random.randint(0, 5)))),
        *(Field(5, BYTES, Node(array)), Field(6, BYTES, Node(pairs))),
        Field(5, BYTES, Node(array, [Field(1, BYTES, value.copied())])),
    ]
    value.fields[:] = random.choices(made, k=random.choice([0, 1, 1, 1, 1, 1, 2]))


def nest(random: Random, root: Node, others: Sequence[Node]) -> None:
    """A value into many arrays or objects."""
    values = [message for message in root.messages() if message.type.name == "AnyValue"]
    if not values:
        return
    value = random.choice(values)
    array, pairs = value.type.fields_by_number[5].message_type, value.type.fields_by_number[6].message_type
    pair = pairs.fields_by_number[1].message_type
    fields = value.fields
    for _ in range(random.choice([1, 2, 5, 25, 44, 45, 46, 47, 60])):
        inner = Node(value.type, fields)
        if random.random() < 0.7:
            fields = [Field(5, BYTES, Node(array, [Field(1, BYTES, inner)]))]
        else:
            entry = Node(pair, [Field(1, BYTES, b"k"), Field(2, BYTES, inner)])
            fields = [Field(6, BYTES, Node(pairs, [Field(1, BYTES, entry)]))]
    value.fields = fields


def repeat_a_field(random: Random, root: Node, others: Sequence[Node]) -> None:
    """Many equal ones."""
    message = _message(random, root)
    repeated = [found for found in message.fields if _is_repeated(message, found)]
    if repeated:
        found = random.choice(repeated)
        message.fields.extend([found] * random.choice([2, 10, 70]))


def _is_repeated(message: Node, found: Field) -> bool:
    described = message.type.fields_by_number.get(found.number)
    return described is not None and described.is_repeated


def unpack_numbers(random: Random, root: Node, others: Sequence[Node]) -> None:
    """A packed field into one for each number."""
    for message in root.messages():
        for place, found in enumerate(message.fields):
            described = message.type.fields_by_number.get(found.number)
            if (
                described is None
                or not described.is_packed
                or not isinstance(found.value, bytes)
                or random.random() < 0.5
            ):
                continue
            if described.type in (FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_DOUBLE):
                parts = [found.value[start : start + 8] for start in range(0, len(found.value), 8)]
                message.fields[place : place + 1] = [Field(found.number, FIXED64, part) for part in parts]
                break


def splice(random: Random, root: Node, others: Sequence[Node]) -> None:
    """Fields of the same kind of message of another request."""
    other = random.choice(others)
    message = _message(random, root)
    same = [found for found in other.messages() if found.type is message.type and found.fields]
    if same:
        taken = random.choice(random.choice(same).fields).copied()
        if not _is_repeated(message, taken):
            message.fields[:] = [found for found in message.fields if found.number != taken.number]
        message.fields.insert(random.randint(0, len(message.fields)), taken)


def write_a_default(random: Random, root: Node, others: Sequence[Node]) -> None:
    """A zero or an empty text where it need not be written."""
    message = _message(random, root)
    scalar = [found for found in message.type.fields if found.message_type is None and not found.is_repeated]
    if not scalar:
        return
    described = random.choice(scalar)
    if any(found.number == described.number for found in message.fields):
        return
    kinds: dict[int, tuple[int, int | bytes]] = {
        FieldDescriptor.TYPE_STRING: (BYTES, b""),
        FieldDescriptor.TYPE_BYTES: (BYTES, b""),
        FieldDescriptor.TYPE_FIXED64: (FIXED64, bytes(8)),
        FieldDescriptor.TYPE_SFIXED64: (FIXED64, bytes(8)),
        FieldDescriptor.TYPE_DOUBLE: (FIXED64, bytes(8)),
        FieldDescriptor.TYPE_FIXED32: (FIXED32, bytes(4)),
    }
    kind, value = kinds.get(described.type, (VARINT, 0))
    message.fields.insert(random.randint(0, len(message.fields)), Field(described.number, kind, value))


MILD: list[Mutation] = [
    *(move_a_field, shuffle, drop_a_field, pad_every_length, change_a_number, change_a_value, change_a_text),
    *(repeat_a_field, splice, write_a_default, change_a_number, change_a_value, unpack_numbers),
]
"""What leaves most requests readable."""
ROUGH: list[Mutation] = [
    *(double_a_field, pad_a_varint, lie_about_a_length, change_a_wire_type, change_a_field_number),
    *(add_an_unknown_field, add_a_group, nest),
]


def mutated(random: Random, seeds: Sequence[Node]) -> bytes:
    """A request made of one of the seeds: most with a few mild changes, some with rough ones, a few cut or with changed
    bytes."""
    root = random.choice(seeds).copied()
    for _ in range(random.choice([0, 1, 1, 2, 2, 3, 6])):
        random.choice(MILD)(random, root, seeds)
    if random.random() < 0.35:
        for _ in range(random.choice([1, 1, 2])):
            random.choice(ROUGH)(random, root, seeds)
    try:
        data = root.written()
    except RecursionError:  # nested again and again
        data = random.choice(seeds).written()
    if random.random() < 0.06 and data:
        place = random.randrange(len(data))
        data = random.choice(
            [data[:place], data[:place] + random.randbytes(1) + data[place + 1 :], data + data[:place]]
        )
    return data[:MOST_BYTES]


MOST_BYTES = 200_000
