# The way in from Python for metrics, whose rows go to two tables and whose series are defined.

from uuid import UUID

KINDS = ("gauge", "", "histogram", "exponential_histogram", "summary")
TEMPORALITIES = (None, "delta", "cumulative")


cdef object side_text(Request *r, size_t at, size_t size):
    return PyUnicode_DecodeUTF8(<char *>r.side.data + at, <Py_ssize_t>size, NULL)


cdef object side_bytes(Request *r, size_t at, size_t size):
    if size == ABSENT:
        return None
    return PyBytes_FromStringAndSize(<char *>r.side.data + at, <Py_ssize_t>size)


cdef object described(Request *r, Described *d):
    """What the definitions of a metric's series begin with and end with."""
    kind = KINDS[d.kind]
    temporality = monotonic = None
    if d.kind == SUM:
        kind = "counter" if d.monotonic else "updowncounter"
        monotonic = bool(d.monotonic)
    if d.has_temporality:
        temporality = TEMPORALITIES[d.temporality] if 0 < d.temporality <= 2 else str(d.temporality)
    begin = (
        side_text(r, d.service, d.service_size),
        side_text(r, d.at[M_NAME], d.size[M_NAME]),
        kind,
        side_text(r, d.at[M_UNIT], d.size[M_UNIT]),
        side_text(r, d.at[M_DESCRIPTION], d.size[M_DESCRIPTION]),
        temporality,
        monotonic,
    )
    end = (
        side_text(r, d.at[M_METADATA], d.size[M_METADATA]),
        side_bytes(r, d.at[M_METADATA_RAW], d.size[M_METADATA_RAW]),
        UUID(bytes=PyBytes_FromStringAndSize(<char *>d.resource_id, 16)),
        UUID(bytes=PyBytes_FromStringAndSize(<char *>d.scope_id, 16)),
    )
    return begin, end


cdef object series_of(Request *r, object known):
    """id → column values of the series that are new. Counts their bytes. `known` is a set of Python's, or None."""
    cdef Described *metrics = <Described *>r.metrics.data
    cdef Series *s = <Series *>r.series.data
    cdef size_t i, metric = NO_PLACE
    made = {}
    begin = end = ()
    for i in range(r.series.len // sizeof(Series)):
        id_ = PyBytes_FromStringAndSize(<char *>s[i].id, 16)
        if known is not None and id_ in known:
            r.left_out = True
            continue
        r.definition_bytes += s[i].bytes
        if r.definition_bytes > r.max_bytes:
            r.too_large = True
            break
        if s[i].metric != metric:
            metric = s[i].metric
            begin, end = described(r, &metrics[metric])
        labels = side_text(r, s[i].labels, s[i].labels_size)
        made[id_] = (*begin, labels, side_bytes(r, s[i].raw, s[i].raw_size), *end)
    return made


def encode_metrics(
    bytes payload not None,
    int tenant_id,
    bytes shared not None,
    tuple samples not None,
    tuple distributions not None,
    u64 max_bytes,
    object known,
):
    """Encodes a request of metrics.

    Args:
        samples, distributions: of each table, where its window starts and ends, and the filing time of what is outside.
        known: ids that are in it are not defined again; a KnownSeries, another container, or None.

    Returns:
        What `encode` returns: a place in `native.ODD`, or a tuple: whether it is too large; samples and how many,
        distributions and how many, whether a distribution came first; items, rejected, reasons; resources, scopes,
        services; bytes of the definitions; series, and whether some were left out; points that are deltas and how many.
    """
    cdef Request r
    cdef Signal s
    cdef const u8 *p = <const u8 *>PyBytes_AS_STRING(payload)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(payload)
    cdef int rc = OK
    cdef int i
    if n > MAX_PAYLOAD:
        return TOO_LONG
    if PyBytes_GET_SIZE(shared) != 20:
        raise ValueError("shared must be the fields tenant_id and received_at")
    memset(&r, 0, sizeof(Request))
    r.tenant_id = tenant_id
    r.shared = <const u8 *>PyBytes_AS_STRING(shared)
    r.window_start, r.window_end, r.filing_ns = samples
    r.more_start, r.more_end, r.more_filing_ns = distributions
    r.max_bytes = max_bytes
    s.item = encode_metric
    s.fields = 0
    s.points = True
    others = known
    if isinstance(known, KnownSeries):
        r.known = &(<KnownSeries>known).ids
        others = None
    try:
        with nogil:
            rc = walk_request(&r, &s, p, p + n)
        if rc == NO_MEMORY:
            raise MemoryError
        if rc != OK:
            return rc
        resources, scopes, services = definitions_of(&r)
        series = series_of(&r, others)
        return (
            r.too_large,
            rows_of(&r.rows),
            r.row_count,
            rows_of(&r.more),
            r.more_count,
            r.more_first,
            r.items,
            r.rejected,
            [(r.reasons[i], r.reason_counts[i]) for i in range(r.reason_count)],
            resources,
            scopes,
            services,
            r.definition_bytes,
            series,
            bool(r.left_out),
            rows_of(&r.increments),
            r.increment_count,
        )
    finally:
        end_request(&r)
