# What C has and Cython does not: unaligned loads, byte order, bit counting, 128-bit products.

ctypedef uint8_t u8
ctypedef uint16_t u16
ctypedef uint32_t u32
ctypedef uint64_t u64
ctypedef int64_t i64

cdef extern from *:
    """
    #include <endian.h>
    #include <string.h>
    #include <stdint.h>

    #define ARES_USUAL(x) __builtin_expect(!!(x), 1)
    #define ARES_RARE(x) __builtin_expect(!!(x), 0)

    static inline uint64_t ares_word(const unsigned char *p) { uint64_t v; memcpy(&v, p, 8); return v; }
    static inline uint32_t ares_half(const unsigned char *p) { uint32_t v; memcpy(&v, p, 4); return v; }
    static inline uint64_t ares_little64(const unsigned char *p) { return le64toh(ares_word(p)); }
    static inline uint32_t ares_little32(const unsigned char *p) { return le32toh(ares_half(p)); }
    static inline uint64_t ares_big64(const unsigned char *p) { return be64toh(ares_word(p)); }
    static inline void ares_put_little64(unsigned char *p, uint64_t v) { v = htole64(v); memcpy(p, &v, 8); }
    static inline void ares_put64(unsigned char *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }
    static inline void ares_put32(unsigned char *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
    static inline void ares_put16(unsigned char *p, uint16_t v) { v = htobe16(v); memcpy(p, &v, 2); }
    static inline void ares_copy_word(unsigned char *to, uint64_t v) { memcpy(to, &v, 8); }
    static inline void ares_copy_half(unsigned char *to, uint32_t v) { memcpy(to, &v, 4); }
    static inline int ares_bits(uint64_t v) { return 64 - __builtin_clzll(v); }
    static inline uint64_t ares_double_bits(double v) { uint64_t b; memcpy(&b, &v, 8); return b; }
    static inline double ares_bits_double(uint64_t b) { double v; memcpy(&v, &b, 8); return v; }
    static inline uint64_t ares_product(uint64_t a, uint64_t b, uint64_t *high) {
        unsigned __int128 p = (unsigned __int128)a * b;
        *high = (uint64_t)(p >> 64);
        return (uint64_t)p;
    }

    /* Not 0 where a byte is a control character, a quote, a backslash or not ASCII. */
    static inline uint64_t ares_care(uint64_t w) {
        uint64_t ones = 0x0101010101010101u, quote = w ^ (ones * '"'), slash = w ^ (ones * 0x5C);
        return (((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | w) & (ones * 0x80);
    }
    #ifdef __SSE2__
    #include <emmintrin.h>
    static inline int ares_care_of(__m128i x) {
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1F)), x);
        __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"')), slash = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x5C));
        return _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(x, low), _mm_or_si128(quote, slash)));
    }
    static inline int ares_care_pair(uint64_t a, uint64_t b) {
        return ares_care_of(_mm_set_epi64x((long long)a, (long long)b));
    }
    static inline int ares_copy_plain16(unsigned char *to, const unsigned char *p) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        _mm_storeu_si128((__m128i *)to, x);
        return ares_care_of(x);
    }
    #else
    static inline int ares_care_pair(uint64_t a, uint64_t b) { return (ares_care(a) | ares_care(b)) != 0; }
    static inline int ares_copy_plain16(unsigned char *to, const unsigned char *p) {
        uint64_t a = ares_word(p), b = ares_word(p + 8);
        memcpy(to, &a, 8);
        memcpy(to + 8, &b, 8);
        return ares_care_pair(a, b);
    }
    #endif
    """
    bint usual "ARES_USUAL"(bint) noexcept nogil
    bint rare "ARES_RARE"(bint) noexcept nogil
    u64 word "ares_word"(const u8 *) noexcept nogil
    u32 half "ares_half"(const u8 *) noexcept nogil
    u64 little64 "ares_little64"(const u8 *) noexcept nogil
    u32 little32 "ares_little32"(const u8 *) noexcept nogil
    u64 big64 "ares_big64"(const u8 *) noexcept nogil
    void put_little64 "ares_put_little64"(u8 *, u64) noexcept nogil
    void put64 "ares_put64"(u8 *, u64) noexcept nogil
    void put32 "ares_put32"(u8 *, u32) noexcept nogil
    void put16 "ares_put16"(u8 *, u16) noexcept nogil
    void copy_word "ares_copy_word"(u8 *, u64) noexcept nogil
    void copy_half "ares_copy_half"(u8 *, u32) noexcept nogil
    int bits "ares_bits"(u64) noexcept nogil  # bit length of a number that is not 0
    u64 double_bits "ares_double_bits"(double) noexcept nogil
    double bits_double "ares_bits_double"(u64) noexcept nogil
    u64 product "ares_product"(u64, u64, u64 *high) noexcept nogil
    u64 needs_care "ares_care"(u64) noexcept nogil  # of eight bytes of JSON text
    bint pair_needs_care "ares_care_pair"(u64, u64) noexcept nogil
    bint copy_needs_care "ares_copy_plain16"(u8 *, const u8 *) noexcept nogil  # copies 16 bytes in any case
