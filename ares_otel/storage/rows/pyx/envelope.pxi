# The way through a request: resources, scopes, and for each item the signal's own function. What envelope.walk does.
# The three signals have the same field numbers down to their items.

ctypedef int (*ItemFunction)(Request *r, const u8 *p, const u8 *e) noexcept nogil

cdef struct Signal:
    ItemFunction item  # writes the rows of one item: a span, a log record, a metric
    int fields         # of a tuple; 0 where the signal writes its own prefix
    bint points        # whether items count by the points within (metrics)

cdef struct Outer:      # a ResourceSpans or ScopeSpans, and those of the other signals
    Slice head          # the resource or scope; p is NULL where there is none
    Slice schema_url
    const u8 *first     # the first field that holds a scope or an item
    u64 count           # of those fields


cdef int read_outer(const u8 *p, const u8 *e, Outer *out) noexcept nogil:
    cdef Slice data
    cdef bint minimal = True
    cdef bint has_url = False
    cdef int rc
    cdef u8 tag
    out.head.p = NULL
    out.head.n = 0
    out.schema_url.p = p
    out.schema_url.n = 0
    out.first = e
    out.count = 0
    while p < e:
        tag = p[0]
        if usual(tag == 0x12):
            if out.count == 0:
                out.first = p
            out.count += 1
        p += 1
        rc = slice_of(&p, e, &data, &minimal)
        if rc:
            return rc
        if usual(tag == 0x12):
            continue
        if tag == 0x0A:
            if out.head.p != NULL:
                return REPEATED
            out.head = data
        elif tag == 0x1A:
            if has_url:
                return REPEATED
            has_url = True
            out.schema_url = data
        else:
            return UNKNOWN_FIELD
    return OK


cdef int write_prefix(Request *r, Signal *signal, Definition *resource, Definition *scope) noexcept nogil:
    """The head of the tuples of a scope: number of fields, shared fields, resource_id, scope_id, service_name."""
    cdef Buf *b = &r.prefix
    cdef int rc = reserve(b, 128 + MAX_LABEL * 4)
    if rc:
        return rc
    b.len = 0
    memcpy(r.resource_id, resource.id, 16)
    memcpy(r.scope_id, scope.id, 16)
    r.service = resource.at[R_NAME]
    r.service_size = resource.size[R_NAME]
    r.service_hash = hash_of(r.side.data + r.service, r.service_size, 1)
    if signal.fields:
        put16(b.data, <u16>signal.fields)
        b.len = 2
        put_bytes(b, r.shared, 20)
        b.len = 22
        put_uuid(b, resource.id)
        put_uuid(b, scope.id)
        put32(tail(b), <u32>r.service_size)
        b.len += 4
        put_bytes(b, r.side.data + r.service, r.service_size)
    return OK


cdef int walk_scope(
    Request *r, Signal *signal, Outer *outer, Definition *resource, bint *defined, const u8 *p, const u8 *e
) noexcept nogil:
    """A ScopeSpans, ScopeLogs or ScopeMetrics. `defined` says whether the resource is in the definitions yet."""
    cdef Outer inner
    cdef Definition scope
    cdef Slice data
    cdef bint found = False
    cdef bint minimal = True
    cdef u64 bytes_before = r.definition_bytes
    cdef size_t side_before = r.side.len
    cdef u64 items
    cdef int rc = read_outer(p, e, &inner)
    if rc:
        return rc
    rc = define_scope(r, &inner.head, &inner.schema_url, &scope)
    if rc:
        return rc
    items = inner.count
    if signal.points and items:
        rc = count_points(inner.first, e, &items)
        if rc:
            return rc
    if items:
        if not defined[0]:
            rc = add_bytes(&r.definitions, <const u8 *>resource, sizeof(Definition))
            if rc:
                return rc
            defined[0] = True
        rc = add_bytes(&r.definitions, <const u8 *>&scope, sizeof(Definition))
        if rc:
            return rc
        if r.definition_bytes > r.max_bytes:
            r.too_large = True
    else:
        r.definition_bytes = bytes_before
        r.side.len = side_before
    if inner.count == 0:
        return OK
    rc = write_prefix(r, signal, resource, &scope)
    if rc:
        return rc
    p = inner.first
    while True:
        rc = next_of(&p, e, 0x12, &data, &found, &minimal)
        if rc:
            return rc
        if not found:
            return OK
        rc = signal.item(r, data.p, data.p + data.n)
        if rc:
            return rc
        if r.rows.len + r.more.len > r.max_bytes and (r.rows.len > r.max_bytes or r.more.len > r.max_bytes):
            r.too_large = True
        if r.too_large:
            r.rows.len = r.more.len = 0


cdef int walk_resource(Request *r, Signal *signal, const u8 *p, const u8 *e) noexcept nogil:
    """A ResourceSpans, ResourceLogs or ResourceMetrics."""
    cdef Outer outer
    cdef Definition resource
    cdef Slice data
    cdef bint found = False
    cdef bint minimal = True
    cdef bint defined = False
    cdef u64 bytes_before = r.definition_bytes
    cdef size_t side_before = r.side.len
    cdef int rc = read_outer(p, e, &outer)
    if rc:
        return rc
    rc = define_resource(r, &outer.head, &outer.schema_url, &resource)
    if rc:
        return rc
    p = outer.first
    while True:
        rc = next_of(&p, e, 0x12, &data, &found, &minimal)
        if rc:
            return rc
        if not found:
            break
        rc = walk_scope(r, signal, &outer, &resource, &defined, data.p, data.p + data.n)
        if rc:
            return rc
    if not defined:
        r.definition_bytes = bytes_before  # nothing but empty scopes
        r.side.len = side_before
    return OK


cdef int walk_request(Request *r, Signal *signal, const u8 *p, const u8 *e) noexcept nogil:
    cdef Slice data
    cdef bint minimal = True
    cdef int rc
    while p < e:
        if p[0] != 0x0A:
            return UNKNOWN_FIELD
        p += 1
        rc = slice_of(&p, e, &data, &minimal)
        if rc:
            return rc
        rc = walk_resource(r, signal, data.p, data.p + data.n)
        if rc:
            return rc
    return OK


cdef int count_points(const u8 *p, const u8 *e, u64 *count) noexcept nogil:
    """Data points in the metrics (fields with tag 0x12) of a ScopeMetrics."""
    cdef Slice metric
    cdef bint found = False
    cdef bint minimal = True
    cdef int rc
    count[0] = 0
    while True:
        rc = next_of(&p, e, 0x12, &metric, &found, &minimal)
        if rc or not found:
            return rc
        rc = count_points_of(metric.p, metric.p + metric.n, count)
        if rc:
            return rc


cdef int count_points_of(const u8 *p, const u8 *e, u64 *count) noexcept nogil:
    """Adds the data points of a Metric."""
    cdef Slice data, point
    cdef bint found = False
    cdef bint minimal = True
    cdef bint has_data = False
    cdef int rc
    cdef u8 tag
    cdef const u8 *at
    while p < e:
        tag = p[0]
        if tag & 0x80 or tag & 7 != BYTES:
            return UNKNOWN_FIELD
        p += 1
        rc = slice_of(&p, e, &data, &minimal)
        if rc:
            return rc
        if tag == 0x2A or tag == 0x3A or tag == 0x4A or tag == 0x52 or tag == 0x5A:  # gauge ... summary
            if has_data:
                return REPEATED
            has_data = True
            at = data.p
            while True:
                rc = next_of(&at, data.p + data.n, 0x0A, &point, &found, &minimal)
                if rc:
                    return rc
                if not found:
                    break
                count[0] += 1
    return OK
