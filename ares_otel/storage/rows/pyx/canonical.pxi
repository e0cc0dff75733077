# Messages as protobuf itself would write them: fields by number, none that says its default, no padded numbers. That is
# what ids are hashes of, and what is kept beside JSON; exporters may write in another way, and the OpenTelemetry
# Collector does (its fields come in falling order).
#
# What is written anew was read before: its tags are known, its lengths fit, its depth is bounded.

# Kinds of messages
cdef enum:
    C_PAIR = 0
    C_VALUE = 1
    C_ARRAY = 2
    C_LIST = 3
    C_EVENT = 4
    C_LINK = 5
    C_EXEMPLAR = 6
    C_NUMBER = 7       # data points, without their attributes
    C_HISTOGRAM = 8
    C_EXPONENTIAL = 9
    C_SUMMARY = 10
    C_BUCKETS = 11
    C_QUANTILE = 12
    C_ENTITY = 13
    C_KINDS = 14

# Kinds of fields; those that are GIVEN are written when they are there, the others when they are not the default.
cdef enum:
    F_NONE = 0
    F_TEXT = 1
    F_GIVEN_TEXT = 2
    F_FIXED64 = 3
    F_GIVEN_FIXED64 = 4
    F_FIXED32 = 5
    F_VARINT = 6
    F_GIVEN_VARINT = 7
    F_PACKED64 = 8
    F_PACKED_VARINT = 9
    F_MESSAGE = 16     # and the kind of the message

cdef u8[C_KINDS][16] FORMS  # by kind of message and number of field


def _fill_forms():
    point = {2: F_FIXED64, 3: F_FIXED64}
    counted = {**point, 4: F_FIXED64, 5: F_GIVEN_FIXED64}
    forms = {
        C_PAIR: {1: F_TEXT, 2: F_MESSAGE + C_VALUE},
        C_VALUE: {
            1: F_GIVEN_TEXT, 2: F_GIVEN_VARINT, 3: F_GIVEN_VARINT, 4: F_GIVEN_FIXED64, 5: F_MESSAGE + C_ARRAY,
            6: F_MESSAGE + C_LIST, 7: F_GIVEN_TEXT,
        },
        C_ARRAY: {1: F_MESSAGE + C_VALUE},
        C_LIST: {1: F_MESSAGE + C_PAIR},
        C_EVENT: {1: F_FIXED64, 2: F_TEXT, 3: F_MESSAGE + C_PAIR, 4: F_VARINT},
        C_LINK: {1: F_TEXT, 2: F_TEXT, 3: F_TEXT, 4: F_MESSAGE + C_PAIR, 5: F_VARINT, 6: F_FIXED32},
        C_EXEMPLAR: {
            2: F_FIXED64, 3: F_GIVEN_FIXED64, 4: F_TEXT, 5: F_TEXT, 6: F_GIVEN_FIXED64, 7: F_MESSAGE + C_PAIR,
        },
        C_NUMBER: {
            **point, 4: F_GIVEN_FIXED64, 5: F_MESSAGE + C_EXEMPLAR, 6: F_GIVEN_FIXED64, 8: F_VARINT,
        },
        C_HISTOGRAM: {
            **counted, 6: F_PACKED64, 7: F_PACKED64, 8: F_MESSAGE + C_EXEMPLAR, 10: F_VARINT, 11: F_GIVEN_FIXED64,
            12: F_GIVEN_FIXED64,
        },
        C_EXPONENTIAL: {
            **counted, 6: F_VARINT, 7: F_FIXED64, 8: F_MESSAGE + C_BUCKETS, 9: F_MESSAGE + C_BUCKETS, 10: F_VARINT,
            11: F_MESSAGE + C_EXEMPLAR, 12: F_GIVEN_FIXED64, 13: F_GIVEN_FIXED64, 14: F_FIXED64,
        },
        C_SUMMARY: {**counted, 5: F_FIXED64, 6: F_MESSAGE + C_QUANTILE, 8: F_VARINT},
        C_BUCKETS: {1: F_VARINT, 2: F_PACKED_VARINT},
        C_QUANTILE: {1: F_FIXED64, 2: F_FIXED64},
        C_ENTITY: {1: F_TEXT, 2: F_TEXT, 3: F_GIVEN_TEXT, 4: F_GIVEN_TEXT},
    }
    for kind, fields in forms.items():
        for number, form in fields.items():
            FORMS[kind][number] = form


_fill_forms()


cdef int close_message(Buf *b, size_t opened) noexcept nogil:
    """Puts the length before what was written since `opened`, for which one byte was left."""
    cdef size_t n = b.len - opened
    cdef size_t size = varint_size(n)
    cdef int rc
    if size > 1:
        rc = reserve(b, size)
        if rc:
            return rc
        memmove(b.data + opened + size - 1, b.data + opened, n)
    b.len = opened - 1
    put_varint(b, n)
    b.len += n
    return OK


cdef int add_packed(Buf *b, u8 field, u8 form, const u8 *p, const u8 *e) noexcept nogil:
    """All numbers of a repeated field as one field, however they came."""
    cdef size_t opened = 0
    cdef const u8 *end
    cdef Slice data
    cdef u64 number = 0
    cdef bint minimal = True
    cdef u8 tag
    cdef int rc
    while p < e:
        tag = p[0]
        if tag >> 3 != field:
            p += 1
            rc = skip_value(&p, e, tag & 7)
            if rc:
                return rc
            continue
        if tag & 7 == BYTES:
            p += 1
            rc = slice_of(&p, e, &data, &minimal)
            if rc:
                return rc
        else:
            data.p = p + 1
            p += 1
            rc = skip_value(&p, e, tag & 7)
            if rc:
                return rc
            data.n = <size_t>(p - data.p)
        if data.n == 0:
            continue
        if reserve(b, data.n + 12):
            return NO_MEMORY
        if opened == 0:
            put_byte(b, <u8>(field << 3 | BYTES))
            b.len += 1
            opened = b.len
        if form == F_PACKED64:
            put_bytes(b, data.p, data.n)
            continue
        end = data.p + data.n
        while data.p < end:
            rc = varint(&data.p, end, &number, &minimal)
            if rc:
                return rc
            put_varint(b, number)  # takes no more room than it had
    return close_message(b, opened) if opened else OK


cdef int add_field(Buf *b, u8 tag, u8 form, const u8 **at, const u8 *e) noexcept nogil:
    """One field whose tag was read."""
    cdef Slice data
    cdef u64 number = 0
    cdef u32 half_ = 0
    cdef size_t opened
    cdef bint minimal = True
    cdef int rc
    if form >= F_MESSAGE or form == F_TEXT or form == F_GIVEN_TEXT:
        rc = slice_of(at, e, &data, &minimal)
        if rc or (form == F_TEXT and data.n == 0):
            return rc
        if reserve(b, data.n + 12):
            return NO_MEMORY
        put_byte(b, tag)
        if form < F_MESSAGE:
            put_varint(b, data.n)
            put_bytes(b, data.p, data.n)
            return OK
        b.len += 1
        opened = b.len
        rc = add_canonical(b, form - F_MESSAGE, data.p, data.p + data.n)
        return rc if rc else close_message(b, opened)
    if reserve(b, 12):
        return NO_MEMORY
    if form == F_FIXED64 or form == F_GIVEN_FIXED64:
        rc = fixed64(at, e, &number)
        if rc == OK and (number or form == F_GIVEN_FIXED64):
            put_byte(b, tag)
            put_bytes(b, at[0] - 8, 8)
    elif form == F_FIXED32:
        rc = fixed32(at, e, &half_)
        if rc == OK and half_:
            put_byte(b, tag)
            put_bytes(b, at[0] - 4, 4)
    else:
        rc = varint(at, e, &number, &minimal)
        if rc == OK and (number or form == F_GIVEN_VARINT):
            put_byte(b, tag)
            put_varint(b, number)
    return rc


cdef int add_canonical(Buf *b, int kind, const u8 *p, const u8 *e) noexcept nogil:
    """The inside of a message."""
    cdef const u8 *at
    cdef u8 field, form, tag
    cdef u32 present = 0
    cdef int rc
    at = p
    while at < e:
        tag = at[0]
        present |= <u32>1 << (tag >> 3)
        at += 1
        rc = skip_value(&at, e, tag & 7)
        if rc:
            return rc
    for field in range(1, 16):
        form = FORMS[kind][field]
        if form == F_NONE or not present >> field & 1:
            continue
        if form == F_PACKED64 or form == F_PACKED_VARINT:
            rc = add_packed(b, field, form, p, e)
            if rc:
                return rc
            continue
        at = p
        while at < e:
            tag = at[0]
            at += 1
            if tag >> 3 == field:
                rc = add_field(b, tag, form, &at, e)
            else:
                rc = skip_value(&at, e, tag & 7)
            if rc:
                return rc
    return OK


cdef int add_items_anew(Buf *b, int kind, const u8 *p, const u8 *e, u8 tag, u8 new_tag) noexcept nogil:
    """The fields with a tag as fields of another message, each in canonical form."""
    cdef bint minimal = True
    cdef Slice data
    cdef bint found = False
    cdef size_t opened
    cdef int rc
    while True:
        rc = next_of(&p, e, tag, &data, &found, &minimal)
        if rc or not found:
            return rc
        if reserve(b, data.n + 12):
            return NO_MEMORY
        put_byte(b, new_tag)
        b.len += 1
        opened = b.len
        rc = add_canonical(b, kind, data.p, data.p + data.n)
        if rc:
            return rc
        rc = close_message(b, opened)
        if rc:
            return rc


cdef int add_raw(Buf *b, int kind, const u8 *p, const u8 *e, u8 tag, u8 new_tag) noexcept nogil:
    """A bytea field with the fields that have a tag, as `add_items_anew` writes them."""
    cdef size_t opened
    cdef int rc
    if reserve(b, 4):
        return NO_MEMORY
    opened = open_field(b)
    rc = add_items_anew(b, kind, p, e, tag, new_tag)
    if rc:
        return rc
    close_field(b, opened)
    return OK


cdef int add_raw_message(Buf *b, int kind, const u8 *p, const u8 *e) noexcept nogil:
    """A bytea field with a message."""
    cdef size_t opened
    cdef int rc
    if reserve(b, 4):
        return NO_MEMORY
    opened = open_field(b)
    rc = add_canonical(b, kind, p, e)
    if rc:
        return rc
    close_field(b, opened)
    return OK
