# JSON text as orjson writes it, straight into a buffer.

cdef const char *HEX = "0123456789abcdef"


cdef inline u64 short_word(const u8 *p, size_t n) noexcept nogil:
    """One to seven bytes as a word for `needs_care`, in no particular order."""
    if n >= 4:
        return <u64>half(p) | <u64>half(p + n - 4) << 32
    return <u64>0x2020202020000000 | <u64>p[0] | <u64>p[n >> 1] << 8 | <u64>p[n - 1] << 16


cdef int put_careful(Buf *b, const u8 *p, const u8 *e) noexcept nogil:
    """The inside of a JSON string that may hold anything; there is room for six bytes for each of its bytes."""
    cdef u8 *q = tail(b)
    cdef u8 c
    cdef u64 w
    cdef size_t step, i
    while p < e:
        if e - p >= 8:
            w = word(p)
            if usual(not needs_care(w)):
                copy_word(q, w)
                p += 8
                q += 8
                continue
        c = p[0]
        if c >= 0x80:
            step = sequence(p, e)
            if step == 0:
                return BAD_UTF8
            for i in range(step):
                q[i] = p[i]
            p += step
            q += step
            continue
        p += 1
        if c >= 0x20 and c != c'"' and c != c'\\':
            q[0] = c
            q += 1
            continue
        if c == 0:
            return NUL
        q[0] = c'\\'
        q[1] = c
        if c == c'\b':
            q[1] = c'b'
        elif c == c'\t':
            q[1] = c't'
        elif c == c'\n':
            q[1] = c'n'
        elif c == c'\f':
            q[1] = c'f'
        elif c == c'\r':
            q[1] = c'r'
        elif c < 0x20:
            q[1] = c'u'
            q[2] = q[3] = c'0'
            q[4] = HEX[c >> 4]
            q[5] = HEX[c & 15]
            q += 4
        q += 2
    b.len = <size_t>(q - b.data)
    return OK


cdef inline size_t copy_plain(u8 *q, const u8 *p, size_t n) noexcept nogil:
    """Copies a text that is mostly plain. Returns how many bytes of it are copied and need no care: n, or fewer."""
    cdef size_t i = 0
    cdef u64 a, b
    if n >= 16:
        while i + 16 <= n:
            if rare(copy_needs_care(q + i, p + i)):
                return i
            i += 16
        if i < n and rare(copy_needs_care(q + n - 16, p + n - 16)):
            return i
        return n
    if n >= 8:
        a = word(p)
        b = word(p + n - 8)
        if rare(pair_needs_care(a, b)):
            return 0
        copy_word(q, a)
        copy_word(q + n - 8, b)
        return n
    if n == 0:
        return 0
    a = short_word(p, n)
    if rare(needs_care(a) != 0):
        return 0
    if n >= 4:
        copy_half(q, half(p))
        copy_half(q + n - 4, half(p + n - 4))
        return n
    q[0] = p[0]
    q[n >> 1] = p[n >> 1]
    q[n - 1] = p[n - 1]
    return n


cdef int add_json_text(Buf *b, const u8 *p, size_t n) noexcept nogil:
    """A JSON string, and room for a byte after it."""
    cdef int rc
    cdef u8 *q
    cdef size_t i
    if rare(reserve(b, n + 4)):
        return NO_MEMORY
    q = tail(b)
    q[0] = c'"'
    i = copy_plain(q + 1, p, n)
    b.len += 1 + i
    if rare(i < n):
        rc = reserve(b, (n - i) * 6 + 8)
        if rc:
            return rc
        rc = put_careful(b, p + i, p + n)
        if rc:
            return rc
    put_byte(b, c'"')
    return OK


cdef int add_base64(Buf *b, const u8 *p, size_t n) noexcept nogil:
    """A JSON string of bytes in base64."""
    cdef const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    cdef u32 three
    cdef u8 *q
    cdef int rc = reserve(b, (n + 2) // 3 * 4 + 2)
    if rc:
        return rc
    q = tail(b)
    q[0] = c'"'
    q += 1
    while n:
        three = <u32>p[0] << 16
        if n > 1:
            three |= <u32>p[1] << 8
        if n > 2:
            three |= p[2]
        q[0] = letters[three >> 18]
        q[1] = letters[three >> 12 & 63]
        q[2] = letters[three >> 6 & 63] if n > 1 else c'='
        q[3] = letters[three & 63] if n > 2 else c'='
        q += 4
        p += 3 if n > 2 else n
        n -= 3 if n > 2 else n
    q[0] = c'"'
    b.len = <size_t>(q + 1 - b.data)
    return OK


cdef int add_hex(Buf *b, const u8 *p, size_t n) noexcept nogil:
    """A JSON string of bytes in hex."""
    cdef size_t i
    cdef u8 *q
    cdef int rc = reserve(b, 2 * n + 2)
    if rc:
        return rc
    q = tail(b)
    q[0] = c'"'
    for i in range(n):
        q[1 + 2 * i] = HEX[p[i] >> 4]
        q[2 + 2 * i] = HEX[p[i] & 15]
    q[2 * n + 1] = c'"'
    b.len += 2 * n + 2
    return OK
