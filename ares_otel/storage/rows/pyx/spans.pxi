# Span → a tuple of service_spans: what spans.py does.

cdef enum:
    SPAN_FIELDS = 30

# Why spans are rejected; the order is that of REASONS in native.py.
cdef enum:
    BAD_TRACE_ID = 1
    BAD_SPAN_ID = 2
    BAD_PARENT_ID = 3

cdef u8[16] ZEROS

cdef struct SpanFields:
    Slice trace_id
    Slice span_id
    Slice parent_id
    Slice trace_state
    Slice name
    Slice status         # p is NULL where there is none
    u64 start
    u64 end
    u32 flags
    int32_t kind
    u32 dropped_attributes
    u32 dropped_events
    u32 dropped_links
    const u8 *attributes  # the first field of each list; e where there is none
    const u8 *events
    const u8 *links


cdef int read_span(const u8 *p, const u8 *e, SpanFields *s) noexcept nogil:
    cdef u32 seen = 0
    cdef u32 field
    cdef u8 tag
    cdef bint minimal = True
    cdef Slice data
    cdef int rc
    memset(s, 0, sizeof(SpanFields))
    s.attributes = s.events = s.links = e
    while p < e:
        tag = p[0]
        if usual(tag == 0x4A):
            if s.attributes == e:
                s.attributes = p
            p += 1
            rc = slice_of(&p, e, &data, &minimal)
            if rc:
                return rc
            continue
        p += 1
        if rare(tag == 0x85):
            if p == e or p[0] != 0x01:
                return UNKNOWN_FIELD
            p += 1
            field = 16
            rc = fixed32(&p, e, &s.flags)
        elif tag == 0x0A:
            field = 1
            rc = slice_of(&p, e, &s.trace_id, &minimal)
        elif tag == 0x12:
            field = 2
            rc = slice_of(&p, e, &s.span_id, &minimal)
        elif tag == 0x22:
            field = 4
            rc = slice_of(&p, e, &s.parent_id, &minimal)
        elif tag == 0x2A:
            field = 5
            rc = slice_of(&p, e, &s.name, &minimal)
        elif tag == 0x30:
            field = 6
            rc = int32_of(&p, e, &s.kind, &minimal)
        elif tag == 0x39:
            field = 7
            rc = fixed64(&p, e, &s.start)
        elif tag == 0x41:
            field = 8
            rc = fixed64(&p, e, &s.end)
        elif tag == 0x7A:
            field = 15
            rc = slice_of(&p, e, &s.status, &minimal)
        elif tag == 0x5A or tag == 0x6A:
            if tag == 0x5A and s.events == e:
                s.events = p - 1
            if tag == 0x6A and s.links == e:
                s.links = p - 1
            rc = slice_of(&p, e, &data, &minimal)
            if rc:
                return rc
            continue
        elif tag == 0x1A:
            field = 3
            rc = slice_of(&p, e, &s.trace_state, &minimal)
        elif tag == 0x50:
            field = 10
            rc = uint32_of(&p, e, &s.dropped_attributes, &minimal)
        elif tag == 0x60:
            field = 12
            rc = uint32_of(&p, e, &s.dropped_events, &minimal)
        elif tag == 0x70:
            field = 14
            rc = uint32_of(&p, e, &s.dropped_links, &minimal)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
        if seen >> field & 1:
            return REPEATED
        seen |= <u32>1 << field
    return OK


cdef inline bint all_zero(Slice *id_) noexcept nogil:
    return memcmp(id_.p, ZEROS, id_.n) == 0


cdef inline int check_ids(SpanFields *s) noexcept nogil:
    """0, or why the span is rejected."""
    if rare(s.trace_id.n != 16 or all_zero(&s.trace_id)):
        return BAD_TRACE_ID
    if rare(s.span_id.n != 8 or all_zero(&s.span_id)):
        return BAD_SPAN_ID
    if rare(s.parent_id.n != 8 and s.parent_id.n != 0):
        return BAD_PARENT_ID
    return 0


cdef void put_kind(Buf *b, int32_t kind) noexcept nogil:
    """A text field; 24 bytes."""
    cdef size_t opened
    if kind == 1:
        put_bytes(b, <const u8 *>b"\0\0\0\x08internal", 12)
    elif kind == 2:
        put_bytes(b, <const u8 *>b"\0\0\0\x06server", 10)
    elif kind == 3:
        put_bytes(b, <const u8 *>b"\0\0\0\x06client", 10)
    elif kind == 4:
        put_bytes(b, <const u8 *>b"\0\0\0\x08producer", 12)
    elif kind == 5:
        put_bytes(b, <const u8 *>b"\0\0\0\x08consumer", 12)
    elif kind == 0:
        put_bytes(b, <const u8 *>b"\0\0\0\x0bunspecified", 15)
    else:
        opened = open_field(b)
        put_signed(b, kind)
        close_field(b, opened)


cdef int encode_span(Request *r, const u8 *p, const u8 *e) noexcept nogil:
    cdef SpanFields s
    cdef Buf *b = &r.rows
    cdef size_t before = b.len
    cdef u64 filed, duration
    cdef int reason, rc
    cdef bint late, long_, raw_attributes, raw_events, raw_links
    cdef bint failed = False
    rc = read_span(p, e, &s)
    if rc:
        return rc
    reason = check_ids(&s)
    late = s.start < r.window_start or s.start >= r.window_end or s.start == 0
    filed = r.filing_ns if rare(late) else s.start
    duration = s.end - s.start
    long_ = s.end < s.start or duration > INT8_MAX
    if rare(long_):
        duration = 0 if s.end < s.start else INT8_MAX

    if rare(reserve(b, r.prefix.len + s.name.n + 256)):
        return NO_MEMORY
    put_bytes(b, r.prefix.data, r.prefix.len)
    if usual(reason == 0):
        put_uuid(b, s.trace_id.p)
        put32(tail(b), 8)
        b.len += 4
        put_bytes(b, s.span_id.p, 8)
        if s.parent_id.n == 0 or all_zero(&s.parent_id):
            put_null(b)
        else:
            put32(tail(b), 8)
            b.len += 4
            put_bytes(b, s.parent_id.p, 8)
    rc = add_text(b, s.name.p, s.name.n)
    if rc:
        return rc
    if rare(reserve(b, 128)):
        return NO_MEMORY
    put_kind(b, s.kind)
    put_time(b, filed)
    put_float8(b, milliseconds(duration))
    put_int8(b, duration)
    put_int8(b, s.flags)

    rc = add_jsonb_object(r, b, s.attributes, e, 0x4A, NO_NAMES)
    if rc:
        return rc
    raw_attributes = not r.exact
    raw_events = raw_links = False
    if s.events == e:
        rc = add_bytes(b, <const u8 *>b"\0\0\0\x03\x01[]", 7)
    else:
        rc = add_events(r, b, s.events, e)
        raw_events = not r.exact
    if rc:
        return rc
    if usual(s.links == e):
        rc = add_bytes(b, <const u8 *>b"\0\0\0\x03\x01[]", 7)
    else:
        rc = add_links(r, b, s.links, e)
        raw_links = not r.exact
    if rc:
        return rc
    rc = add_status(b, &s.status, &failed)
    if rc:
        return rc

    if usual(not (
        raw_attributes or raw_events or raw_links or s.trace_state.n or late or long_
        or s.dropped_attributes or s.dropped_events or s.dropped_links
    )):
        if rare(reserve(b, 36)):
            return NO_MEMORY
        memset(tail(b), 0xFF, 36)
        b.len += 36
    else:
        rc = add_bytes_or_null(b, raw_attributes, C_PAIR, s.attributes, e, 0x4A, 0x0A)
        if rc:
            return rc
        rc = add_bytes_or_null(b, raw_events, C_EVENT, s.events, e, 0x5A, 0x5A)
        if rc:
            return rc
        rc = add_bytes_or_null(b, raw_links, C_LINK, s.links, e, 0x6A, 0x6A)
        if rc:
            return rc
        rc = add_optional_text(b, s.trace_state.p, s.trace_state.n)
        if rc:
            return rc
        if reserve(b, 96):
            return NO_MEMORY
        put_count(b, s.dropped_attributes)
        put_count(b, s.dropped_events)
        put_count(b, s.dropped_links)
        put_original(b, late, s.start)
        put_original(b, long_, s.end)

    if rare(reason != 0):
        b.len = before
        reject(r, reason)
        return OK
    r.items += 1
    r.row_count += 1
    return count_span(r, filed, s.name.p, s.name.n, s.kind, duration, failed)


cdef inline int add_bytes_or_null(
    Buf *b, bint given, int kind, const u8 *p, const u8 *e, u8 tag, u8 new_tag
) noexcept nogil:
    if given:
        return add_raw(b, kind, p, e, tag, new_tag)
    return add_null(b)


cdef inline void put_original(Buf *b, bint given, u64 time) noexcept nogil:
    """A numeric field; 24 bytes."""
    if given:
        put_numeric(b, time)
    else:
        put_null(b)


cdef int add_status(Buf *b, Slice *status, bint *failed) noexcept nogil:
    """The fields status, status_message, status_code."""
    cdef const u8 *p = status.p
    cdef const u8 *e = status.p + status.n
    cdef Slice message
    cdef bint has_message = False
    cdef bint has_code = False
    cdef bint minimal = True
    cdef int32_t code = 0
    cdef int rc
    if reserve(b, 32):
        return NO_MEMORY
    if p == NULL:
        put_bytes(b, <const u8 *>b"\0\0\0\x05unset\xff\xff\xff\xff\xff\xff\xff\xff", 17)
        return OK
    message.p = p
    message.n = 0
    while p < e:
        if p[0] == 0x12 and not has_message:
            has_message = True
            p += 1
            rc = slice_of(&p, e, &message, &minimal)
        elif p[0] == 0x18 and not has_code:
            has_code = True
            p += 1
            rc = int32_of(&p, e, &code, &minimal)
        else:
            return REPEATED if p[0] == 0x12 or p[0] == 0x18 else UNKNOWN_FIELD
        if rc:
            return rc
    failed[0] = code == 2
    if code == 1:
        put_bytes(b, <const u8 *>b"\0\0\0\x02ok", 6)
    elif code == 2:
        put_bytes(b, <const u8 *>b"\0\0\0\x05error", 9)
    else:
        put_bytes(b, <const u8 *>b"\0\0\0\x05unset", 9)
    rc = add_text(b, message.p, message.n)
    if rc:
        return rc
    if reserve(b, 8):
        return NO_MEMORY
    if 0 <= code <= 2:
        put_null(b)
    else:
        put_int4(b, code)
    return OK
