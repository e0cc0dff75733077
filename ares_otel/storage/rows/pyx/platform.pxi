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
