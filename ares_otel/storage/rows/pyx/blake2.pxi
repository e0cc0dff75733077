# BLAKE2b with 16 bytes of output and a personalisation (RFC 7693): what identity.py hashes with.

cdef struct Blake2:
    u64[8] h
    u64 total
    u8[128] block
    size_t n

cdef u64[8] BLAKE2_IV
cdef u8[12][16] BLAKE2_SIGMA


def _fill_blake2():
    iv = (
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    )
    sigma = (
        "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
        "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
        "0123456789abcdef", "ea489fd61c02b753",
    )
    for i in range(8):
        BLAKE2_IV[i] = iv[i]
    for i in range(12):
        for k in range(16):
            BLAKE2_SIGMA[i][k] = int(sigma[i][k], 16)


_fill_blake2()


cdef inline u64 rotated(u64 w, int n) noexcept nogil:
    return w >> n | w << (64 - n)


cdef inline void blake2_mix(u64 *v, int a, int b, int c, int d, u64 x, u64 y) noexcept nogil:
    v[a] = v[a] + v[b] + x
    v[d] = rotated(v[d] ^ v[a], 32)
    v[c] = v[c] + v[d]
    v[b] = rotated(v[b] ^ v[c], 24)
    v[a] = v[a] + v[b] + y
    v[d] = rotated(v[d] ^ v[a], 16)
    v[c] = v[c] + v[d]
    v[b] = rotated(v[b] ^ v[c], 63)


cdef void blake2_compress(Blake2 *s, const u8 *block, bint last) noexcept nogil:
    cdef u64[16] m
    cdef u64[16] v
    cdef const u8 *g
    cdef int i
    for i in range(16):
        m[i] = little64(block + 8 * i)
    for i in range(8):
        v[i] = s.h[i]
        v[i + 8] = BLAKE2_IV[i]
    v[12] ^= s.total
    if last:
        v[14] = ~v[14]
    for i in range(12):
        g = BLAKE2_SIGMA[i]
        blake2_mix(v, 0, 4, 8, 12, m[g[0]], m[g[1]])
        blake2_mix(v, 1, 5, 9, 13, m[g[2]], m[g[3]])
        blake2_mix(v, 2, 6, 10, 14, m[g[4]], m[g[5]])
        blake2_mix(v, 3, 7, 11, 15, m[g[6]], m[g[7]])
        blake2_mix(v, 0, 5, 10, 15, m[g[8]], m[g[9]])
        blake2_mix(v, 1, 6, 11, 12, m[g[10]], m[g[11]])
        blake2_mix(v, 2, 7, 8, 13, m[g[12]], m[g[13]])
        blake2_mix(v, 3, 4, 9, 14, m[g[14]], m[g[15]])
    for i in range(8):
        s.h[i] ^= v[i] ^ v[i + 8]


cdef void blake2_begin(Blake2 *s, const char *person) noexcept nogil:
    """A new hash. `person` has at most 16 characters. The state is a plain struct: assign it to copy it."""
    cdef u8[16] padded
    memset(padded, 0, 16)
    memcpy(padded, person, strlen(person))
    memcpy(s.h, BLAKE2_IV, 64)
    s.h[0] ^= <u64>0x01010010
    s.h[6] ^= little64(&padded[0])
    s.h[7] ^= little64(&padded[8])
    s.total = 0
    s.n = 0


cdef void blake2_update(Blake2 *s, const u8 *p, size_t n) noexcept nogil:
    cdef size_t room
    while n:
        if s.n == 128:  # not before: the last block is compressed in another way
            s.total += 128
            blake2_compress(s, s.block, False)
            s.n = 0
        if s.n == 0 and n > 128:
            s.total += 128
            blake2_compress(s, p, False)
            p += 128
            n -= 128
            continue
        room = 128 - s.n
        if room > n:
            room = n
        memcpy(&s.block[s.n], p, room)
        s.n += room
        p += room
        n -= room


cdef void blake2_end(Blake2 *s, u8 *digest) noexcept nogil:
    """16 bytes. The state cannot be used after that."""
    s.total += s.n
    memset(&s.block[0] + s.n, 0, 128 - s.n)
    blake2_compress(s, s.block, True)
    put_little64(digest, s.h[0])
    put_little64(digest + 8, s.h[1])


# The parts of an identity, as identity.py describes them.

cdef inline void hash_part(Blake2 *s, const u8 *p, size_t n) noexcept nogil:
    cdef u8[4] size
    put32(size, <u32>n)
    blake2_update(s, size, 4)
    blake2_update(s, p, n)


cdef inline void hash_absent(Blake2 *s) noexcept nogil:
    blake2_update(s, <const u8 *>b"\xff\xff\xff\xff", 4)


cdef inline void hash_number(Blake2 *s, i64 value) noexcept nogil:
    cdef u8[24] text
    cdef u8 *begin = digits_before(&text[24], 0 - <u64>value if value < 0 else <u64>value)
    if value < 0:
        begin -= 1
        begin[0] = c'-'
    hash_part(s, begin, <size_t>(&text[24] - begin))
