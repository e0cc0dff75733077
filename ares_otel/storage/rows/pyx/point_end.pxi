# What the tuples of all points end with: exemplars, the exact encoding, the time as sent. As points.py writes it.

cdef int add_exemplar(Request *r, Buf *b, const u8 *p, const u8 *e) noexcept nogil:
    cdef Slice trace_id, span_id, data
    cdef const u8 *attributes = e
    cdef u64 time = 0, number = 0
    cdef int number_kind = NO_VALUE
    cdef u32 seen = 0, field
    cdef u8 tag
    cdef int rc
    trace_id.p = span_id.p = p
    trace_id.n = span_id.n = 0
    while p < e:
        tag = p[0]
        field = tag >> 3
        if tag == 0x3A:
            if attributes == e:
                attributes = p
        elif seen >> field & 1:
            return REPEATED
        seen |= <u32>1 << field
        p += 1
        if tag == 0x11:
            rc = fixed64(&p, e, &time)
        elif tag == 0x19 or tag == 0x31:
            if number_kind != NO_VALUE:
                return REPEATED
            number_kind = DOUBLE_NUMBER if tag == 0x19 else INT_NUMBER
            rc = fixed64(&p, e, &number)
        elif tag == 0x22:
            rc = slice_of(&p, e, &span_id, &r.canonical)
        elif tag == 0x2A:
            rc = slice_of(&p, e, &trace_id, &r.canonical)
        elif tag == 0x3A:
            rc = slice_of(&p, e, &data, &r.canonical)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
    rc = key_text(b, '{"time_unix_nano":', 18)
    if rc:
        return rc
    put_unsigned(b, time)
    rc = key_text(b, ',"value":', 9)
    if rc:
        return rc
    if number_kind == DOUBLE_NUMBER:
        rc = add_double_value(r, b, bits_double(number))
        if rc:
            return rc
    elif number_kind == INT_NUMBER:
        put_signed(b, <i64>number)
    else:
        put_bytes(b, <const u8 *>b"null", 4)
        r.exact = False
    rc = key_text(b, ',"trace_id":', 12)
    if rc:
        return rc
    rc = add_hex(b, trace_id.p, trace_id.n)
    if rc:
        return rc
    rc = key_text(b, ',"span_id":', 11)
    if rc:
        return rc
    rc = add_hex(b, span_id.p, span_id.n)
    if rc:
        return rc
    rc = key_text(b, ',"filtered_attributes":', 23)
    if rc:
        return rc
    rc = add_object(r, b, attributes, e, 0x3A, 0, NO_NAMES)
    if rc:
        return rc
    return key_text(b, '}', 1)


cdef int add_exemplars(Request *r, Buf *b, Point *point) noexcept nogil:
    """A jsonb field, NULL for none. Whoever calls this has begun a list, and looks at `r.exact`."""
    cdef const u8 *p = point.exemplars
    cdef u8 tag
    cdef Slice item
    cdef bint found = False
    cdef bint more = False
    cdef bint padded = False
    cdef size_t opened
    cdef int rc
    if usual(p == point.e):
        return add_null(b)
    tag = p[0]
    if reserve(b, 8):
        return NO_MEMORY
    opened = open_field(b)
    put_byte(b, 1)
    put_byte(b, c'[')
    while True:
        rc = next_of(&p, point.e, tag, &item, &found, &padded)
        if rc:
            return rc
        if not found:
            break
        if more:
            put_byte(b, c',')  # there is room: key_text left some
        more = True
        rc = add_exemplar(r, b, item.p, item.p + item.n)
        if rc:
            return rc
    if reserve(b, 1):
        return NO_MEMORY
    put_byte(b, c']')
    close_field(b, opened)
    return OK


cdef int add_point_end(Request *r, Buf *b, int kind, Point *point, bint exact, bint late) noexcept nogil:
    """The fields from start_time to original_time_unix_nano. `exact` says whether the columns before these hold all
    there is."""
    cdef int rc
    if rare(reserve(b, 64)):
        return NO_MEMORY
    if point.start:
        put_time(b, point.start)
    else:
        put_null(b)
        put_null(b)
    put_count(b, point.flags)
    begin_list(r)
    rc = add_exemplars(r, b, point)
    if rc:
        return rc
    if usual(exact and r.exact):
        rc = add_null(b)
    else:
        rc = add_raw_message(b, POINT_KINDS[kind], point.p, point.e)
    if rc:
        return rc
    if rare(reserve(b, 32)):
        return NO_MEMORY
    put_original(b, late, point.time)
    return OK
