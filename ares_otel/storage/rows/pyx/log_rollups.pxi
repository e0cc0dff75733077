# Increments of log_rollup_increments: records by level, and a theta sketch of the traces they belong to.

cdef enum:
    LOG_ROLLUP_FIELDS = 9
    SKETCH_SIZE = 512


cdef inline u64 trace_hash(const u8 *trace_id) noexcept nogil:
    """63 bits of a trace id, spread evenly (the finaliser of splitmix64)."""
    cdef u64 z = big64(trace_id) ^ big64(trace_id + 8)
    z = (z ^ z >> 30) * <u64>0xBF58476D1CE4E5B9
    z = (z ^ z >> 27) * <u64>0x94D049BB133111EB
    return (z ^ z >> 31) >> 1


cdef int count_log(Request *r, u64 filed_ns, int level, const u8 *trace_id) noexcept nogil:
    """A record that became a row. `trace_id` is NULL where it has none."""
    cdef u64 number = 0
    cdef u64 h
    cdef Group *g
    cdef int rc = group_of(r, filed_ns, NULL, 0, 0, &number)
    if rc:
        return rc
    g = <Group *>r.rollups.groups.data + number
    g.counts[level] += 1
    if trace_id == NULL:
        return OK
    h = trace_hash(trace_id)
    if g.last == h + 1:  # a trace writes several lines
        return OK
    g.last = h + 1
    return add_sample(&r.rollups, number, h)


cdef int add_sketch(Buf *b, Sample *s, size_t n) noexcept nogil:
    """The fields trace_hashes and threshold of a group with n samples, sorted."""
    cdef size_t i, kept = 0, distinct = 0
    cdef u64 threshold = 0
    for i in range(n):
        if i == 0 or s[i].value != s[i - 1].value:
            distinct += 1
            if distinct > SKETCH_SIZE:
                threshold = s[i].value
                break
    kept = distinct if distinct <= SKETCH_SIZE else SKETCH_SIZE
    if reserve(b, array_size(kept, 8) + 16):
        return NO_MEMORY
    put_array_head(b, INT8_OID, kept, 8)
    for i in range(n):
        if kept == 0:
            break
        if i == 0 or s[i].value != s[i - 1].value:
            put_int8(b, s[i].value)
            kept -= 1
    if distinct > SKETCH_SIZE:
        put_int8(b, threshold)
    else:
        put_null(b)
    return OK


cdef int write_log_rollups(Request *r) noexcept nogil:
    cdef Rollups *k = &r.rollups
    cdef Buf *b = &r.increments
    cdef Group *g
    cdef Sample *s
    cdef u64 i
    cdef size_t at = 0, n, total
    cdef int rc, level
    rc = sort_samples(k)
    if rc:
        return rc
    s = <Sample *>k.samples.data
    total = k.samples.len // sizeof(Sample)
    for i in range(k.count):
        g = <Group *>k.groups.data + i
        rc = add_group_head(r, b, g, LOG_ROLLUP_FIELDS)
        if rc:
            return rc
        for level in range(4):
            put_int8(b, g.counts[level])
        n = 0
        while at + n < total and s[at + n].group == i:
            n += 1
        rc = add_sketch(b, s + at, n)
        if rc:
            return rc
        at += n
    r.increment_count = k.count
    return OK
