# Which key of an attribute list occurs twice. Only hashes are kept: two keys with equal hashes count as equal, which
# sends a request to the reference encoder without need once in an eternity, and costs no comparison.

cdef enum:
    FEW_KEYS = 64

cdef struct Keys:
    u64[FEW_KEYS] few  # in the order they came
    u64 seen           # a bit for the top of each hash in `few`
    u64 *many          # an open hash table, once there are more
    size_t size        # of the table, a power of two
    size_t count


cdef inline void begin_keys(Keys *keys) noexcept nogil:
    keys.seen = 0
    keys.many = NULL
    keys.size = keys.count = 0


cdef inline void end_keys(Keys *keys) noexcept nogil:
    if rare(keys.many != NULL):
        free(keys.many)


cdef bint place_key(u64 *table, size_t size, u64 h) noexcept nogil:
    """Puts a hash into a table that has room; False when it is there already."""
    cdef size_t i = <size_t>h & (size - 1)
    h |= h == 0  # 0 is an empty place
    while table[i]:
        if table[i] == h:
            return False
        i = (i + 1) & (size - 1)
    table[i] = h
    return True


cdef int add_to_many(Keys *keys, u64 h) noexcept nogil:
    cdef u64 *table
    cdef size_t i, size
    if 2 * (keys.count + 1) > keys.size:
        size = 2 * keys.size if keys.size else 4 * FEW_KEYS
        table = <u64 *>calloc(size, sizeof(u64))
        if table == NULL:
            return NO_MEMORY
        for i in range(keys.size):
            if keys.many[i]:
                place_key(table, size, keys.many[i])
        if keys.many == NULL:
            for i in range(<size_t>FEW_KEYS):
                place_key(table, size, keys.few[i])
        free(keys.many)
        keys.many = table
        keys.size = size
    keys.count += 1
    return OK if place_key(keys.many, keys.size, h) else DUPLICATE_KEY


cdef inline int add_key(Keys *keys, const u8 *p, size_t n) noexcept nogil:
    cdef u64 h = hash_of(p, n, 0)
    cdef u64 bit = <u64>1 << (h >> 58)
    cdef size_t i
    if rare(keys.count >= FEW_KEYS):
        return add_to_many(keys, h)
    if keys.seen & bit:
        for i in range(keys.count):
            if keys.few[i] == h:
                return DUPLICATE_KEY
    keys.seen |= bit
    keys.few[keys.count] = h
    keys.count += 1
    return OK
