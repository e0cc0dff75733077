# Points of histograms, exponential histograms and summaries: what distributions.py does. Each function writes the fields
# from value to quantile_values, and sets `reason` where the point contradicts itself; then what it wrote is of no use.

cdef enum:
    MIN_SCALE = -10
    MAX_SCALE = 20
    MAX_BUCKETS = 100000
    NULL_SIZE = 4

# Why points are rejected; the order is that of REASONS in native_metrics.py.
cdef enum:
    NO_NAME = 1
    NO_TEMPORALITY_SUM = 2
    NO_TEMPORALITY_HISTOGRAM = 3
    NO_TEMPORALITY_EXPONENTIAL = 4
    BAD_SIZES = 5
    BAD_BOUNDS = 6
    BAD_COUNT = 7
    BAD_SCALE = 8
    TOO_MANY_POSITIVE = 9
    TOO_MANY_NEGATIVE = 10
    OFFSET_POSITIVE = 11
    OFFSET_NEGATIVE = 12
    BAD_TOTAL = 13
    BAD_QUANTILE = 14

cdef struct Total:
    u64 sum
    bint overflow  # it does not fit 64 bits, and so is no count
    bint exact     # whether int8 holds every count


cdef inline void put_nulls(Buf *b, size_t count) noexcept nogil:
    memset(tail(b), 0xFF, count * NULL_SIZE)
    b.len += count * NULL_SIZE


cdef inline void put_optional_float8(Buf *b, bint given, double value) noexcept nogil:
    if given:
        put_float8(b, value)
    else:
        put_null(b)


cdef inline u64 clamped(u64 count) noexcept nogil:
    """An unsigned 64-bit count as far as int8 goes; a larger one is exact in the point's encoding only."""
    return count if count <= INT8_MAX else INT8_MAX


cdef inline void put_counted(Buf *b, u64 count, Total *total) noexcept nogil:
    """An element of an int8 array."""
    put_int8(b, clamped(count))
    total.overflow |= total.sum + count < count
    total.sum += count
    total.exact &= count <= INT8_MAX


cdef void put_point_head(Buf *b, Point *point) noexcept nogil:
    """The fields value (the mean), count, sum, min, max; 60 bytes."""
    cdef bint has_mean = point.has_sum and point.count != 0 and not is_absent(point)
    put_optional_float8(b, has_mean, point.sum / <double>point.count if has_mean else 0.0)
    put_int8(b, clamped(point.count))
    put_optional_float8(b, point.has_sum, point.sum)
    put_optional_float8(b, point.has_min, point.min)
    put_optional_float8(b, point.has_max, point.max)


cdef int add_bounds(Buf *b, Point *point, bint *increasing) noexcept nogil:
    """The field explicit_bounds, and whether the bounds are numbers that increase strictly."""
    cdef const u8 *p = point.bounds
    cdef const u8 *end
    cdef Slice data
    cdef bint minimal = True
    cdef bint first = True
    cdef double bound = 0.0
    cdef double before = 0.0
    cdef u64 bits_ = 0
    cdef u8 tag
    cdef int rc
    if reserve(b, array_size(point.bound_size, 8)):
        return NO_MEMORY
    increasing[0] = True
    put_array_head(b, FLOAT8_OID, point.bound_size, 8)
    while p < point.e:
        tag = p[0]
        if tag == 0x39:
            data.p = p + 1
            data.n = 8
            p += 9
        elif tag == 0x3A:
            p += 1
            rc = slice_of(&p, point.e, &data, &minimal)
            if rc:
                return rc
        else:
            p += 1
            rc = skip_value(&p, point.e, tag & 7)
            if rc:
                return rc
            continue
        end = data.p + data.n
        while data.p < end:
            bits_ = little64(data.p)
            bound = bits_double(bits_)
            if bound != bound or (not first and not before < bound):
                increasing[0] = False
            first = False
            before = bound
            put_int8(b, bits_)
            data.p += 8
    return OK


cdef int add_bucket_counts(Buf *b, Point *point, Total *total) noexcept nogil:
    """The field bucket_counts of a histogram."""
    cdef const u8 *p = point.counts
    cdef const u8 *end
    cdef Slice data
    cdef bint minimal = True
    cdef u8 tag
    cdef int rc
    if reserve(b, array_size(point.count_size, 8)):
        return NO_MEMORY
    put_array_head(b, INT8_OID, point.count_size, 8)
    while p < point.e:
        tag = p[0]
        if tag == 0x31:
            data.p = p + 1
            data.n = 8
            p += 9
        elif tag == 0x32:
            p += 1
            rc = slice_of(&p, point.e, &data, &minimal)
            if rc:
                return rc
        else:
            p += 1
            rc = skip_value(&p, point.e, tag & 7)
            if rc:
                return rc
            continue
        end = data.p + data.n
        while data.p < end:
            put_counted(b, little64(data.p), total)
            data.p += 8
    return OK


cdef int add_histogram(Buf *b, Point *point, bint *exact, int *reason) noexcept nogil:
    cdef Total total
    cdef bint increasing = True
    cdef int rc
    total.sum = 0
    total.overflow = False
    total.exact = True
    if reserve(b, 64):
        return NO_MEMORY
    put_point_head(b, point)
    rc = add_bounds(b, point, &increasing)
    if rc:
        return rc
    rc = add_bucket_counts(b, point, &total)
    if rc:
        return rc
    if reserve(b, 9 * NULL_SIZE):
        return NO_MEMORY
    put_nulls(b, 9)
    exact[0] = point.count <= INT8_MAX and total.exact
    if is_absent(point):
        return OK
    if point.count_size != (point.bound_size + 1 if point.count_size or point.bound_size else 0):
        reason[0] = BAD_SIZES
    elif not increasing:
        reason[0] = BAD_BOUNDS
    elif point.count_size and (total.overflow or total.sum != point.count):
        reason[0] = BAD_COUNT
    return OK


cdef int count_buckets(const u8 *p, const u8 *e, int32_t *offset, u64 *count, bint *canonical) noexcept nogil:
    """Reads a Buckets message: its offset, and how many counts there are."""
    cdef Slice data
    cdef bint has_offset = False
    cdef bint has_counts = False
    cdef const u8 *end
    cdef u64 number = 0
    cdef int rc
    cdef u8 tag
    count[0] = 0
    offset[0] = 0
    while p < e:
        tag = p[0]
        p += 1
        if tag == 0x08:
            if has_offset:
                return REPEATED
            has_offset = True
            rc = sint32_of(&p, e, offset, canonical)
            if offset[0] == 0 or has_counts:
                canonical[0] = False
        elif tag == 0x12:
            rc = slice_of(&p, e, &data, canonical)
            if rc:
                return rc
            if has_counts or data.n == 0:
                canonical[0] = False
            has_counts = True
            end = data.p + data.n
            while data.p < end:
                rc = varint(&data.p, end, &number, canonical)
                if rc:
                    return rc
                count[0] += 1
        elif tag == 0x10:
            canonical[0] = False
            rc = varint(&p, e, &number, canonical)
            count[0] += 1
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
    return OK


cdef int add_range(
    Buf *b, Slice *buckets, Point *point, Total *total, int too_many, int too_far, int *reason
) noexcept nogil:
    """The fields offset and counts of one range. `reason` stays what it is when it is set."""
    cdef const u8 *p = buckets.p
    cdef const u8 *e = buckets.p + buckets.n
    cdef const u8 *end
    cdef Slice data
    cdef int32_t offset = 0
    cdef u64 count = 0, number = 0
    cdef bint minimal = True
    cdef int rc
    cdef u8 tag
    if p == NULL:
        put_nulls(b, 2)
        return OK
    rc = count_buckets(p, e, &offset, &count, &point.canonical)
    if rc:
        return rc
    if count > MAX_BUCKETS:
        reason[0] = reason[0] or too_many
        return OK
    if count and <i64>offset + <i64>count - 1 > 0x7FFFFFFF:
        reason[0] = reason[0] or too_far
    if reserve(b, 8 + array_size(<size_t>count, 8)):
        return NO_MEMORY
    put_int4(b, offset)
    put_array_head(b, INT8_OID, <size_t>count, 8)
    while p < e:
        tag = p[0]
        p += 1
        if tag == 0x12:
            rc = slice_of(&p, e, &data, &minimal)
            end = data.p + data.n
            while rc == OK and data.p < end:
                rc = varint(&data.p, end, &number, &minimal)
                put_counted(b, number, total)
        elif tag == 0x10:
            rc = varint(&p, e, &number, &minimal)
            put_counted(b, number, total)
        else:
            rc = skip_value(&p, e, tag & 7)
        if rc:
            return rc
    return OK


cdef int add_exponential(Buf *b, Point *point, bint *exact, int *reason) noexcept nogil:
    cdef Total total
    cdef int rc
    total.sum = point.zero_count
    total.overflow = False
    total.exact = True
    if not MIN_SCALE <= point.scale <= MAX_SCALE:
        reason[0] = BAD_SCALE
    if reserve(b, 128):
        return NO_MEMORY
    put_point_head(b, point)
    put_nulls(b, 2)
    put_int4(b, point.scale)
    put_int8(b, clamped(point.zero_count))
    put_float8(b, point.zero_threshold)
    rc = add_range(b, &point.positive, point, &total, TOO_MANY_POSITIVE, OFFSET_POSITIVE, reason)
    if rc:
        return rc
    if reserve(b, 2 * NULL_SIZE):
        return NO_MEMORY
    rc = add_range(b, &point.negative, point, &total, TOO_MANY_NEGATIVE, OFFSET_NEGATIVE, reason)
    if rc:
        return rc
    if reserve(b, 2 * NULL_SIZE):
        return NO_MEMORY
    put_nulls(b, 2)
    if reason[0] == 0 and not is_absent(point) and (total.overflow or total.sum != point.count):
        reason[0] = BAD_TOTAL
    exact[0] = point.count <= INT8_MAX and point.zero_count <= INT8_MAX and total.exact
    return OK


cdef int read_quantile(const u8 *p, const u8 *e, u64 *quantile, u64 *value, bint *canonical) noexcept nogil:
    """A ValueAtQuantile: the bits of its two doubles."""
    cdef bint has_quantile = False
    cdef bint has_value = False
    cdef int rc
    cdef u8 tag
    quantile[0] = value[0] = 0
    while p < e:
        tag = p[0]
        p += 1
        if tag == 0x09 and not has_quantile:
            has_quantile = True
            rc = fixed64(&p, e, quantile)
            if quantile[0] == 0 or has_value:
                canonical[0] = False
        elif tag == 0x11 and not has_value:
            has_value = True
            rc = fixed64(&p, e, value)
            if value[0] == 0:
                canonical[0] = False
        else:
            return REPEATED if tag == 0x09 or tag == 0x11 else UNKNOWN_FIELD
        if rc:
            return rc
    return OK


cdef int add_quantiles(Buf *b, Point *point, bint values, int *reason) noexcept nogil:
    """The field quantiles, or quantile_values."""
    cdef const u8 *p = point.quantiles
    cdef Slice item
    cdef bint found = False
    cdef bint minimal = True
    cdef u64 quantile = 0, value = 0
    cdef int rc
    if reserve(b, array_size(point.quantile_size, 8)):
        return NO_MEMORY
    put_array_head(b, FLOAT8_OID, point.quantile_size, 8)
    while True:
        rc = next_of(&p, point.e, 0x32, &item, &found, &minimal)
        if rc:
            return rc
        if not found:
            return OK
        rc = read_quantile(item.p, item.p + item.n, &quantile, &value, &point.canonical)
        if rc:
            return rc
        if not 0.0 <= bits_double(quantile) <= 1.0:
            reason[0] = BAD_QUANTILE
        put_int8(b, value if values else quantile)


cdef int add_summary(Buf *b, Point *point, bint *exact, int *reason) noexcept nogil:
    cdef bint has_mean = point.count != 0 and not is_absent(point)
    cdef int rc
    if reserve(b, 128):
        return NO_MEMORY
    put_optional_float8(b, has_mean, point.sum / <double>point.count if has_mean else 0.0)
    put_int8(b, clamped(point.count))
    put_float8(b, point.sum)
    put_nulls(b, 11)
    rc = add_quantiles(b, point, False, reason)
    if rc:
        return rc
    exact[0] = point.count <= INT8_MAX
    return add_quantiles(b, point, True, reason)
