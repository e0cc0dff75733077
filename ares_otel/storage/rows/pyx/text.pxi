# Text: checked as protobuf checks it (UTF-8 without surrogates), without NUL, eight bytes at a time where it is ASCII.

cdef enum:
    MAX_LABEL = 255  # envelope.MAX_LABEL, in characters



cdef inline size_t sequence(const u8 *p, const u8 *e) noexcept nogil:
    """The length of the UTF-8 sequence at p, which is not ASCII; 0 when it is not valid."""
    cdef u8 a = p[0]
    cdef size_t left = <size_t>(e - p)
    if a < 0xC2:
        return 0
    if a < 0xE0:
        return 2 if left >= 2 and p[1] & 0xC0 == 0x80 else 0
    if a < 0xF0:
        if left < 3 or p[1] & 0xC0 != 0x80 or p[2] & 0xC0 != 0x80:
            return 0
        if (a == 0xE0 and p[1] < 0xA0) or (a == 0xED and p[1] > 0x9F):
            return 0
        return 3
    if a > 0xF4 or left < 4 or p[1] & 0xC0 != 0x80 or p[2] & 0xC0 != 0x80 or p[3] & 0xC0 != 0x80:
        return 0
    if (a == 0xF0 and p[1] < 0x90) or (a == 0xF4 and p[1] > 0x8F):
        return 0
    return 4


cdef int check_text(const u8 *p, size_t n) noexcept nogil:
    """Whether PostgreSQL and protobuf take it."""
    cdef const u8 *e = p + n
    cdef u64 w
    cdef size_t step
    while p < e:
        if e - p >= 8:
            w = word(p)
            if usual(not (w | ((w - <u64>0x0101010101010101) & ~w)) & <u64>0x8080808080808080):
                p += 8
                continue
        if p[0] < 0x80:
            if p[0] == 0:
                return NUL
            p += 1
        else:
            step = sequence(p, e)
            if step == 0:
                return BAD_UTF8
            p += step
    return OK


cdef size_t cut_label(const u8 *p, size_t n) noexcept nogil:
    """Bytes of the first 255 characters of a valid text."""
    cdef size_t i, characters = 0
    if n <= MAX_LABEL:
        return n
    for i in range(n):
        if p[i] & 0xC0 != 0x80:
            characters += 1
            if characters > MAX_LABEL:
                return i
    return n


cdef size_t count_characters(const u8 *p, size_t n) noexcept nogil:
    cdef size_t i, characters = 0
    for i in range(n):
        characters += p[i] & 0xC0 != 0x80
    return characters


cdef int add_text(Buf *b, const u8 *p, size_t n) noexcept nogil:
    """A text field."""
    cdef int rc = reserve(b, n + 4)
    if rc:
        return rc
    rc = check_text(p, n)
    if rc:
        return rc
    put32(tail(b), <u32>n)
    b.len += 4
    put_bytes(b, p, n)
    return OK


cdef inline int add_optional_text(Buf *b, const u8 *p, size_t n) noexcept nogil:
    """A text field, NULL when empty."""
    if n:
        return add_text(b, p, n)
    return add_null(b)
