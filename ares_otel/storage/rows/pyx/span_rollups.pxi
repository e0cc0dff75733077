# Increments of span_rollup_increments: calls, errors, and latencies in buckets of which 64 double the duration.

cdef enum:
    SPAN_ROLLUP_FIELDS = 11

cdef u64[65] BOUNDS  # BOUNDS[i]: the smallest integer >= 2**63 * 2**(i/64)
cdef u8[128] FIRST_GUESS  # by the seven bits below the highest: a bucket at or one below the right one


def _fill_bounds():
    from math import isqrt

    cdef object root, low, i, guess
    for i in range(1, 64):
        root = 1 << (63 * 64 + i)
        for _ in range(6):  # the 64th root, rounded up
            root = isqrt(root - 1) + 1
        BOUNDS[i] = root
    BOUNDS[64] = <u64>0xFFFFFFFFFFFFFFFF
    guess = 0
    for i in range(128):
        low = (128 + i) << 56
        while guess < 63 and BOUNDS[guess + 1] <= low:
            guess += 1
        FIRST_GUESS[i] = guess


_fill_bounds()


cdef inline int bucket_of(u64 duration) noexcept nogil:
    """-1 for 0, else floor(64 * log2(duration)), in integers."""
    cdef int e, i
    cdef u64 m
    if duration == 0:
        return -1
    e = bits(duration) - 1
    m = duration << (63 - e)
    i = FIRST_GUESS[m >> 56 & 127]
    while i < 63 and BOUNDS[i + 1] <= m:
        i += 1
    return 64 * e + i


cdef int count_span(
    Request *r, u64 filed_ns, const u8 *operation, size_t operation_size, int32_t kind, u64 duration, bint failed
) noexcept nogil:
    """A span that became a row."""
    cdef u64 number = 0
    cdef Group *g
    cdef int rc = group_of(r, filed_ns, operation, cut_label(operation, operation_size), kind, &number)
    if rc:
        return rc
    g = <Group *>r.rollups.groups.data + number
    g.counts[0] += 1
    g.counts[1] += failed
    g.sum = g.sum + duration if g.sum + duration <= INT8_MAX else INT8_MAX
    if duration > g.max:
        g.max = duration
    return add_sample(&r.rollups, number, <u64>(bucket_of(duration) + 1))


cdef int add_buckets(Buf *b, Sample *s, size_t n) noexcept nogil:
    """The fields buckets and counts of a group with n samples, sorted."""
    cdef size_t i, distinct = 1, run
    for i in range(1, n):
        distinct += s[i].value != s[i - 1].value
    if reserve(b, array_size(distinct, 2) + array_size(distinct, 8)):
        return NO_MEMORY
    put_array_head(b, INT2_OID, distinct, 2)
    for i in range(n):
        if i == 0 or s[i].value != s[i - 1].value:
            put_int2(b, <i64>s[i].value - 1)
    put_array_head(b, INT8_OID, distinct, 8)
    run = 0
    for i in range(n):
        run += 1
        if i + 1 == n or s[i].value != s[i + 1].value:
            put_int8(b, run)
            run = 0
    return OK


cdef int write_span_rollups(Request *r) noexcept nogil:
    cdef Rollups *k = &r.rollups
    cdef Buf *b = &r.increments
    cdef Group *g
    cdef Sample *s
    cdef u64 i
    cdef int rc
    rc = sort_samples(k)
    if rc:
        return rc
    s = <Sample *>k.samples.data
    for i in range(k.count):
        g = <Group *>k.groups.data + i
        rc = add_group_head(r, b, g, SPAN_ROLLUP_FIELDS)
        if rc:
            return rc
        put32(tail(b), <u32>g.operation_size)
        b.len += 4
        put_bytes(b, g.operation, g.operation_size)
        put_kind(b, g.kind)
        put_int8(b, g.counts[0])
        put_int8(b, g.counts[1])
        put_int8(b, g.sum)
        put_int8(b, g.max)
        rc = add_buckets(b, s, <size_t>g.counts[0])
        if rc:
            return rc
        s += g.counts[0]
    r.increment_count = k.count
    return OK
