# Reading protobuf's wire format. A message is the bytes p <= ... < e; every read is checked against e.
#
# `minimal` goes to False where a varint takes more bytes than it needs: protobuf itself would write other bytes.

cdef struct Slice:
    const u8 *p
    size_t n

cdef enum:
    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    FIXED32 = 5


cdef int long_varint(const u8 **at, const u8 *e, u64 *value, bint *minimal) noexcept nogil:
    cdef const u8 *p = at[0]
    cdef u64 result = 0
    cdef int shift = 0
    cdef u8 c
    while p < e:
        c = p[0]
        p += 1
        if shift == 63 and c > 1:
            return MALFORMED
        result |= <u64>(c & 0x7F) << shift
        if c < 0x80:
            if c == 0 and shift:
                minimal[0] = False
            value[0] = result
            at[0] = p
            return OK
        shift += 7
    return MALFORMED


cdef inline int varint(const u8 **at, const u8 *e, u64 *value, bint *minimal) noexcept nogil:
    cdef const u8 *p = at[0]
    if usual(p < e and p[0] < 0x80):
        value[0] = p[0]
        at[0] = p + 1
        return OK
    return long_varint(at, e, value, minimal)


cdef int long_slice(const u8 **at, const u8 *e, Slice *out, bint *minimal) noexcept nogil:
    cdef u64 n = 0
    cdef const u8 *begin = at[0]
    cdef int rc = long_varint(at, e, &n, minimal)
    if rc:
        return rc
    if rare(n > <u64>(e - at[0]) or at[0] - begin > 5):
        return MALFORMED
    out.p = at[0]
    out.n = <size_t>n
    at[0] += n
    return OK


cdef inline int slice_of(const u8 **at, const u8 *e, Slice *out, bint *minimal) noexcept nogil:
    """A length and so many bytes. A length may be padded, but protobuf takes no more than five bytes of it."""
    cdef const u8 *p = at[0]
    if rare(p >= e or p[0] >= 0x80):
        return long_slice(at, e, out, minimal)
    out.p = p + 1
    out.n = p[0]
    if rare(<size_t>(e - out.p) < out.n):
        return MALFORMED
    at[0] = out.p + out.n
    return OK


cdef inline int fixed64(const u8 **at, const u8 *e, u64 *value) noexcept nogil:
    if rare(e - at[0] < 8):
        return MALFORMED
    value[0] = little64(at[0])
    at[0] += 8
    return OK


cdef inline int fixed32(const u8 **at, const u8 *e, u32 *value) noexcept nogil:
    if rare(e - at[0] < 4):
        return MALFORMED
    value[0] = little32(at[0])
    at[0] += 4
    return OK


cdef inline int uint32_of(const u8 **at, const u8 *e, u32 *value, bint *minimal) noexcept nogil:
    cdef u64 number = 0
    cdef int rc = varint(at, e, &number, minimal)
    if rc:
        return rc
    if number > <u64>0xFFFFFFFF:
        return OUT_OF_RANGE
    value[0] = <u32>number
    return OK


cdef inline int int32_of(const u8 **at, const u8 *e, int32_t *value, bint *minimal) noexcept nogil:
    """An int32 or an enum: a negative one takes ten bytes."""
    cdef u64 number = 0
    cdef int rc = varint(at, e, &number, minimal)
    if rc:
        return rc
    if number > <u64>0x7FFFFFFF and number < <u64>0xFFFFFFFF80000000:
        return OUT_OF_RANGE
    value[0] = <int32_t>number
    return OK


cdef inline int bool_of(const u8 **at, const u8 *e, bint *value, bint *minimal) noexcept nogil:
    cdef u64 number = 0
    cdef int rc = varint(at, e, &number, minimal)
    if rc:
        return rc
    if number > 1:
        return OUT_OF_RANGE
    value[0] = number != 0
    return OK


cdef int skip_value(const u8 **at, const u8 *e, u32 kind) noexcept nogil:
    """Past the value of a field of a wire type."""
    cdef u64 number = 0
    cdef bint minimal = True
    cdef Slice data
    if kind == BYTES:
        return slice_of(at, e, &data, &minimal)
    if kind == VARINT:
        return varint(at, e, &number, &minimal)
    if kind == FIXED64 or kind == FIXED32:
        number = 8 if kind == FIXED64 else 4
        if <u64>(e - at[0]) < number:
            return MALFORMED
        at[0] += number
        return OK
    return MALFORMED


cdef inline int next_of(const u8 **at, const u8 *e, u8 tag, Slice *out, bint *found, bint *minimal) noexcept nogil:
    """The next field with a one-byte tag of wire type BYTES; other fields are passed over. `found` is False at the end.

    For messages whose tags were looked at before."""
    cdef int rc
    cdef u64 number = 0
    while at[0] < e:
        if usual(at[0][0] == tag):
            at[0] += 1
            found[0] = True
            return slice_of(at, e, out, minimal)
        rc = varint(at, e, &number, minimal)
        if rc:
            return rc
        rc = skip_value(at, e, <u32>(number & 7))
        if rc:
            return rc
    found[0] = False
    return OK


cdef inline size_t varint_size(u64 value) noexcept nogil:
    return <size_t>((bits(value | 1) + 6) // 7)


cdef inline void put_varint(Buf *b, u64 value) noexcept nogil:
    """Up to 10 bytes; there is room."""
    while value >= 0x80:
        put_byte(b, <u8>(value | 0x80))
        value >>= 7
    put_byte(b, <u8>value)
