# Events and links of a span as jsonb. Afterwards `r.exact` says whether their raw encoding is needed.

cdef inline int key_text(Buf *b, const char *text, size_t n) noexcept nogil:
    """A piece of JSON that is always the same, and room for a number after it."""
    if rare(reserve(b, n + NUMBER_SIZE)):
        return NO_MEMORY
    put_bytes(b, <const u8 *>text, n)
    return OK


cdef int add_event(Request *r, Buf *b, const u8 *p, const u8 *e) noexcept nogil:
    cdef Slice name, data
    cdef const u8 *attributes = e
    cdef u64 time = 0
    cdef u32 dropped = 0, seen = 0, field
    cdef u8 tag
    cdef int rc
    name.p = p
    name.n = 0
    while p < e:
        tag = p[0]
        field = tag >> 3
        if tag == 0x1A:
            if attributes == e:
                attributes = p
        elif seen >> field & 1:
            return REPEATED
        seen |= <u32>1 << field
        p += 1
        if tag == 0x1A:
            rc = slice_of(&p, e, &data, &r.canonical)
        elif tag == 0x12:
            rc = slice_of(&p, e, &name, &r.canonical)
        elif tag == 0x09:
            rc = fixed64(&p, e, &time)
        elif tag == 0x20:
            rc = uint32_of(&p, e, &dropped, &r.canonical)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
    rc = key_text(b, '{"name":', 8)
    if rc:
        return rc
    rc = add_json_text(b, name.p, name.n)
    if rc:
        return rc
    rc = key_text(b, ',"time_unix_nano":', 18)
    if rc:
        return rc
    put_unsigned(b, time)
    rc = key_text(b, ',"attributes":', 14)
    if rc:
        return rc
    rc = add_object(r, b, attributes, e, 0x1A, 0, NO_NAMES)
    if rc:
        return rc
    if dropped:
        rc = key_text(b, ',"dropped_attributes_count":', 28)
        if rc:
            return rc
        put_unsigned(b, dropped)
    return key_text(b, '}', 1)


cdef int add_link(Request *r, Buf *b, const u8 *p, const u8 *e) noexcept nogil:
    cdef Slice trace_id, span_id, trace_state, data
    cdef const u8 *attributes = e
    cdef u32 dropped = 0, flags = 0, seen = 0, field
    cdef u8 tag
    cdef int rc
    trace_id.p = span_id.p = trace_state.p = p
    trace_id.n = span_id.n = trace_state.n = 0
    while p < e:
        tag = p[0]
        field = tag >> 3
        if tag == 0x22:
            if attributes == e:
                attributes = p
        elif seen >> field & 1:
            return REPEATED
        seen |= <u32>1 << field
        p += 1
        if tag == 0x0A:
            rc = slice_of(&p, e, &trace_id, &r.canonical)
        elif tag == 0x12:
            rc = slice_of(&p, e, &span_id, &r.canonical)
        elif tag == 0x1A:
            rc = slice_of(&p, e, &trace_state, &r.canonical)
        elif tag == 0x22:
            rc = slice_of(&p, e, &data, &r.canonical)
        elif tag == 0x28:
            rc = uint32_of(&p, e, &dropped, &r.canonical)
        elif tag == 0x35:
            rc = fixed32(&p, e, &flags)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
    rc = key_text(b, '{"trace_id":', 12)
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
    rc = key_text(b, ',"attributes":', 14)
    if rc:
        return rc
    rc = add_object(r, b, attributes, e, 0x22, 0, NO_NAMES)
    if rc:
        return rc
    if trace_state.n:
        rc = key_text(b, ',"trace_state":', 15)
        if rc:
            return rc
        rc = add_json_text(b, trace_state.p, trace_state.n)
        if rc:
            return rc
    if dropped:
        rc = key_text(b, ',"dropped_attributes_count":', 28)
        if rc:
            return rc
        put_unsigned(b, dropped)
    if flags:
        rc = key_text(b, ',"flags":', 9)
        if rc:
            return rc
        put_unsigned(b, flags)
    return key_text(b, '}', 1)


cdef int add_items(Request *r, Buf *b, const u8 *p, const u8 *e, u8 tag) noexcept nogil:
    """A jsonb field with the events (tag 0x5A) or links (0x6A)."""
    cdef Slice item
    cdef bint found = False
    cdef bint more = False
    cdef bint padded = False  # the length of an item, as in add_pairs
    cdef size_t opened
    cdef int rc
    if reserve(b, 8):
        return NO_MEMORY
    begin_list(r)
    opened = open_field(b)
    put_byte(b, 1)
    put_byte(b, c'[')
    while True:
        rc = next_of(&p, e, tag, &item, &found, &padded)
        if rc:
            return rc
        if not found:
            break
        if more:
            put_byte(b, c',')  # there is room: key_text left some
        more = True
        if tag == 0x5A:
            rc = add_event(r, b, item.p, item.p + item.n)
        else:
            rc = add_link(r, b, item.p, item.p + item.n)
        if rc:
            return rc
    if reserve(b, 1):
        return NO_MEMORY
    put_byte(b, c']')
    close_field(b, opened)
    return OK


cdef inline int add_events(Request *r, Buf *b, const u8 *p, const u8 *e) noexcept nogil:
    return add_items(r, b, p, e, 0x5A)


cdef inline int add_links(Request *r, Buf *b, const u8 *p, const u8 *e) noexcept nogil:
    return add_items(r, b, p, e, 0x6A)
