# LogRecord → a tuple of service_logs: what logs.py does.

cdef enum:
    LOG_FIELDS = 26

# Why records are rejected; the order is that of REASONS in native.py.
cdef enum:
    BAD_LOG_TRACE_ID = 4
    BAD_LOG_SPAN_ID = 5

cdef struct LogFields:
    Slice trace_id
    Slice span_id
    Slice severity_text
    Slice event_name
    Slice body            # p is NULL where there is none
    u64 time
    u64 observed
    u32 flags
    u32 dropped
    int32_t severity
    const u8 *attributes  # the first field; e where there is none


cdef int read_log(const u8 *p, const u8 *e, LogFields *s) noexcept nogil:
    cdef u32 seen = 0
    cdef u32 field
    cdef u8 tag
    cdef bint minimal = True
    cdef Slice data
    cdef int rc
    memset(s, 0, sizeof(LogFields))
    s.attributes = e
    while p < e:
        tag = p[0]
        p += 1
        if usual(tag == 0x32):
            if s.attributes == e:
                s.attributes = p - 1
            rc = slice_of(&p, e, &data, &minimal)
            if rc:
                return rc
            continue
        field = tag >> 3
        if tag == 0x09:
            rc = fixed64(&p, e, &s.time)
        elif tag == 0x59:
            rc = fixed64(&p, e, &s.observed)
        elif tag == 0x10:
            rc = int32_of(&p, e, &s.severity, &minimal)
        elif tag == 0x1A:
            rc = slice_of(&p, e, &s.severity_text, &minimal)
        elif tag == 0x2A:
            rc = slice_of(&p, e, &s.body, &minimal)
        elif tag == 0x38:
            rc = uint32_of(&p, e, &s.dropped, &minimal)
        elif tag == 0x45:
            rc = fixed32(&p, e, &s.flags)
        elif tag == 0x4A:
            rc = slice_of(&p, e, &s.trace_id, &minimal)
        elif tag == 0x52:
            rc = slice_of(&p, e, &s.span_id, &minimal)
        elif tag == 0x62:
            rc = slice_of(&p, e, &s.event_name, &minimal)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
        if seen >> field & 1:
            return REPEATED
        seen |= <u32>1 << field
    return OK


cdef inline bint is_id(Slice *id_, size_t size) noexcept nogil:
    """Whether an id of the right length is given: empty and all-zero ones are not."""
    return id_.n == size and not all_zero(id_)


cdef inline void put_id(Buf *b, Slice *id_, bint given) noexcept nogil:
    if given:
        put32(tail(b), <u32>id_.n)
        b.len += 4
        put_bytes(b, id_.p, id_.n)
    else:
        put_null(b)


cdef int encode_log(Request *r, const u8 *p, const u8 *e) noexcept nogil:
    cdef LogFields s
    cdef Buf *b = &r.rows
    cdef size_t before = b.len
    cdef size_t json, json_end
    cdef u64 filed, original = 0
    cdef bint late = True
    cdef bint raw_attributes, raw_body, has_trace
    cdef int reason = 0, level = INFO, rc
    rc = read_log(p, e, &s)
    if rc:
        return rc
    if rare(s.trace_id.n != 16 and s.trace_id.n != 0):
        reason = BAD_LOG_TRACE_ID
    elif rare(s.span_id.n != 8 and s.span_id.n != 0):
        reason = BAD_LOG_SPAN_ID
    if usual(s.time != 0):
        late = s.time < r.window_start or s.time >= r.window_end
        filed = r.filing_ns if late else s.time
        original = s.time
    elif s.observed and r.window_start <= s.observed < r.window_end:
        filed = s.observed
    else:
        filed = r.filing_ns
    rc = check_text(s.severity_text.p, s.severity_text.n)
    if rc == OK:
        rc = level_of(s.severity, s.severity_text.p, s.severity_text.n, &level)
    if rc:
        return rc

    if rare(reserve(b, r.prefix.len + s.severity_text.n + 256)):
        return NO_MEMORY
    put_bytes(b, r.prefix.data, r.prefix.len)
    has_trace = is_id(&s.trace_id, 16)
    put_id(b, &s.trace_id, has_trace)
    put_id(b, &s.span_id, is_id(&s.span_id, 8))
    put_level(b, level)
    put_time(b, filed)
    put_int4(b, s.severity)
    put_int8(b, s.flags)
    if s.observed:
        put_time(b, s.observed)
    else:
        put_null(b)
        put_null(b)
    rc = add_optional_text(b, s.severity_text.p, s.severity_text.n)
    if rc:
        return rc

    # The message stands before the attributes, the body after them.
    rc = add_message(r, b, &s.body, &json, &json_end)
    if rc:
        return rc
    raw_body = s.body.p != NULL and json != ABSENT and not r.exact
    begin_hits(r)
    rc = add_jsonb_object(r, b, s.attributes, e, 0x32, LOG_NAMES)
    if rc:
        return rc
    raw_attributes = not r.exact
    rc = add_code_attributes(r, b)
    if rc:
        return rc
    rc = add_body(b, json, json_end)
    if rc:
        return rc
    rc = add_raw_message(b, C_VALUE, s.body.p, s.body.p + s.body.n) if raw_body else add_null(b)
    if rc:
        return rc
    rc = add_bytes_or_null(b, raw_attributes, C_PAIR, s.attributes, e, 0x32, 0x0A)
    if rc:
        return rc
    rc = add_optional_text(b, s.event_name.p, s.event_name.n)
    if rc:
        return rc
    if reserve(b, 40):
        return NO_MEMORY
    put_count(b, s.dropped)
    put_original(b, late, original)

    if rare(reason != 0):
        b.len = before
        reject(r, reason)
        return OK
    r.items += 1
    r.row_count += 1
    return count_log(r, filed, level, s.trace_id.p if has_trace else NULL)


cdef int add_message(Request *r, Buf *b, Slice *body, size_t *json, size_t *json_end) noexcept nogil:
    """The field message. `json` and `json_end` say where the body's JSON stands in it, when it is no string: ABSENT for
    a string, or none; equal for one without a value. `r.exact` says whether its encoding is needed beside it."""
    cdef const u8 *p = body.p
    cdef const u8 *e = body.p + body.n
    cdef Slice text
    cdef size_t opened
    cdef int rc
    json[0] = json_end[0] = ABSENT
    begin_list(r)
    if body.p == NULL:
        return add_null(b)
    if usual(body.n and p[0] == STRING_VALUE):
        p += 1
        rc = slice_of(&p, e, &text, &r.canonical)
        if rc:
            return rc
        if p != e:
            return REPEATED
        return add_text(b, text.p, text.n)
    if body.n == 0:
        r.exact = False
        json[0] = json_end[0] = 0
        return add_null(b)
    if reserve(b, 4):
        return NO_MEMORY
    opened = open_field(b)
    json[0] = b.len
    rc = add_value(r, b, p, e, 0)
    if rc:
        return rc
    json_end[0] = b.len
    close_field(b, opened)
    return OK


cdef int add_body(Buf *b, size_t json, size_t json_end) noexcept nogil:
    """The field body: the JSON of a message that is no string, once more."""
    if json == json_end:
        return add_null(b)
    if reserve(b, json_end - json + 5):
        return NO_MEMORY
    put32(tail(b), <u32>(json_end - json + 1))
    b.len += 4
    put_byte(b, 1)
    put_bytes(b, b.data + json, json_end - json)
    return OK


cdef int add_code_attributes(Request *r, Buf *b) noexcept nogil:
    """The fields parent_span_id, source_file, source_line, as attributes give them."""
    cdef Slice text
    cdef i64 line = 0
    cdef bint given = False
    cdef u8[8] parent
    cdef int rc
    if reserve(b, 32):
        return NO_MEMORY
    rc = text_hit(&r.hits[PARENT_SPAN_ID], &text)
    if rc == UNUSUAL_VALUE and r.hits[PARENT_SPAN_ID].value.p[0] != BYTES_VALUE:
        text.n = 0
    elif rc:
        return rc
    if text.n == 16 and parse_id(text.p, parent):
        put32(tail(b), 8)
        b.len += 4
        put_bytes(b, parent, 8)
    else:
        put_null(b)

    rc = text_hit(&r.hits[CODE_FILE_PATH], &text)
    if rc == OK and text.n == 0:
        rc = text_hit(&r.hits[CODE_FILEPATH], &text)
    if rc:
        return rc
    rc = add_optional_text(b, text.p, text.n)
    if rc:
        return rc

    rc = line_of(&r.hits[CODE_LINE_NUMBER], &line, &given)
    if rc == OK and not given:
        rc = line_of(&r.hits[CODE_LINENO], &line, &given)
    if rc:
        return rc
    if reserve(b, 8):
        return NO_MEMORY
    if given:
        put_int4(b, line)
    else:
        put_null(b)
    return OK


cdef int text_hit(Hit *h, Slice *text) noexcept nogil:
    """The text of an attribute; empty when it is not there or not set."""
    cdef const u8 *p = h.value.p
    cdef bint minimal = True
    text.p = p
    text.n = 0
    if p == NULL or h.value.n == 0:
        return OK
    if p[0] != STRING_VALUE:
        return UNUSUAL_VALUE
    p += 1
    return slice_of(&p, h.value.p + h.value.n, text, &minimal)


cdef int line_of(Hit *h, i64 *line, bint *given) noexcept nogil:
    """A line number that fits int4, from a number or from digits."""
    cdef const u8 *p = h.value.p
    cdef const u8 *e = p + h.value.n if p != NULL else p
    cdef Slice text
    cdef bint minimal = True
    cdef u64 number = 0
    cdef size_t i
    cdef int rc
    if p == e:
        return OK
    if p[0] == BYTES_VALUE:
        return UNUSUAL_VALUE
    if p[0] == INT_VALUE:
        p += 1
        rc = varint(&p, e, &number, &minimal)
        if rc:
            return rc
    elif p[0] == STRING_VALUE:
        rc = text_hit(h, &text)
        if rc or not 0 < text.n <= 10:
            return rc
        for i in range(text.n):
            if not c'0' <= text.p[i] <= c'9':
                return OK
            number = number * 10 + (text.p[i] - c'0')
    else:
        return OK
    if number <= <u64>0x7FFFFFFF or number >= <u64>0xFFFFFFFF80000000:
        line[0] = <i64>number
        given[0] = True
    return OK


cdef bint parse_id(const u8 *p, u8 *out) noexcept nogil:
    """Eight bytes from 16 hex digits; False for anything else, and for zeros."""
    cdef int i, digit
    cdef u8 c, any_ = 0
    for i in range(16):
        c = p[i]
        if c'0' <= c <= c'9':
            digit = c - c'0'
        elif c'a' <= (c | 0x20) <= c'f':
            digit = (c | 0x20) - c'a' + 10
        else:
            return False
        if i & 1:
            out[i >> 1] = <u8>(out[i >> 1] | digit)
            any_ |= out[i >> 1]
        else:
            out[i >> 1] = <u8>(digit << 4)
    return any_ != 0
