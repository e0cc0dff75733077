# A growing run of bytes. `reserve` before writing; everything else assumes that there is room.

cdef struct Buf:
    u8 *data
    size_t len
    size_t cap
    bint borrowed  # the bytes are somebody else's, who frees them


cdef int grow(Buf *b, size_t more) noexcept nogil:
    cdef size_t need, cap
    cdef u8 *data
    if more > <size_t>SIZE_MAX // 4 or b.len > <size_t>SIZE_MAX // 4:
        return NO_MEMORY
    need = b.len + more
    cap = b.cap * 2 if b.cap else 512
    if cap < need:
        cap = need
    data = <u8 *>realloc(NULL if b.borrowed else b.data, cap)
    if data == NULL:
        return NO_MEMORY
    if b.borrowed:
        memcpy(data, b.data, b.len)
        b.borrowed = False
    b.data = data
    b.cap = cap
    return OK


cdef inline int reserve(Buf *b, size_t more) noexcept nogil:
    """Room for `more` bytes after what is there."""
    if usual(b.cap - b.len >= more):
        return OK
    return grow(b, more)


cdef inline void release(Buf *b) noexcept nogil:
    if not b.borrowed:
        free(b.data)
    b.data = NULL
    b.len = b.cap = 0


cdef inline u8 *tail(Buf *b) noexcept nogil:
    return b.data + b.len


cdef inline void put_byte(Buf *b, u8 value) noexcept nogil:
    b.data[b.len] = value
    b.len += 1


cdef inline void put_bytes(Buf *b, const u8 *p, size_t n) noexcept nogil:
    if n:
        memcpy(b.data + b.len, p, n)
        b.len += n


cdef inline int add_bytes(Buf *b, const u8 *p, size_t n) noexcept nogil:
    """With its own `reserve`."""
    cdef int rc = reserve(b, n)
    if rc:
        return rc
    put_bytes(b, p, n)
    return OK
