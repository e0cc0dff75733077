# A data point of any type, as it stands on the wire, and what the tuples of all types end with: what points.py does.

# The types of metrics, in the order of KINDS in native_metrics.py
cdef enum:
    GAUGE = 0
    SUM = 1
    HISTOGRAM = 2
    EXPONENTIAL = 3
    SUMMARY = 4

# What a field of a point is
cdef enum:
    P_UNKNOWN = 0
    P_START = 1
    P_TIME = 2
    P_COUNT = 3
    P_SUM = 4
    P_MIN = 5
    P_MAX = 6
    P_FLAGS = 7
    P_ATTRIBUTES = 8
    P_EXEMPLARS = 9
    P_AS_DOUBLE = 10
    P_AS_INT = 11
    P_COUNTS = 12     # packed
    P_ONE_COUNT = 13  # not packed
    P_BOUNDS = 14
    P_ONE_BOUND = 15
    P_SCALE = 16
    P_ZERO_COUNT = 17
    P_POSITIVE = 18
    P_NEGATIVE = 19
    P_ZERO_THRESHOLD = 20
    P_QUANTILES = 21

cdef u8[5][128] POINT_ROLES  # by type and tag
cdef u8[5] ATTRIBUTES_TAG
cdef u8[5] POINT_KINDS    # of canonical.pxi


def _fill_points():
    start_and_time = {0x11: P_START, 0x19: P_TIME}
    number = {
        **start_and_time, 0x21: P_AS_DOUBLE, 0x2A: P_EXEMPLARS, 0x31: P_AS_INT, 0x3A: P_ATTRIBUTES, 0x40: P_FLAGS,
    }
    counted = {**start_and_time, 0x21: P_COUNT, 0x29: P_SUM}
    histogram = {
        **counted, 0x32: P_COUNTS, 0x31: P_ONE_COUNT, 0x3A: P_BOUNDS, 0x39: P_ONE_BOUND, 0x42: P_EXEMPLARS,
        0x4A: P_ATTRIBUTES, 0x50: P_FLAGS, 0x59: P_MIN, 0x61: P_MAX,
    }
    exponential = {
        **counted, 0x0A: P_ATTRIBUTES, 0x30: P_SCALE, 0x39: P_ZERO_COUNT, 0x42: P_POSITIVE, 0x4A: P_NEGATIVE,
        0x50: P_FLAGS, 0x5A: P_EXEMPLARS, 0x61: P_MIN, 0x69: P_MAX, 0x71: P_ZERO_THRESHOLD,
    }
    summary = {**counted, 0x32: P_QUANTILES, 0x3A: P_ATTRIBUTES, 0x40: P_FLAGS}
    for kind, roles in enumerate((number, number, histogram, exponential, summary)):
        for tag, role in roles.items():
            POINT_ROLES[kind][tag] = role
            if role == P_ATTRIBUTES:
                ATTRIBUTES_TAG[kind] = tag
    for kind, form in enumerate((C_NUMBER, C_NUMBER, C_HISTOGRAM, C_EXPONENTIAL, C_SUMMARY)):
        POINT_KINDS[kind] = form


_fill_points()

cdef enum:
    NO_VALUE = 0
    DOUBLE_NUMBER = 1
    INT_NUMBER = 2

cdef struct Point:
    const u8 *p           # the point itself
    const u8 *e
    u64 start
    u64 time
    u64 count
    u64 zero_count
    u64 number            # the bits of the value
    int number_kind
    double sum
    double min
    double max
    double zero_threshold
    bint has_sum
    bint has_min
    bint has_max
    u32 flags
    int32_t scale
    Slice positive        # p is NULL where there is none
    Slice negative
    const u8 *attributes  # the first field of each list; e where there is none
    const u8 *exemplars
    const u8 *counts
    const u8 *bounds
    const u8 *quantiles
    size_t count_size     # numbers in each list
    size_t bound_size
    size_t quantile_size


cdef inline int sint32_of(const u8 **at, const u8 *e, int32_t *value, bint *minimal) noexcept nogil:
    cdef u32 number = 0
    cdef int rc = uint32_of(at, e, &number, minimal)
    value[0] = <int32_t>(number >> 1 ^ (0 - (number & 1)))
    return rc


cdef inline int double_of(const u8 **at, const u8 *e, double *value) noexcept nogil:
    cdef u64 number = 0
    cdef int rc = fixed64(at, e, &number)
    value[0] = bits_double(number)
    return rc


cdef int read_list(int role, Point *point, const u8 *at, Slice *data) noexcept nogil:
    """Notes where a list begins, and how many numbers there are in its field `data`."""
    if role == P_ATTRIBUTES:
        if point.attributes == point.e:
            point.attributes = at
    elif role == P_EXEMPLARS:
        if point.exemplars == point.e:
            point.exemplars = at
    elif role == P_QUANTILES:
        if point.quantiles == point.e:
            point.quantiles = at
        point.quantile_size += 1
    else:
        if data.n & 7:
            return MALFORMED
        if role == P_COUNTS:
            if point.counts == point.e:
                point.counts = at
            point.count_size += data.n >> 3
        else:
            if point.bounds == point.e:
                point.bounds = at
            point.bound_size += data.n >> 3
    return OK


cdef int read_number(int role, Point *point, const u8 **at, const u8 *e) noexcept nogil:
    """A field that is there once."""
    cdef bint minimal = True
    cdef int rc
    if role == P_START:
        rc = fixed64(at, e, &point.start)
    elif role == P_TIME:
        rc = fixed64(at, e, &point.time)
    elif role == P_COUNT:
        rc = fixed64(at, e, &point.count)
    elif role == P_ZERO_COUNT:
        rc = fixed64(at, e, &point.zero_count)
    elif role == P_AS_DOUBLE or role == P_AS_INT:
        if point.number_kind != NO_VALUE:
            return REPEATED
        point.number_kind = DOUBLE_NUMBER if role == P_AS_DOUBLE else INT_NUMBER
        rc = fixed64(at, e, &point.number)
    elif role == P_SUM:
        rc = double_of(at, e, &point.sum)
        point.has_sum = True
    elif role == P_MIN:
        rc = double_of(at, e, &point.min)
        point.has_min = True
    elif role == P_MAX:
        rc = double_of(at, e, &point.max)
        point.has_max = True
    elif role == P_ZERO_THRESHOLD:
        rc = double_of(at, e, &point.zero_threshold)
    elif role == P_FLAGS:
        rc = uint32_of(at, e, &point.flags, &minimal)
    elif role == P_SCALE:
        rc = sint32_of(at, e, &point.scale, &minimal)
    elif role == P_POSITIVE:
        rc = slice_of(at, e, &point.positive, &minimal)
    elif role == P_NEGATIVE:
        rc = slice_of(at, e, &point.negative, &minimal)
    else:
        return UNKNOWN_FIELD
    return rc


cdef int read_point(int kind, const u8 *p, const u8 *e, Point *point) noexcept nogil:
    cdef u32 seen = 0, field
    cdef u64 number = 0
    cdef const u8 *at
    cdef Slice data
    cdef bint minimal = True
    cdef int rc, role
    memset(point, 0, sizeof(Point))
    point.p = p
    point.e = point.attributes = point.exemplars = point.counts = point.bounds = point.quantiles = e
    while p < e:
        at = p
        if p[0] & 0x80:
            return UNKNOWN_FIELD
        role = POINT_ROLES[kind][p[0]]
        field = p[0] >> 3
        p += 1
        if role == P_ATTRIBUTES:
            rc = slice_of(&p, e, &data, &minimal)
            if rc:
                return rc
            if point.attributes == e:
                point.attributes = at
            continue
        if role == P_ONE_COUNT or role == P_ONE_BOUND:
            rc = fixed64(&p, e, &number)
            if role == P_ONE_COUNT:
                if point.counts == e:
                    point.counts = at
                point.count_size += 1
            else:
                if point.bounds == e:
                    point.bounds = at
                point.bound_size += 1
        elif role == P_EXEMPLARS or role == P_QUANTILES or role == P_COUNTS or role == P_BOUNDS:
            rc = slice_of(&p, e, &data, &minimal)
            if rc == OK:
                rc = read_list(role, point, at, &data)
        else:
            if seen >> field & 1:
                return REPEATED
            seen |= <u32>1 << field
            rc = read_number(role, point, &p, e)
        if rc:
            return rc
    return OK


cdef inline bint is_absent(Point *point) noexcept nogil:
    """Whether the point says that there is no value (flag NoRecordedValue)."""
    return point.flags & 1
