# OTLP values as JSON, in one pass over the wire: what values.py does. While a list is written, `r.exact` and
# `r.canonical` say what is true of it; whoever begins a list sets both, and looks at them at the end.

cdef enum:
    NO_NAMES = 0
    RESOURCE_NAMES = 1
    LOG_NAMES = 2

# The places of RESOURCE_NAMES and LOG_NAMES in `r.hits`
cdef enum:
    SERVICE_NAME = 0
    SERVICE_NAMESPACE = 1
    SERVICE_VERSION = 2
    SERVICE_INSTANCE = 3
    SDK_LANGUAGE = 4
cdef enum:
    PARENT_SPAN_ID = 0
    CODE_FILE_PATH = 1
    CODE_FILEPATH = 2
    CODE_LINE_NUMBER = 3
    CODE_LINENO = 4

# Tags of AnyValue
cdef enum:
    STRING_VALUE = 0x0A
    BOOL_VALUE = 0x10
    INT_VALUE = 0x18
    DOUBLE_VALUE = 0x21
    ARRAY_VALUE = 0x2A
    KVLIST_VALUE = 0x32
    BYTES_VALUE = 0x3A
    STRINDEX_VALUE = 0x40


cdef inline bint same(const u8 *p, const char *name, size_t n) noexcept nogil:
    return memcmp(p, name, n) == 0


cdef inline int place_of(int names, const u8 *p, size_t n) noexcept nogil:
    """The place in `r.hits` of an attribute that is looked for; -1 for any other."""
    if names == LOG_NAMES:
        if n == 14:
            if same(p, "code.file.path", 14):
                return CODE_FILE_PATH
            if same(p, "parent_span_id", 14):
                return PARENT_SPAN_ID
        elif n == 13 and same(p, "code.filepath", 13):
            return CODE_FILEPATH
        elif n == 16 and same(p, "code.line.number", 16):
            return CODE_LINE_NUMBER
        elif n == 11 and same(p, "code.lineno", 11):
            return CODE_LINENO
        return -1
    if n == 12 and same(p, "service.name", 12):
        return SERVICE_NAME
    if n == 17 and same(p, "service.namespace", 17):
        return SERVICE_NAMESPACE
    if n == 15 and same(p, "service.version", 15):
        return SERVICE_VERSION
    if n == 19 and same(p, "service.instance.id", 19):
        return SERVICE_INSTANCE
    if n == 22 and same(p, "telemetry.sdk.language", 22):
        return SDK_LANGUAGE
    return -1


cdef inline void begin_list(Request *r) noexcept nogil:
    r.exact = True
    r.canonical = True


cdef inline void begin_hits(Request *r) noexcept nogil:
    cdef int i
    for i in range(HITS):
        r.hits[i].value.p = NULL


cdef int add_double_value(Request *r, Buf *b, double value) noexcept nogil:
    """values.json_double"""
    if reserve(b, NUMBER_SIZE):
        return NO_MEMORY
    if 1e-16 <= value < 1e16 or -1e16 < value <= -1e-16:
        put_double(b, value)
        return OK
    if value != value:
        put_bytes(b, <const u8 *>b'"NaN"', 5)
    elif value > 1.7976931348623157e308:
        put_bytes(b, <const u8 *>b'"Infinity"', 10)
    elif value < -1.7976931348623157e308:
        put_bytes(b, <const u8 *>b'"-Infinity"', 11)
    else:
        put_double(b, value)
        if double_bits(value) == 0:
            return OK
    r.exact = False
    return OK


cdef int add_value(Request *r, Buf *b, const u8 *p, const u8 *e, int depth) noexcept nogil:
    """An AnyValue."""
    cdef u8 tag
    cdef Slice inner
    cdef u64 number = 0
    cdef bint flag = False
    cdef int rc
    if rare(p == e):
        r.exact = False
        if reserve(b, 4):
            return NO_MEMORY
        put_bytes(b, <const u8 *>b"null", 4)
        return OK
    tag = p[0]
    p += 1
    if usual(tag == STRING_VALUE):
        rc = slice_of(&p, e, &inner, &r.canonical)
        if rc:
            return rc
        rc = add_json_text(b, inner.p, inner.n)
    elif tag == INT_VALUE:
        rc = varint(&p, e, &number, &r.canonical)
        if rc:
            return rc
        rc = reserve(b, NUMBER_SIZE)
        if rc:
            return rc
        put_signed(b, <i64>number)
    elif tag == BOOL_VALUE:
        rc = bool_of(&p, e, &flag, &r.canonical)
        if rc:
            return rc
        rc = add_bytes(b, <const u8 *>b"true" if flag else <const u8 *>b"false", 4 if flag else 5)
    elif tag == DOUBLE_VALUE:
        rc = fixed64(&p, e, &number)
        if rc:
            return rc
        rc = add_double_value(r, b, bits_double(number))
    elif tag == ARRAY_VALUE:
        rc = slice_of(&p, e, &inner, &r.canonical)
        if rc:
            return rc
        rc = add_array(r, b, inner.p, inner.p + inner.n, depth + 2)
    elif tag == KVLIST_VALUE:
        rc = slice_of(&p, e, &inner, &r.canonical)
        if rc:
            return rc
        rc = add_list(r, b, inner.p, inner.p + inner.n, depth + 3)
    elif tag == BYTES_VALUE:
        rc = slice_of(&p, e, &inner, &r.canonical)
        if rc:
            return rc
        r.exact = False
        rc = add_base64(b, inner.p, inner.n)
    elif tag == STRINDEX_VALUE:
        return STRING_TABLE
    else:
        return UNKNOWN_FIELD
    if rare(rc != OK):
        return rc
    return OK if usual(p == e) else REPEATED


cdef int add_array(Request *r, Buf *b, const u8 *p, const u8 *e, int depth) noexcept nogil:
    """An ArrayValue."""
    cdef Slice value
    cdef bint more = False
    cdef int rc
    if depth > MAX_DEPTH:
        return TOO_DEEP
    if reserve(b, 2):
        return NO_MEMORY
    put_byte(b, c'[')
    while p < e:
        if p[0] != 0x0A:
            return UNKNOWN_FIELD
        p += 1
        rc = slice_of(&p, e, &value, &r.canonical)
        if rc:
            return rc
        if more:
            put_byte(b, c',')
        more = True
        rc = add_value(r, b, value.p, value.p + value.n, depth)
        if rc:
            return rc
        if reserve(b, 2):
            return NO_MEMORY
    put_byte(b, c']')
    return OK


cdef inline int split_pair(Request *r, Slice *pair, Slice *key, Slice *value) noexcept nogil:
    """Key and value of a KeyValue. Empty ones have a p, too, but for a value that is not there."""
    cdef const u8 *p = pair.p
    cdef const u8 *e = pair.p + pair.n
    cdef int rc
    cdef bint has_key = False
    key.p = pair.p
    key.n = 0
    value.p = NULL
    value.n = 0
    while p < e:
        if usual(p[0] == 0x0A):
            if has_key:
                return REPEATED
            has_key = True
            p += 1
            rc = slice_of(&p, e, key, &r.canonical)
            if rc:
                return rc
            if key.n == 0 or value.p != NULL:
                r.canonical = False
        elif usual(p[0] == 0x12):
            if value.p != NULL:
                return REPEATED
            p += 1
            rc = slice_of(&p, e, value, &r.canonical)
            if rc:
                return rc
        else:
            return STRING_TABLE if p[0] == 0x18 else UNKNOWN_FIELD
    return OK


cdef inline int split_usual_pair(Request *r, Slice *pair, Slice *key, Slice *value) noexcept nogil:
    """The same, with one look for what nearly all are: a short key, then a short value, and nothing else."""
    cdef size_t n
    if usual(pair.n >= 4 and pair.p[0] == 0x0A and 0 < pair.p[1] < 0x80):
        n = pair.p[1]
        if usual(n + 4 <= pair.n and pair.p[n + 2] == 0x12 and pair.p[n + 3] == pair.n - n - 4 and pair.p[n + 3] < 0x80):
            key.p = pair.p + 2
            key.n = n
            value.p = key.p + n + 2
            value.n = pair.n - n - 4
            return OK
    return split_pair(r, pair, key, value)


cdef inline int add_usual_value(Request *r, Buf *b, Slice *value, int depth) noexcept nogil:
    """An AnyValue, with one look for what most are: a short text."""
    if usual(value.n >= 2 and value.p[0] == STRING_VALUE and value.p[1] == value.n - 2 and value.p[1] < 0x80):
        return add_json_text(b, value.p + 2, value.n - 2)
    return add_value(r, b, value.p, value.p + value.n, depth)


cdef int add_pairs(
    Request *r, Buf *b, const u8 *p, const u8 *e, u8 tag, int depth, int names, Keys *keys
) noexcept nogil:
    cdef Slice pair, key, value
    cdef bint found = False
    cdef bint more = False
    cdef bint padded = False  # the length of an entry: some exporters pad it. It is neither hashed nor kept; see add_raw
    cdef int rc, place
    cdef size_t begin
    if reserve(b, 2):
        return NO_MEMORY
    put_byte(b, c'{')
    while True:
        rc = next_of(&p, e, tag, &pair, &found, &padded)
        if rc:
            return rc
        if not found:
            break
        rc = split_usual_pair(r, &pair, &key, &value)
        if rc:
            return rc
        rc = add_key(keys, key.p, key.n)
        if rc:
            return rc
        if more:
            put_byte(b, c',')
        more = True
        rc = add_json_text(b, key.p, key.n)
        if rc:
            return rc
        put_byte(b, c':')
        begin = b.len
        rc = add_usual_value(r, b, &value, depth)
        if rc:
            return rc
        if names:
            place = place_of(names, key.p, key.n)
            if rare(place >= 0):
                r.hits[place].value = value
                r.hits[place].json = begin
                r.hits[place].json_size = b.len - begin
        if reserve(b, 2):
            return NO_MEMORY
    put_byte(b, c'}')
    return OK


cdef int add_object(
    Request *r, Buf *b, const u8 *p, const u8 *e, u8 tag, int depth, int names
) noexcept nogil:
    """The KeyValues in the fields with this tag as a JSON object. Other fields between are passed over: whoever calls
    this has looked at them."""
    cdef Keys keys
    cdef int rc
    begin_keys(&keys)
    rc = add_pairs(r, b, p, e, tag, depth, names, &keys)
    end_keys(&keys)
    return rc


cdef int add_list(Request *r, Buf *b, const u8 *p, const u8 *e, int depth) noexcept nogil:
    """A KeyValueList that is a value."""
    cdef const u8 *at = p
    cdef Slice pair
    cdef int rc
    if depth > MAX_DEPTH:
        return TOO_DEEP
    while at < e:
        if at[0] != 0x0A:
            return UNKNOWN_FIELD
        at += 1
        rc = slice_of(&at, e, &pair, &r.canonical)
        if rc:
            return rc
    return add_object(r, b, p, e, 0x0A, depth, NO_NAMES)


cdef int add_raw(Buf *b, const u8 *p, const u8 *e, u8 tag, u8 new_tag) noexcept nogil:
    """A bytea field: the fields with this tag as fields of another message, in canonical form themselves."""
    cdef Slice data
    cdef bint found = False
    cdef bint minimal = True
    cdef int rc
    cdef size_t opened
    if reserve(b, 4):
        return NO_MEMORY
    opened = open_field(b)
    while True:
        rc = next_of(&p, e, tag, &data, &found, &minimal)
        if rc:
            return rc
        if not found:
            break
        if reserve(b, data.n + 11):
            return NO_MEMORY
        put_byte(b, new_tag)
        put_varint(b, data.n)
        put_bytes(b, data.p, data.n)
    close_field(b, opened)
    return OK


cdef inline int add_jsonb_object(
    Request *r, Buf *b, const u8 *p, const u8 *e, u8 tag, int names
) noexcept nogil:
    """A jsonb field of an attribute list. Afterwards `r.exact` says whether its raw encoding is needed; where it is,
    the list is canonical."""
    cdef size_t opened
    cdef int rc
    if reserve(b, 8):
        return NO_MEMORY
    begin_list(r)
    opened = open_field(b)
    put_byte(b, 1)
    rc = add_object(r, b, p, e, tag, 0, names)
    if rc:
        return rc
    close_field(b, opened)
    return OK if r.exact or r.canonical else NOT_CANONICAL
