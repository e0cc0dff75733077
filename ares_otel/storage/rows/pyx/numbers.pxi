# Numbers as decimal text: 64-bit integers, and doubles as orjson prints them.
#
# A double becomes the shortest decimal that reads back as the same double, and of several the nearest (Schubfach, by
# Raffaello Giulietti: three products with a 128-bit power of ten). The powers are computed when the module is imported.

cdef enum:
    MIN_POWER = -292
    MAX_POWER = 324
    NUMBER_SIZE = 32  # room that a number needs at most

cdef u64[MAX_POWER - MIN_POWER + 1][2] POWERS  # 10**k, scaled to 128 bits and rounded up: high, low
cdef u8[200] PAIRS  # "00" to "99"


def _fill_numbers():
    cdef int k
    cdef object numerator, denominator, power, shift
    for k in range(MIN_POWER, MAX_POWER + 1):
        numerator, denominator = pow(10, max(k, 0)), pow(10, max(-k, 0))
        shift = 128 - ((k * 1741647 >> 19) + 1)
        if shift >= 0:
            numerator <<= shift
        else:
            denominator <<= -shift
        power = -(-numerator // denominator)
        POWERS[k - MIN_POWER][0] = power >> 64
        POWERS[k - MIN_POWER][1] = power & <u64>0xFFFFFFFFFFFFFFFF
    for k in range(100):
        PAIRS[2 * k] = 48 + k // 10
        PAIRS[2 * k + 1] = 48 + k % 10


_fill_numbers()


cdef inline u8 *digits_before(u8 *end, u64 value) noexcept nogil:
    """The decimal digits of a number, written so that they end at `end`; returns where they begin."""
    cdef u32 pair
    while value >= 100:
        pair = <u32>(value % 100)
        value //= 100
        end -= 2
        memcpy(end, &PAIRS[2 * pair], 2)
    if value >= 10:
        end -= 2
        memcpy(end, &PAIRS[2 * value], 2)
    else:
        end -= 1
        end[0] = <u8>(48 + value)
    return end


cdef inline void put_unsigned(Buf *b, u64 value) noexcept nogil:
    """Decimal text; there is room for NUMBER_SIZE."""
    cdef u8[24] text
    cdef u8 *begin = digits_before(&text[24], value)
    put_bytes(b, begin, <size_t>(&text[24] - begin))


cdef inline void put_signed(Buf *b, i64 value) noexcept nogil:
    if value < 0:
        put_byte(b, c'-')
        put_unsigned(b, 0 - <u64>value)
    else:
        put_unsigned(b, <u64>value)


cdef inline u64 round_to_odd(const u64 *power, u64 c) noexcept nogil:
    """The upper part of a product with a power of ten; the lowest bit says whether anything was cut."""
    cdef u64 x1 = 0, y1 = 0, y0
    product(power[1], c, &x1)
    y0 = product(power[0], c, &y1)
    y0 += x1
    y1 += y0 < x1
    return y1 | (y0 > 1)


cdef void shortest(u64 ieee, u64 *digits, int *exponent) noexcept nogil:
    """The decimal digits * 10**exponent of the magnitude of a finite double that is not 0."""
    cdef u64 fraction = ieee & <u64>0xFFFFFFFFFFFFF
    cdef int biased = <int>(ieee >> 52 & 0x7FF)
    cdef u64 c, below, at, above, lower, upper, s, short_one
    cdef int q, k, h
    cdef bint closer, up, down
    if biased:
        c = fraction | <u64>1 << 52
        q = biased - 1075
        if -53 < q <= 0 and c & ((<u64>1 << -q) - 1) == 0:
            digits[0] = c >> -q
            exponent[0] = 0
            return
    else:
        c = fraction
        q = -1074
    closer = fraction == 0 and biased > 1
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    h = q + ((-k * 1741647) >> 19) + 1
    below = round_to_odd(POWERS[-k - MIN_POWER], (4 * c - 2 + closer) << h)
    at = round_to_odd(POWERS[-k - MIN_POWER], 4 * c << h)
    above = round_to_odd(POWERS[-k - MIN_POWER], (4 * c + 2) << h)
    lower = below + (c & 1)
    upper = above - (c & 1)
    s = at // 4
    if s >= 10:
        short_one = s // 10
        down = lower <= 40 * short_one
        up = 40 * short_one + 40 <= upper
        if down != up:
            digits[0] = short_one + up
            exponent[0] = k + 1
            return
    down = lower <= 4 * s
    up = 4 * s + 4 <= upper
    if down == up:
        up = at > 4 * s + 2 or (at == 4 * s + 2 and s & 1 != 0)
    digits[0] = s + up
    exponent[0] = k


cdef void put_double(Buf *b, double value) noexcept nogil:
    """A finite double; there is room for NUMBER_SIZE."""
    cdef u64 ieee = double_bits(value)
    cdef u64 digits = 0
    cdef int exponent = 0, point, count
    cdef u8[24] text
    cdef u8 *begin
    if ieee >> 63:
        put_byte(b, c'-')
    if ieee << 1 == 0:
        put_bytes(b, <const u8 *>b"0.0", 3)
        return
    shortest(ieee, &digits, &exponent)
    while digits % 10 == 0:
        digits //= 10
        exponent += 1
    begin = digits_before(&text[24], digits)
    count = <int>(&text[24] - begin)
    point = count + exponent  # digits before the point
    if -5 < point <= 16:
        if point <= 0:
            put_bytes(b, <const u8 *>b"0.0000", <size_t>(2 - point))
            put_bytes(b, begin, <size_t>count)
        elif exponent >= 0:
            put_bytes(b, begin, <size_t>count)
            put_bytes(b, <const u8 *>b"0000000000000000", <size_t>exponent)
            put_bytes(b, <const u8 *>b".0", 2)
        else:
            put_bytes(b, begin, <size_t>point)
            put_byte(b, c'.')
            put_bytes(b, begin + point, <size_t>(count - point))
        return
    put_byte(b, begin[0])
    if count > 1:
        put_byte(b, c'.')
        put_bytes(b, begin + 1, <size_t>(count - 1))
    put_byte(b, c'e')
    point -= 1
    put_byte(b, c'-' if point < 0 else c'+')
    put_unsigned(b, <u64>(-point if point < 0 else point))
