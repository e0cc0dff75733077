# What every function of the encoder returns: OK, or why it stopped. What is not OK ends the request: the caller returns
# it, too. All but NO_MEMORY mean "not mine": the request is for the reference encoder, with everything in it.
#
# The order is that of ODD in ares_otel/storage/rows/native_result.py.

cdef enum:
    OK = 0
    NO_MEMORY = 1
    MALFORMED = 2      # lengths, varints or wire types that do not fit, groups
    UNKNOWN_FIELD = 3  # a field that the messages do not have
    REPEATED = 4       # a singular field, or a oneof, occurs twice
    BAD_UTF8 = 5
    NUL = 6            # in a text
    DUPLICATE_KEY = 7  # in an attribute list
    TOO_DEEP = 8
    STRING_TABLE = 9  # references into a string table
    OUT_OF_RANGE = 10  # a number that its field's type does not hold
    UNUSUAL_VALUE = 11  # an attribute of a kind that its name does not suggest, a level in unusual white space
    TOO_LONG = 12      # the request itself: beyond what protobuf takes

cdef enum:
    MAX_DEPTH = 92     # values.MAX_DEPTH
