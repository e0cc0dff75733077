# The level of a log record: what logs.log_level does.

cdef enum:
    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3

cdef enum:
    LONGEST_LEVEL = 13  # "informational"

cdef char[40][16] LEVEL_NAMES
cdef int[40] LEVEL_OF_NAME
cdef int LEVEL_COUNT = 0


def _fill_levels():
    global LEVEL_COUNT
    names = (
        ("trace finest finer fine debug verbose config dbg", DEBUG),
        ("info information informational notice default log", INFO),
        ("warn warning", WARN),
        ("err error severe failure crit critical alert emerg emergency fatal panic", ERROR),
    )
    for words, level in names:
        for name in words.split():
            for i, letter in enumerate(name.encode()):
                LEVEL_NAMES[LEVEL_COUNT][i] = letter
            LEVEL_NAMES[LEVEL_COUNT][len(name)] = 0
            LEVEL_OF_NAME[LEVEL_COUNT] = level
            LEVEL_COUNT += 1


_fill_levels()


cdef inline bint is_space(u8 c) noexcept nogil:
    """ASCII white space, as str.strip() sees it."""
    return c == 0x20 or 9 <= c <= 13 or 0x1C <= c <= 0x1F


cdef bint is_wide_space(const u8 *p, size_t n) noexcept nogil:
    """Whether a valid text, not empty, begins or ends with white space beyond ASCII."""
    cdef const u8 *q = p + n - 1
    while q > p and q[0] & 0xC0 == 0x80:
        q -= 1
    return wide_space_at(p, p + n) or wide_space_at(q, p + n)


cdef inline bint wide_space_at(const u8 *p, const u8 *e) noexcept nogil:
    if e - p >= 2 and p[0] == 0xC2:
        return p[1] == 0x85 or p[1] == 0xA0
    if e - p < 3:
        return False
    if p[0] == 0xE2:
        if p[1] == 0x80:
            return p[2] <= 0x8A or p[2] == 0xA8 or p[2] == 0xA9 or p[2] == 0xAF
        return p[1] == 0x81 and p[2] == 0x9F
    return (p[0] == 0xE1 and p[1] == 0x9A and p[2] == 0x80) or (p[0] == 0xE3 and p[1] == 0x80 and p[2] == 0x80)


cdef int level_of(int32_t number, const u8 *p, size_t n, int *level) noexcept nogil:
    """By the number, else by the text (which is valid), else INFO."""
    cdef char[16] name
    cdef size_t i
    cdef int k
    cdef u8 c
    level[0] = INFO
    if 0 < number <= 24:
        level[0] = DEBUG if number <= 8 else INFO if number <= 12 else WARN if number <= 16 else ERROR
        return OK
    while n and is_space(p[0]):
        p += 1
        n -= 1
    while n and is_space(p[n - 1]):
        n -= 1
    if n == 0:
        return OK
    if is_wide_space(p, n):
        return UNUSUAL_VALUE
    if n > LONGEST_LEVEL:
        return OK
    for i in range(n):
        c = p[i]
        name[i] = <char>(c | 0x20 if c'A' <= c <= c'Z' else c)
    name[n] = 0
    for k in range(LEVEL_COUNT):
        if strcmp(name, LEVEL_NAMES[k]) == 0:
            level[0] = LEVEL_OF_NAME[k]
            return OK
    return OK


cdef void put_level(Buf *b, int level) noexcept nogil:
    """A text field; 9 bytes."""
    if level == INFO:
        put_bytes(b, <const u8 *>b"\0\0\0\x04INFO", 8)
    elif level == ERROR:
        put_bytes(b, <const u8 *>b"\0\0\0\x05ERROR", 9)
    elif level == WARN:
        put_bytes(b, <const u8 *>b"\0\0\0\x04WARN", 8)
    else:
        put_bytes(b, <const u8 *>b"\0\0\0\x05DEBUG", 9)
