# A seeded hash of bytes for tables in memory: who does not know the seed cannot choose collisions.

cdef u64 SEED = 0
cdef u64 SALT = 0  # both factors of a product are secret: who could make one of them 0 would choose the product


def _fill_seed():
    global SEED, SALT
    from os import urandom

    SEED = int.from_bytes(urandom(8), "little")
    SALT = int.from_bytes(urandom(8), "little")


_fill_seed()


cdef inline u64 mixed(u64 a, u64 b) noexcept nogil:
    cdef u64 high = 0
    cdef u64 low = product(a, b, &high)
    return low ^ high


cdef inline u64 hash_of(const u8 *p, size_t n, u64 seed) noexcept nogil:
    cdef u64 h = SALT ^ seed ^ n * <u64>0x9E3779B97F4A7C15
    cdef u64 a, b
    while n > 16:
        h = mixed(word(p) ^ <u64>0xA0761D6478BD642F ^ SEED, word(p + 8) ^ h)
        p += 16
        n -= 16
    if n >= 8:
        a = word(p)
        b = word(p + n - 8)
    elif n >= 4:
        a = half(p)
        b = half(p + n - 4)
    elif n:
        a = <u64>p[0] << 16 | <u64>p[n >> 1] << 8 | p[n - 1]
        b = 0
    else:
        a = b = 0
    return mixed(a ^ <u64>0xE7037ED1A0B428DB ^ SEED, b ^ h ^ <u64>0x8EBC6AF09C88C6E3)
