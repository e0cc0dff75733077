# The metric series that this process has written: a set of 16-byte ids that encoders read in threads, without the GIL,
# while the writer adds to it. What known.KnownSeries is to the reference.

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_destroy(pthread_mutex_t *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)

cdef struct KnownSet:
    pthread_mutex_t lock
    u64 *places   # an open hash table of ids, two words each; two zeros are an empty place
    size_t size   # places, a power of two
    size_t count
    bint zero     # whether the id of all zeros is in the set


cdef inline size_t place_of_id(const u8 *id_, size_t size) noexcept nogil:
    return <size_t>mixed(word(id_) ^ SEED, word(id_ + 8) ^ <u64>0x9E3779B97F4A7C15) & (size - 1)


cdef bint find_id(KnownSet *k, const u8 *id_, size_t *at) noexcept nogil:
    """Whether an id is in the table; else `at` is the empty place for it. The table has one, and the lock is held."""
    cdef u64 a = word(id_)
    cdef u64 b = word(id_ + 8)
    cdef size_t i = place_of_id(id_, k.size)
    while k.places[2 * i] | k.places[2 * i + 1]:
        if k.places[2 * i] == a and k.places[2 * i + 1] == b:
            return True
        i = (i + 1) & (k.size - 1)
    at[0] = i
    return False


cdef int grow_known(KnownSet *k) noexcept nogil:
    cdef size_t size = 2 * k.size if k.size else 1024
    cdef u64 *old = k.places
    cdef size_t old_size = k.size
    cdef size_t i, at = 0
    cdef u64 *places = <u64 *>calloc(size, 16)
    if places == NULL:
        return NO_MEMORY
    k.places = places
    k.size = size
    for i in range(old_size):
        if old[2 * i] | old[2 * i + 1]:
            find_id(k, <const u8 *>(old + 2 * i), &at)
            memcpy(places + 2 * at, old + 2 * i, 16)
    free(old)
    return OK


cdef bint is_known(KnownSet *k, const u8 *id_) noexcept nogil:
    cdef bint found
    cdef size_t at = 0
    pthread_mutex_lock(&k.lock)
    if (word(id_) | word(id_ + 8)) == 0:
        found = k.zero
    else:
        found = k.size != 0 and find_id(k, id_, &at)
    pthread_mutex_unlock(&k.lock)
    return found


cdef int add_known(KnownSet *k, const u8 *id_) noexcept nogil:
    cdef size_t at = 0
    cdef int rc = OK
    pthread_mutex_lock(&k.lock)
    if (word(id_) | word(id_ + 8)) == 0:
        k.count += not k.zero
        k.zero = True
    else:
        if 2 * (k.count + 1) > k.size:
            rc = grow_known(k)
        if rc == OK and not find_id(k, id_, &at):
            memcpy(k.places + 2 * at, id_, 16)
            k.count += 1
    pthread_mutex_unlock(&k.lock)
    return rc


cdef void forget_known(KnownSet *k) noexcept nogil:
    cdef u64 *places
    pthread_mutex_lock(&k.lock)
    places = k.places
    k.places = NULL
    k.size = k.count = 0
    k.zero = False
    pthread_mutex_unlock(&k.lock)
    free(places)


cdef class KnownSeries:
    """A set of series ids, as known.KnownSeries."""

    cdef KnownSet ids
    cdef readonly long long generation

    def __cinit__(self):
        memset(&self.ids, 0, sizeof(KnownSet))
        pthread_mutex_init(&self.ids.lock, NULL)
        self.generation = 0

    def __dealloc__(self):
        free(self.ids.places)
        pthread_mutex_destroy(&self.ids.lock)

    def __contains__(self, bytes series_id not None):
        return PyBytes_GET_SIZE(series_id) == 16 and is_known(&self.ids, <const u8 *>PyBytes_AS_STRING(series_id))

    def __len__(self):
        return self.ids.count

    def add(self, series_ids):
        """Adds series whose definitions are committed."""
        cdef bytes series_id
        for series_id in series_ids:
            if series_id is None or PyBytes_GET_SIZE(series_id) != 16:
                raise ValueError("the id of a series is 16 bytes")
            if add_known(&self.ids, <const u8 *>PyBytes_AS_STRING(series_id)):
                raise MemoryError

    def forget(self):
        """Forgets all, and begins a new generation."""
        self.generation += 1  # first: whoever looks something up from now on must not rely on what was
        forget_known(&self.ids)
