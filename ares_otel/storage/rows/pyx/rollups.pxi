# Roll-up increments: what a request adds to the counts by minute, service and operation (spans) or service (logs).
#
# While items are encoded, each one finds its group in an open hash table and leaves one sample (its latency bucket, or
# the hash of its trace). At the end the samples are sorted by group and value, and each group becomes a tuple.

cdef struct Group:
    u64 hash
    u64 minute           # minutes since 1970
    size_t service       # in `r.side`
    size_t service_size
    const u8 *operation  # in the request; NULL for logs
    size_t operation_size
    int32_t kind
    u64[4] counts        # spans: calls, errors; logs: by level
    u64 sum              # of durations
    u64 max
    u64 last             # logs: the trace hash of the sample before

cdef struct Sample:
    u64 group
    u64 value

cdef struct Rollups:
    Buf groups           # Group structs, in order of appearance
    u64 count
    u32 *table           # number of the group + 1, by hash
    size_t size          # of the table, a power of two
    Buf samples          # Sample structs
    Buf spare            # for sorting


cdef void end_rollups(Rollups *k) noexcept nogil:
    release(&k.groups)
    release(&k.samples)
    release(&k.spare)
    free(k.table)
    k.table = NULL


cdef int grow_groups(Rollups *k) noexcept nogil:
    cdef size_t size = 2 * k.size if k.size else 64
    cdef u32 *table
    cdef Group *groups = <Group *>k.groups.data
    cdef size_t i, at
    if k.count >= <u64>0xFFFFFFF0:
        return NO_MEMORY
    table = <u32 *>calloc(size, sizeof(u32))
    if table == NULL:
        return NO_MEMORY
    for i in range(k.count):
        at = <size_t>groups[i].hash & (size - 1)
        while table[at]:
            at = (at + 1) & (size - 1)
        table[at] = <u32>(i + 1)
    free(k.table)
    k.table = table
    k.size = size
    return OK


cdef int group_of(
    Request *r, u64 filed_ns, const u8 *operation, size_t operation_size, int32_t kind, u64 *number
) noexcept nogil:
    """The number of the group that an item of this scope belongs to; a new one is made where there is none."""
    cdef Rollups *k = &r.rollups
    cdef u64 minute = filed_ns // <u64>60000000000
    cdef u64 h = hash_of(operation, operation_size, mixed(r.service_hash ^ minute, <u64>kind ^ <u64>0x9E3779B97F4A7C15))
    cdef size_t at
    cdef Group *g
    if rare(2 * (k.count + 1) > k.size):
        if grow_groups(k):
            return NO_MEMORY
    at = <size_t>h & (k.size - 1)
    while k.table[at]:
        g = <Group *>k.groups.data + (k.table[at] - 1)
        if (
            usual(g.hash == h) and g.minute == minute and g.kind == kind and g.operation_size == operation_size
            and g.service_size == r.service_size
            and (not operation_size or memcmp(g.operation, operation, operation_size) == 0)
            and (
                g.service == r.service
                or memcmp(r.side.data + g.service, r.side.data + r.service, r.service_size) == 0
            )
        ):
            number[0] = k.table[at] - 1
            return OK
        at = (at + 1) & (k.size - 1)
    if reserve(&k.groups, sizeof(Group)):
        return NO_MEMORY
    g = <Group *>tail(&k.groups)
    memset(g, 0, sizeof(Group))
    g.hash = h
    g.minute = minute
    g.service = r.service
    g.service_size = r.service_size
    g.operation = operation
    g.operation_size = operation_size
    g.kind = kind
    k.groups.len += sizeof(Group)
    number[0] = k.count
    k.count += 1
    k.table[at] = <u32>k.count
    return OK


cdef inline int add_sample(Rollups *k, u64 group, u64 value) noexcept nogil:
    cdef Sample *s
    if rare(reserve(&k.samples, sizeof(Sample))):
        return NO_MEMORY
    s = <Sample *>tail(&k.samples)
    s.group = group
    s.value = value
    k.samples.len += sizeof(Sample)
    return OK


cdef void sort_by(Sample *source, Sample *target, size_t n, bint by_group, int shift) noexcept nogil:
    """One pass of a radix sort: stable, by one byte."""
    cdef size_t[256] starts
    cdef size_t i, sum_ = 0, here
    cdef u64 key
    memset(starts, 0, sizeof(starts))
    for i in range(n):
        key = source[i].group if by_group else source[i].value
        starts[key >> shift & 0xFF] += 1
    for i in range(256):
        here = starts[i]
        starts[i] = sum_
        sum_ += here
    for i in range(n):
        key = (source[i].group if by_group else source[i].value) >> shift & 0xFF
        target[starts[key]] = source[i]
        starts[key] += 1


cdef int sort_samples(Rollups *k) noexcept nogil:
    """By group, then by value."""
    cdef size_t n = k.samples.len // sizeof(Sample)
    cdef Sample *s = <Sample *>k.samples.data
    cdef u64 highest = 0
    cdef size_t i
    cdef int shift
    cdef Buf swapped
    if n < 2:
        return OK
    if reserve(&k.spare, k.samples.len):
        return NO_MEMORY
    for i in range(n):
        highest |= s[i].value
    shift = 0
    while shift < 64 and highest >> shift:
        sort_by(<Sample *>k.samples.data, <Sample *>k.spare.data, n, False, shift)
        k.spare.len = k.samples.len
        swapped = k.samples
        k.samples = k.spare
        k.spare = swapped
        shift += 8
    shift = 0
    while shift < 32 and (k.count - 1) >> shift:
        sort_by(<Sample *>k.samples.data, <Sample *>k.spare.data, n, True, shift)
        k.spare.len = k.samples.len
        swapped = k.samples
        k.samples = k.spare
        k.spare = swapped
        shift += 8
    return OK


cdef inline int add_group_head(Request *r, Buf *b, Group *g, int fields) noexcept nogil:
    """The number of fields, then tenant_id, minute, service_name."""
    if reserve(b, 256 + g.service_size + g.operation_size):
        return NO_MEMORY
    put16(tail(b), <u16>fields)
    b.len += 2
    put_bytes(b, r.shared, 8)
    put_timestamptz(b, g.minute * 60000000)
    put32(tail(b), <u32>g.service_size)
    b.len += 4
    put_bytes(b, r.side.data + g.service, g.service_size)
    return OK
