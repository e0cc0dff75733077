# Metric → tuples of metric_samples and metric_distributions: what metrics.py does.

cdef enum:
    SAMPLE_FIELDS = 13
    DISTRIBUTION_FIELDS = 27
    DELTA_FIELDS = 5
    DELTA = 1             # the temporality

cdef struct MetricFields:
    Slice name
    Slice unit
    Slice description
    Slice data            # p is NULL where there is none
    int kind
    const u8 *metadata    # the first field; e where there is none


cdef int read_metric(const u8 *p, const u8 *e, MetricFields *m) noexcept nogil:
    cdef Slice data
    cdef bint minimal = True
    cdef u32 seen = 0, field
    cdef u8 tag
    cdef int rc
    memset(m, 0, sizeof(MetricFields))
    m.name.p = m.unit.p = m.description.p = p
    m.metadata = e
    while p < e:
        tag = p[0]
        field = tag >> 3
        if tag == 0x62:
            if m.metadata == e:
                m.metadata = p
        elif seen >> field & 1:
            return REPEATED
        seen |= <u32>1 << field
        p += 1
        if tag == 0x0A:
            rc = slice_of(&p, e, &m.name, &minimal)
        elif tag == 0x12:
            rc = slice_of(&p, e, &m.description, &minimal)
        elif tag == 0x1A:
            rc = slice_of(&p, e, &m.unit, &minimal)
        elif tag == 0x62:
            rc = slice_of(&p, e, &data, &minimal)
        elif tag == 0x2A or tag == 0x3A or tag == 0x4A or tag == 0x52 or tag == 0x5A:
            if m.data.p != NULL:
                return REPEATED
            if tag == 0x2A:
                m.kind = GAUGE
            elif tag == 0x3A:
                m.kind = SUM
            elif tag == 0x4A:
                m.kind = HISTOGRAM
            elif tag == 0x52:
                m.kind = EXPONENTIAL
            else:
                m.kind = SUMMARY
            rc = slice_of(&p, e, &m.data, &minimal)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
    return OK


cdef int read_data(MetricFields *m, Described *d, u64 *points) noexcept nogil:
    """The message around the points: how many there are, and what it says of them."""
    cdef const u8 *p = m.data.p
    cdef const u8 *e = m.data.p + m.data.n
    cdef Slice data
    cdef bint minimal = True
    cdef bint has_monotonic = False
    cdef u8 tag
    cdef int rc
    points[0] = 0
    while p < e:
        tag = p[0]
        p += 1
        if usual(tag == 0x0A):
            points[0] += 1
            rc = slice_of(&p, e, &data, &minimal)
        elif tag == 0x10 and SUM <= m.kind <= EXPONENTIAL:
            if d.has_temporality:
                return REPEATED
            d.has_temporality = True
            rc = int32_of(&p, e, &d.temporality, &minimal)
        elif tag == 0x18 and m.kind == SUM:
            if has_monotonic:
                return REPEATED
            has_monotonic = True
            rc = bool_of(&p, e, &d.monotonic, &minimal)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
    d.has_temporality = SUM <= m.kind <= EXPONENTIAL
    return OK


cdef int reason_of(MetricFields *m, Described *d) noexcept nogil:
    """0, or why none of a metric's points can be stored."""
    if m.name.n == 0:
        return NO_NAME
    if d.has_temporality and d.temporality == 0:
        if m.kind == SUM:
            return NO_TEMPORALITY_SUM
        return NO_TEMPORALITY_HISTOGRAM if m.kind == HISTOGRAM else NO_TEMPORALITY_EXPONENTIAL
    return 0


cdef int put_number(Buf *b, Point *point, bint *exact) noexcept nogil:
    """The fields value and value_int; 24 bytes."""
    exact[0] = True
    if is_absent(point):
        put_nulls(b, 2)
        exact[0] = point.number_kind == NO_VALUE
    elif point.number_kind == DOUBLE_NUMBER:
        put_int8(b, point.number)
        put_null(b)
    elif point.number_kind == INT_NUMBER:
        put_float8(b, <double><i64>point.number)
        put_int8(b, point.number)
    else:
        put_nulls(b, 2)
    return OK


cdef int add_point(
    Request *r, Buf *b, int kind, Point *point, const Blake2 *base, Series *series, int *reason
) noexcept nogil:
    """The tuple of a point. Where there is a reason not to store it, what was written is of no use."""
    cdef bint exact = True
    cdef bint late
    cdef u64 start = r.window_start if kind <= SUM else r.more_start
    cdef u64 end = r.window_end if kind <= SUM else r.more_end
    cdef int rc = identify(r, base, point.attributes, point.e, ATTRIBUTES_TAG[kind], series)
    if rc:
        return rc
    late = point.time < start or point.time >= end or point.time == 0
    if rare(reserve(b, 128)):
        return NO_MEMORY
    put16(tail(b), SAMPLE_FIELDS if kind <= SUM else DISTRIBUTION_FIELDS)
    b.len += 2
    put_bytes(b, r.shared, 20)
    put_uuid(b, series.id)
    if rare(late):
        put_time(b, r.filing_ns if kind <= SUM else r.more_filing_ns)
    else:
        put_time(b, point.time)
    if kind <= SUM:
        rc = put_number(b, point, &exact)
    elif kind == HISTOGRAM:
        rc = add_histogram(b, point, &exact, reason)
    elif kind == EXPONENTIAL:
        rc = add_exponential(b, point, &exact, reason)
    else:
        rc = add_summary(b, point, &exact, reason)
    if rc:
        return rc
    return add_point_end(r, b, kind, point, exact or reason[0] != 0, late)


cdef int add_delta(Request *r, int kind, Point *point, const u8 *series_id) noexcept nogil:
    """The tuple of metric_delta_arrivals for a point that was stored: what deltas.py does."""
    cdef Buf *b = &r.increments
    cdef u64 start = r.window_start if kind <= SUM else r.more_start
    cdef u64 end = r.window_end if kind <= SUM else r.more_end
    if is_absent(point) or (kind <= SUM and point.number_kind == NO_VALUE):
        return OK
    if rare(reserve(b, 80)):
        return NO_MEMORY
    put16(tail(b), DELTA_FIELDS)
    b.len += 2
    put_bytes(b, r.shared, 8)  # tenant_id
    put_uuid(b, series_id)
    if rare(point.time < start or point.time >= end or point.time == 0):
        put_time(b, r.filing_ns if kind <= SUM else r.more_filing_ns)
    else:
        put_time(b, point.time)
    if kind > SUM:
        put_null(b)
    elif point.number_kind == DOUBLE_NUMBER:
        put_int8(b, point.number)
    else:
        put_float8(b, <double><i64>point.number)
    r.increment_count += 1
    return OK


cdef int encode_points(
    Request *r, MetricFields *m, const Blake2 *base, int invalid, bint deltas
) noexcept nogil:
    """The points of a metric. All are read to their ends, also where `invalid` says why none can be stored. `deltas`
    says whether they have a total."""
    cdef Buf *b = &r.rows if m.kind <= SUM else &r.more
    cdef const u8 *p = m.data.p
    cdef const u8 *e = m.data.p + m.data.n
    cdef Slice data
    cdef Point point
    cdef Series series
    cdef bint found = False
    cdef bint minimal = True
    cdef size_t before
    cdef int rc, reason
    while True:
        rc = next_of(&p, e, 0x0A, &data, &found, &minimal)
        if rc:
            return rc
        if not found:
            return OK
        rc = read_point(m.kind, data.p, data.p + data.n, &point)
        if rc:
            return rc
        before = b.len
        reason = 0
        rc = add_point(r, b, m.kind, &point, base, &series, &reason)
        if rc:
            return rc
        if rare(invalid or reason):
            b.len = before
            r.side.len = series.labels
            reject(r, invalid or reason)
            continue
        rc = define_series(r, point.attributes, point.e, ATTRIBUTES_TAG[m.kind], &series)
        if rc:
            return rc
        r.items += 1
        if rare(deltas):
            rc = add_delta(r, m.kind, &point, series.id)
            if rc:
                return rc
        if m.kind <= SUM:
            r.row_count += 1
        else:
            r.more_first |= r.more_count == 0 and r.row_count == 0
            r.more_count += 1
        if r.rows.len > r.max_bytes or r.more.len > r.max_bytes:
            r.too_large = True
        if rare(r.too_large):
            r.rows.len = r.more.len = r.increments.len = 0


cdef int encode_metric(Request *r, const u8 *p, const u8 *e) noexcept nogil:
    cdef MetricFields m
    cdef Described *d
    cdef Blake2 base
    cdef u64 points = 0
    cdef size_t side_before = r.side.len
    cdef int rc, invalid
    rc = read_metric(p, e, &m)
    if rc:
        return rc
    rc = reserve(&r.metrics, sizeof(Described))
    if rc:
        return rc
    d = <Described *>tail(&r.metrics)
    memset(d, 0, sizeof(Described))
    d.kind = m.kind
    if m.data.p != NULL:
        rc = read_data(&m, d, &points)
        if rc:
            return rc
    rc = describe(r, d, &base, &m.name, &m.unit, &m.description, m.metadata, e)
    if rc:
        return rc
    if points == 0:
        r.side.len = side_before
        return OK
    r.metrics.len += sizeof(Described)
    invalid = reason_of(&m, d)
    forget_series(r)
    return encode_points(
        r, &m, &base, invalid, d.has_temporality and d.temporality == DELTA and (m.kind != SUM or d.monotonic)
    )
