# How many items a request holds, by walking its outer messages.

cdef int scan_scope(const u8 *p, const u8 *e, bint points, u64 *count) noexcept nogil:
    cdef Outer inner
    cdef u64 found = 0
    cdef int rc = read_outer(p, e, &inner)
    if rc:
        return rc
    if points and inner.count:
        rc = count_points(inner.first, e, &found)
        if rc:
            return rc
    else:
        found = inner.count
    count[0] += found
    return OK


cdef int scan_request(const u8 *p, const u8 *e, bint points, u64 limit, u64 *count) noexcept nogil:
    cdef Slice resource, scope
    cdef Outer outer
    cdef const u8 *at
    cdef bint found = False
    cdef bint minimal = True
    cdef int rc
    while p < e:
        if p[0] != 0x0A:
            return UNKNOWN_FIELD
        p += 1
        rc = slice_of(&p, e, &resource, &minimal)
        if rc:
            return rc
        rc = read_outer(resource.p, resource.p + resource.n, &outer)
        if rc:
            return rc
        at = outer.first
        while True:
            rc = next_of(&at, resource.p + resource.n, 0x12, &scope, &found, &minimal)
            if rc:
                return rc
            if not found:
                break
            rc = scan_scope(scope.p, scope.p + scope.n, points, count)
            if rc:
                return rc
            if count[0] > limit:
                return OK
    return OK


cdef u64 count_empty(const u8 *p, size_t n) noexcept nogil:
    """Where an empty message or text may stand: a tag of wire type BYTES and a length of 0."""
    cdef const u8 *e = p + n
    cdef const u8 *zero
    cdef u64 count = 0
    cdef u8 tag
    if n:
        p += 1
    while p < e:
        zero = <const u8 *>memchr(p, 0, <size_t>(e - p))
        if zero == NULL:
            break
        tag = (zero - 1)[0]
        count += tag & 0x87 == BYTES and tag >= 8
        p = zero + 1
    return count


def scan(int signal, bytes payload not None, u64 limit):
    """How much a request (signal 0 to 2: traces, logs, metrics) holds.

    Returns:
        The number of spans, log records or data points, some number over the limit when there are more, -1 when the
        body is malformed or unusual on the way there: who decodes it knows more. And what the decoded message may take
        in memory, about: three times the body, and a hundred bytes for what may be an empty message.
    """
    cdef const u8 *p = <const u8 *>PyBytes_AS_STRING(payload)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(payload)
    cdef u64 count = 0, empty = 0
    cdef int rc
    if n > MAX_PAYLOAD:
        return -1, 0
    with nogil:
        rc = scan_request(p, p + n, signal == 2, limit, &count)
        empty = count_empty(p, n)
    return -1 if rc else count, 3 * n + 100 * empty
