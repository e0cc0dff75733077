# Writing OTLP from the objects of the OpenTelemetry SDK: messages, attributes, values.
#
# Fields go out in the order of their numbers, as protobuf itself writes them. What is not of the plain types that the SDK
# makes raises: the caller gives the whole request to the official encoder then, whose errors are the only ones.

cdef enum:
    SDK_DEPTH = 32  # values deeper than this are for the official encoder


cdef int room(Buf *b, size_t more) except -1:
    if reserve(b, more):
        raise MemoryError
    return 0


cdef int write_number(Buf *b, u8 tag, u64 value) except -1:
    """A varint field; 0 is not written."""
    if value:
        room(b, 11)
        put_byte(b, tag)
        put_varint(b, value)
    return 0


cdef int write_time(Buf *b, u8 tag, object value) except -1:
    """A fixed64 field of nanoseconds; 0 and None are not written."""
    cdef u64 number
    if value is not None:
        number = value
        if number:
            room(b, 9)
            put_byte(b, tag)
            put_little64(tail(b), number)
            b.len += 8
    return 0


cdef int write_flags(Buf *b, u32 value) except -1:
    """The value of a fixed32 field, whose tag is there."""
    room(b, 4)
    for _ in range(4):
        put_byte(b, <u8>(value & 0xFF))
        value >>= 8
    return 0


cdef int write_run(Buf *b, u8 tag, const char *p, Py_ssize_t n) except -1:
    room(b, <size_t>n + 11)
    put_byte(b, tag)
    put_varint(b, <u64>n)
    put_bytes(b, <const u8 *>p, <size_t>n)
    return 0


cdef int write_text(Buf *b, u8 tag, object text) except -1:
    """A string field, also an empty one. Raises for what is no text or no UTF-8."""
    cdef Py_ssize_t n = 0
    cdef const char *p
    if not isinstance(text, str):
        raise TypeError
    p = PyUnicode_AsUTF8AndSize(text, &n)
    return write_run(b, tag, p, n)


cdef int write_filled_text(Buf *b, u8 tag, object text) except -1:
    """A string field; an empty one and None are not written."""
    if text is None or text == "":
        return 0
    return write_text(b, tag, text)


cdef int write_id(Buf *b, u8 tag, object number, int size) except -1:
    cdef bytes data = number.to_bytes(size, "big")
    return write_run(b, tag, PyBytes_AS_STRING(data), size)


cdef size_t begin_message(Buf *b, u8 tag) except 0:
    """Begins a message within another; returns where its content begins, for `end_message`."""
    room(b, 2)
    put_byte(b, tag)
    put_byte(b, 0)
    return b.len


cdef int end_message(Buf *b, size_t start) except -1:
    """Writes the length before the content, which moves up when that takes more than a byte."""
    if close_message(b, start):
        raise MemoryError
    return 0


cdef int write_value(Buf *b, u8 tag, object value, int depth) except -1:
    """An AnyValue."""
    cdef size_t start = begin_message(b, tag)
    cdef size_t inner
    cdef int64_t number
    kind = type(value)
    if kind is str:
        write_text(b, 0x0A, value)
    elif kind is bool:
        room(b, 2)
        put_byte(b, 0x10)
        put_byte(b, 1 if value is True else 0)
    elif kind is int:
        number = value
        room(b, 11)
        put_byte(b, 0x18)
        put_varint(b, <u64>number)
    elif kind is float:
        room(b, 9)
        put_byte(b, 0x21)
        put_little64(tail(b), double_bits(value))
        b.len += 8
    elif kind is bytes:
        write_run(b, 0x3A, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    elif value is None:
        pass
    elif depth > SDK_DEPTH:
        raise ValueError
    elif kind is tuple or kind is list:
        inner = begin_message(b, 0x2A)
        for one in value:
            write_value(b, 0x0A, one, depth + 1)
        end_message(b, inner)
    elif kind is dict:
        inner = begin_message(b, 0x32)
        write_pairs(b, 0x0A, <dict>value, depth + 1)
        end_message(b, inner)
    else:
        raise TypeError
    return end_message(b, start)


cdef int write_pairs(Buf *b, u8 tag, dict pairs, int depth) except -1:
    """KeyValue messages."""
    cdef size_t start
    for key, value in pairs.items():
        start = begin_message(b, tag)
        write_filled_text(b, 0x0A, key)
        write_value(b, 0x12, value, depth)
        end_message(b, start)
    return 0


cdef int write_attributes(Buf *b, u8 tag, u8 dropped_tag, object attributes, object bounded) except -1:
    """Attributes, and after them how many were dropped where `dropped_tag` is not 0. `bounded`: the SDK's class."""
    if attributes is None:
        return 0
    if type(attributes) is bounded:
        write_pairs(b, tag, <dict?>attributes._dict, 0)
        if dropped_tag:
            write_number(b, dropped_tag, attributes.dropped)
        return 0
    return write_pairs(b, tag, attributes if type(attributes) is dict else dict(attributes), 0)
