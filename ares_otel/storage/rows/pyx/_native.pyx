# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: embedsignature=False, binding=False
"""The row encoder in C: OTLP request bytes to binary COPY bytes in one pass over the wire, without the GIL.

It is the twin of the pure-Python encoder beside it, which stays the reference: for every request it gives the same
bytes, or says that the request is not for it. What it reads is hostile until proven otherwise: every length is checked
against the message around it before it is used, every text is validated, nesting is bounded, every allocation can fail.

One extension module from one file a noun, in the order in which they build on each other.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport SIZE_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset, strcmp, strlen

cdef enum:
    MAX_PAYLOAD = 0x10000000  # larger requests are for the reference; no receiver takes them

cdef extern from *:
    """
    #ifndef ARES_NATIVE_SOURCES
    #define ARES_NATIVE_SOURCES ""
    #endif
    """
    const char *ARES_NATIVE_SOURCES  # a digest, from the build

SOURCES = ARES_NATIVE_SOURCES.decode()

include "platform.pxi"
include "result.pxi"
include "buffer.pxi"
include "wire.pxi"
include "hashing.pxi"
include "fields.pxi"
include "text.pxi"
include "numbers.pxi"
include "json.pxi"
include "blake2.pxi"
include "keys.pxi"
include "rollups.pxi"
include "known.pxi"
include "request.pxi"
include "canonical.pxi"
include "values.pxi"
include "definitions.pxi"
include "envelope.pxi"
include "span_rollups.pxi"
include "log_rollups.pxi"
include "events.pxi"
include "spans.pxi"
include "levels.pxi"
include "logs.pxi"
include "points.pxi"
include "point_end.pxi"
include "distributions.pxi"
include "series.pxi"
include "metrics.pxi"
include "scan.pxi"
include "encode.pxi"
include "encode_metrics.pxi"
include "sdk_values.pxi"
include "sdk_requests.pxi"
include "sdk_items.pxi"
