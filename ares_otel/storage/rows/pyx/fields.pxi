# Fields of PostgreSQL's binary COPY format; copy_format.py says what they look like.

cdef i64 EPOCH_US = 946684800000000
cdef u64 INT8_MAX = 0x7FFFFFFFFFFFFFFF
cdef enum:
    INT2_OID = 21
    INT8_OID = 20
    FLOAT8_OID = 701


cdef inline void put_null(Buf *b) noexcept nogil:
    put32(tail(b), <u64>0xFFFFFFFF)
    b.len += 4


cdef inline int add_null(Buf *b) noexcept nogil:
    if rare(reserve(b, 4)):
        return NO_MEMORY
    put_null(b)
    return OK


cdef inline void put_int2(Buf *b, i64 value) noexcept nogil:
    put32(tail(b), 2)
    put16(tail(b) + 4, <u16>value)
    b.len += 6


cdef inline void put_int4(Buf *b, i64 value) noexcept nogil:
    put32(tail(b), 4)
    put32(tail(b) + 4, <u32>value)
    b.len += 8


cdef inline void put_int8(Buf *b, u64 value) noexcept nogil:
    put32(tail(b), 8)
    put64(tail(b) + 4, value)
    b.len += 12


cdef inline void put_float8(Buf *b, double value) noexcept nogil:
    put_int8(b, double_bits(value))


cdef inline void put_timestamptz(Buf *b, u64 unix_us) noexcept nogil:
    put_int8(b, <u64>(<i64>unix_us - EPOCH_US))


cdef inline void put_time(Buf *b, u64 unix_ns) noexcept nogil:
    """Two fields: timestamptz to the microsecond, int2 with the nanoseconds beyond. 18 bytes."""
    put_timestamptz(b, unix_ns // 1000)
    put_int2(b, <i64>(unix_ns % 1000))


cdef inline void put_uuid(Buf *b, const u8 *p) noexcept nogil:
    put32(tail(b), 16)
    b.len += 4
    put_bytes(b, p, 16)


cdef inline void put_count(Buf *b, u64 value) noexcept nogil:
    """An int8 field, NULL for 0."""
    if value:
        put_int8(b, value)
    else:
        put_null(b)


cdef void put_numeric(Buf *b, u64 value) noexcept nogil:
    """A numeric(20, 0); there is room for 24 bytes."""
    cdef u16[5] digits
    cdef int count = 0, zeros = 0, weight, i
    while value:
        digits[count] = <u16>(value % 10000)
        value //= 10000
        count += 1
    weight = count - 1 if count else 0
    while zeros < count and digits[zeros] == 0:  # trailing zeros of the number are not stored
        zeros += 1
    put32(tail(b), <u32>(8 + 2 * (count - zeros)))
    put16(tail(b) + 4, <u16>(count - zeros))
    put16(tail(b) + 6, <u16>weight)
    put32(tail(b) + 8, 0)
    b.len += 12
    for i in range(count - 1, zeros - 1, -1):
        put16(tail(b), digits[i])
        b.len += 2


cdef inline size_t array_size(size_t count, size_t width) noexcept nogil:
    return 24 + count * (4 + width)


cdef inline void put_array_head(Buf *b, u32 oid, size_t count, size_t width) noexcept nogil:
    """The head of an array; `count` elements of `width` bytes follow, each as a field. There is room for array_size."""
    cdef u8 *q = tail(b)
    if count == 0:
        put32(q, 12)
        put32(q + 4, 0)
        put32(q + 8, 0)
        put32(q + 12, oid)
        b.len += 16
        return
    put32(q, <u32>(20 + count * (4 + width)))
    put32(q + 4, 1)
    put32(q + 8, 0)
    put32(q + 12, oid)
    put32(q + 16, <u32>count)
    put32(q + 20, 1)
    b.len += 24


cdef inline size_t open_field(Buf *b) noexcept nogil:
    """Begins a field whose length is not known yet; there is room for 4 bytes. Returns what `close_field` takes."""
    b.len += 4
    return b.len


cdef inline void close_field(Buf *b, size_t opened) noexcept nogil:
    put32(b.data + opened - 4, <u32>(b.len - opened))


cdef inline double milliseconds(u64 ns) noexcept nogil:
    """ns / 1_000_000 as Python divides integers: rounded once. For ns < 2**63."""
    cdef u64 whole, rest, q
    cdef int shift
    if usual(ns < <u64>1 << 53):
        return <double>ns / 1e6
    whole = ns // 1000000
    shift = 22 if whole < <u64>1 << 41 else 20
    rest = (ns % 1000000) << shift
    q = whole << shift | rest // 1000000
    if rest % 1000000:
        q |= 1
    return <double>q / <double>(<u64>1 << shift)
