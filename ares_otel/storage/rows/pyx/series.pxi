# Series: their ids, and what defines those that are new. What metrics._series_of does.

cdef enum:
    FEW_SERIES = 8

cdef size_t NO_PLACE = <size_t>-1

# The texts that the series of a metric share, in `Described.at`
cdef enum:
    M_NAME = 0
    M_UNIT = 1
    M_DESCRIPTION = 2
    M_METADATA = 3
    M_METADATA_RAW = 4
    METRIC_TEXTS = 5

cdef struct Described:        # a metric
    int kind
    bint has_temporality
    int32_t temporality
    bint monotonic            # of sums
    size_t service            # the service's name in `r.side`
    size_t service_size
    u8[16] resource_id
    u8[16] scope_id
    size_t[METRIC_TEXTS] at   # in `r.side`
    size_t[METRIC_TEXTS] size # ABSENT for None
    u64 bytes                 # of the texts above, as the reference counts them

cdef struct Series:
    u8[16] id
    size_t metric             # its place in `r.metrics`
    size_t labels             # in `r.side`
    size_t labels_size
    size_t raw
    size_t raw_size           # ABSENT for None
    u64 bytes


cdef inline void forget_series(Request *r) noexcept nogil:
    r.seen.ids.len = 0
    r.seen.size = 0


cdef void place_series(Seen *seen, u32 place) noexcept nogil:
    """Puts an id into the table, which has room."""
    cdef u32 *table = <u32 *>seen.table.data
    cdef size_t i = <size_t>hash_of(seen.ids.data + 16 * <size_t>place, 16, 2) & (seen.size - 1)
    while table[i]:
        i = (i + 1) & (seen.size - 1)
    table[i] = place + 1


cdef int more_places(Seen *seen) noexcept nogil:
    """A table for twice as many ids as there are."""
    cdef u32 place, count = <u32>(seen.ids.len // 16)
    cdef size_t size = 32
    cdef int rc
    while size < <size_t>count * 4:
        size *= 2
    seen.table.len = 0
    rc = reserve(&seen.table, size * sizeof(u32))
    if rc:
        return rc
    memset(seen.table.data, 0, size * sizeof(u32))
    seen.size = size
    for place in range(count):
        place_series(seen, place)
    return OK


cdef bint is_seen(Seen *seen, const u8 *id_) noexcept nogil:
    cdef size_t i, count = seen.ids.len // 16
    cdef u32 *table = <u32 *>seen.table.data
    if seen.size == 0:
        for i in range(count):
            if memcmp(seen.ids.data + 16 * i, id_, 16) == 0:
                return True
        return False
    i = <size_t>hash_of(id_, 16, 2) & (seen.size - 1)
    while table[i]:
        if memcmp(seen.ids.data + 16 * <size_t>(table[i] - 1), id_, 16) == 0:
            return True
        i = (i + 1) & (seen.size - 1)
    return False


cdef int see(Seen *seen, const u8 *id_) noexcept nogil:
    """Adds an id that is not there."""
    cdef size_t count = seen.ids.len // 16
    cdef int rc = add_bytes(&seen.ids, id_, 16)
    if rc:
        return rc
    if seen.size == 0 and count < FEW_SERIES:
        return OK
    if seen.size < 2 * (count + 1):
        return more_places(seen)
    place_series(seen, <u32>count)
    return OK


cdef int keep_metric_text(Request *r, Described *d, int place, Slice *text) noexcept nogil:
    cdef int rc = check_text(text.p, text.n)
    if rc:
        return rc
    d.at[place] = r.side.len
    d.size[place] = text.n
    d.bytes += count_characters(text.p, text.n)
    return add_bytes(&r.side, text.p, text.n)


cdef u64 hash_described(Described *d, Blake2 *hash_) noexcept nogil:
    """The parts temporality and monotonic; returns the characters of the texts that stand for kind and temporality."""
    cdef u8[24] text
    cdef u8 *begin
    cdef u64 characters
    if d.kind == GAUGE:
        characters = 5
    elif d.kind == SUM:
        characters = 7 if d.monotonic else 13
    elif d.kind == HISTOGRAM:
        characters = 9
    elif d.kind == EXPONENTIAL:
        characters = 21
    else:
        characters = 7
    if not d.has_temporality:
        hash_absent(hash_)
    elif d.temporality == 1:
        hash_part(hash_, <const u8 *>b"delta", 5)
        characters += 5
    elif d.temporality == 2:
        hash_part(hash_, <const u8 *>b"cumulative", 10)
        characters += 10
    else:
        hash_number(hash_, d.temporality)
        begin = digits_before(&text[24], <u64>(-<i64>d.temporality if d.temporality < 0 else d.temporality))
        characters += <u64>(&text[24] - begin) + (d.temporality < 0)
    if d.kind == SUM:
        hash_number(hash_, d.monotonic)
    else:
        hash_absent(hash_)
    return characters


cdef void hash_kind(Described *d, Blake2 *hash_) noexcept nogil:
    if d.kind == GAUGE:
        hash_part(hash_, <const u8 *>b"gauge", 5)
    elif d.kind == SUM and d.monotonic:
        hash_part(hash_, <const u8 *>b"counter", 7)
    elif d.kind == SUM:
        hash_part(hash_, <const u8 *>b"updowncounter", 13)
    elif d.kind == HISTOGRAM:
        hash_part(hash_, <const u8 *>b"histogram", 9)
    elif d.kind == EXPONENTIAL:
        hash_part(hash_, <const u8 *>b"exponential_histogram", 21)
    else:
        hash_part(hash_, <const u8 *>b"summary", 7)


cdef int describe(
    Request *r, Described *d, Blake2 *base, Slice *name, Slice *unit, Slice *description, const u8 *metadata, const u8 *e
) noexcept nogil:
    """Keeps what the series of a metric share, and hashes it. `d` has its kind, temporality and monotonic."""
    cdef size_t begin
    cdef int rc
    d.bytes = count_characters(r.side.data + r.service, r.service_size)
    d.service = r.service
    d.service_size = r.service_size
    memcpy(d.resource_id, r.resource_id, 16)
    memcpy(d.scope_id, r.scope_id, 16)
    rc = keep_metric_text(r, d, M_NAME, name)
    if rc:
        return rc
    rc = keep_metric_text(r, d, M_UNIT, unit)
    if rc:
        return rc
    rc = keep_metric_text(r, d, M_DESCRIPTION, description)
    if rc:
        return rc
    begin = r.side.len
    begin_list(r)
    rc = add_object(r, &r.side, metadata, e, 0x62, 0, NO_NAMES)
    if rc:
        return rc
    if not r.canonical:
        return NOT_CANONICAL
    d.at[M_METADATA] = begin
    d.size[M_METADATA] = r.side.len - begin
    d.bytes += count_characters(r.side.data + begin, r.side.len - begin)
    d.size[M_METADATA_RAW] = ABSENT
    if not r.exact:
        begin = r.side.len
        rc = add_raw(&r.side, metadata, e, 0x62, 0x0A)
        if rc:
            return rc
        d.at[M_METADATA_RAW] = begin + 4
        d.size[M_METADATA_RAW] = r.side.len - begin - 4
        d.bytes += d.size[M_METADATA_RAW]
    blake2_begin(base, "series")
    hash_number(base, r.tenant_id)
    hash_part(base, r.resource_id, 16)
    hash_part(base, r.scope_id, 16)
    hash_part(base, name.p, name.n)
    hash_kind(d, base)
    hash_part(base, unit.p, unit.n)
    hash_part(base, description.p, description.n)
    d.bytes += hash_described(d, base)
    return hash_attributes(r, base, metadata, e, 0x62)


cdef int identify(
    Request *r, const Blake2 *base, const u8 *attributes, const u8 *e, u8 tag, Series *series
) noexcept nogil:
    """The id of the series of a point with these attributes, and its labels, at the end of `r.side`."""
    cdef Blake2 hash_
    cdef Buf *b = &r.side
    cdef int rc
    series.labels = b.len
    begin_list(r)
    rc = add_object(r, b, attributes, e, tag, 0, NO_NAMES)
    if rc:
        return rc
    if not r.canonical:
        return NOT_CANONICAL
    series.labels_size = b.len - series.labels
    series.raw_size = NO_PLACE if r.exact else 0
    hash_ = base[0]
    rc = hash_attributes(r, &hash_, attributes, e, tag)
    if rc:
        return rc
    blake2_end(&hash_, series.id)
    return OK


cdef int define_series(
    Request *r, const u8 *attributes, const u8 *e, u8 tag, Series *series
) noexcept nogil:
    """Keeps the series of a point that was stored, unless the metric had it before. `identify` was the last that wrote
    to `r.side`."""
    cdef Buf *b = &r.side
    cdef Described *d
    cdef int rc
    if is_seen(&r.seen, series.id):
        b.len = series.labels
        return OK
    rc = see(&r.seen, series.id)
    if rc:
        return rc
    if r.known != NULL and is_known(r.known, series.id):
        r.left_out = True
        b.len = series.labels
        return OK
    series.metric = r.metrics.len // sizeof(Described) - 1
    d = <Described *>r.metrics.data + series.metric
    series.bytes = d.bytes + count_characters(b.data + series.labels, series.labels_size)
    if series.raw_size == NO_PLACE:
        series.raw_size = ABSENT
    else:
        rc = add_raw(b, attributes, e, tag, 0x0A)
        if rc:
            return rc
        series.raw = series.labels + series.labels_size + 4
        series.raw_size = b.len - series.raw
        series.bytes += series.raw_size
    return add_bytes(&r.series, <const u8 *>series, sizeof(Series))
