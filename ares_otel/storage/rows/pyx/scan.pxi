# How much a request holds, by walking its outer messages.

cdef enum:
    OUTERMOST = 16

cdef struct Counts:
    u64 resources
    u64 scopes
    u64 metrics
    u64 items


cdef int scan_scope(const u8 *p, const u8 *e, bint points, Counts *counts) noexcept nogil:
    cdef Outer inner
    cdef u64 found = 0
    cdef int rc = read_outer(p, e, &inner)
    if rc:
        return rc
    counts.scopes += 1
    if not points:
        counts.items += inner.count
        return OK
    counts.metrics += inner.count
    if inner.count:
        rc = count_points(inner.first, e, &found)
    counts.items += found
    return rc


cdef int scan_resource(const u8 *p, const u8 *e, bint points, u64 limit, Counts *counts) noexcept nogil:
    cdef Outer outer
    cdef Slice scope
    cdef bint found = False
    cdef bint minimal = True
    cdef int rc = read_outer(p, e, &outer)
    if rc:
        return rc
    counts.resources += 1
    p = outer.first
    while counts.items <= limit:
        rc = next_of(&p, e, 0x12, &scope, &found, &minimal)
        if rc or not found:
            return rc
        rc = scan_scope(scope.p, scope.p + scope.n, points, counts)
        if rc:
            return rc
    return OK


cdef int scan_request(const u8 *p, const u8 *e, bint points, u64 limit, u64 *most) noexcept nogil:
    """`most` becomes the number of items; where there are more messages of any level around them than `limit`, theirs."""
    cdef Slice resource
    cdef Counts counts
    cdef bint minimal = True
    cdef int rc
    memset(&counts, 0, sizeof(Counts))
    most[0] = 0
    while p < e and most[0] <= limit:
        if p[0] != 0x0A:
            return UNKNOWN_FIELD
        p += 1
        rc = slice_of(&p, e, &resource, &minimal)
        if rc:
            return rc
        rc = scan_resource(resource.p, resource.p + resource.n, points, limit, &counts)
        if rc:
            return rc
        most[0] = counts.items
        if counts.resources > limit:
            most[0] = counts.resources
        elif counts.scopes > limit:
            most[0] = counts.scopes
        elif counts.metrics > limit:
            most[0] = counts.metrics
    return OK


def scan(int signal, bytes payload not None, u64 limit):
    """The number of spans, log records (signal 0 or 1) or data points (2) in a request; some number over the limit when
    there are more of them, or of the messages around them. -1 when the body is malformed or unusual on the way there:
    who decodes it knows more."""
    cdef const u8 *p = <const u8 *>PyBytes_AS_STRING(payload)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(payload)
    cdef u64 count = 0
    cdef int rc
    if n > MAX_PAYLOAD:
        return -1
    with nogil:
        rc = scan_request(p, p + n, signal == 2, limit, &count)
    return -1 if rc else count


cdef u64 count_envelopes(const u8 *p, const u8 *e, int levels, u64 limit) noexcept nogil:
    """Messages down to so many levels of fields with one tag; more than `limit` when there are more. Ends where the bytes
    are malformed: so does encoding."""
    cdef Slice inner
    cdef bint found = False
    cdef bint minimal = True
    cdef u64 count = 0
    cdef u8 tag = 0x0A if levels & OUTERMOST else 0x12
    levels &= ~OUTERMOST
    while count <= limit:
        if next_of(&p, e, tag, &inner, &found, &minimal) or not found:
            break
        count += 1
        if levels > 1:
            count += count_envelopes(inner.p, inner.p + inner.n, levels - 1, limit - count if count < limit else 0)
    return count


def envelopes(int signal, bytes payload not None, u64 limit):
    """The number of resources, scopes and (signal 2) metrics in a request; some number over the limit when there are
    more."""
    cdef const u8 *p = <const u8 *>PyBytes_AS_STRING(payload)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(payload)
    cdef u64 count
    with nogil:
        count = count_envelopes(p, p + n, (3 if signal == 2 else 2) | OUTERMOST, limit)
    return count


cdef u64 count_empty(const u8 *p, size_t n) noexcept nogil:
    """Looks at every byte and the one before it; without branches, because half of what numbers are made of is zeros."""
    cdef size_t i, at = 1
    cdef u64 count = 0
    cdef u8 some
    while n >= at + 64:  # a fixed number of steps: compilers make a few wide ones of it
        some = 0
        for i in range(64):
            some += is_empty(p[at + i - 1], p[at + i])
        count += some
        at += 64
    while at < n:
        count += is_empty(p[at - 1], p[at])
        at += 1
    return count


cdef inline u8 is_empty(u8 tag, u8 size) noexcept nogil:
    return <u8>(size == 0) & <u8>((tag & 0x87) == BYTES) & <u8>(tag >= 8)


def empty_messages(bytes payload not None):
    """Places where an empty message, or text, may stand: a tag of a length-delimited field below 16 and a length of 0."""
    cdef const u8 *p = <const u8 *>PyBytes_AS_STRING(payload)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(payload)
    cdef u64 count
    with nogil:
        count = count_empty(p, n)
    return count
