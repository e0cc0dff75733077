# The way in from Python.

cdef object text_of(Request *r, Definition *d, int place):
    if d.size[place] == ABSENT:
        return None
    return PyUnicode_DecodeUTF8(<char *>r.side.data + d.at[place], <Py_ssize_t>d.size[place], NULL)


cdef object bytes_of(Request *r, Definition *d, int place):
    if d.size[place] == ABSENT:
        return None
    return PyBytes_FromStringAndSize(<char *>r.side.data + d.at[place], <Py_ssize_t>d.size[place])


cdef object definitions_of(Request *r):
    """(resources, scopes, services): id → column values, id → column values, and the texts that describe a sender."""
    cdef Definition *d = <Definition *>r.definitions.data
    cdef size_t i
    resources = {}
    scopes = {}
    services = set()
    for i in range(r.definitions.len // sizeof(Definition)):
        id_ = PyBytes_FromStringAndSize(<char *>d[i].id, 16)
        if id_ in resources or id_ in scopes:
            continue  # many envelopes of a gateway have the same scope
        if d[i].kind == RESOURCE:
            name = text_of(r, &d[i], R_NAME)
            resources[id_] = (
                name,
                text_of(r, &d[i], R_ATTRIBUTES),
                bytes_of(r, &d[i], R_RAW),
                d[i].dropped or None,
                text_of(r, &d[i], R_SCHEMA_URL),
                None,
            )
            services.add(
                (
                    name,
                    text_of(r, &d[i], R_NAMESPACE),
                    text_of(r, &d[i], R_VERSION),
                    text_of(r, &d[i], R_INSTANCE),
                    text_of(r, &d[i], R_LANGUAGE),
                )
            )
        else:
            scopes[id_] = (
                text_of(r, &d[i], S_NAME),
                text_of(r, &d[i], S_VERSION),
                text_of(r, &d[i], S_ATTRIBUTES),
                bytes_of(r, &d[i], S_RAW),
                d[i].dropped or None,
                text_of(r, &d[i], S_SCHEMA_URL),
            )
    return resources, scopes, services


cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) except NULL
    char *bytes_data "PyBytes_AsString"(PyObject *)
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t) except -1


cdef object rows_of(Buf *b):
    return PyBytes_FromStringAndSize(<char *>b.data, <Py_ssize_t>b.len)


cdef object rows_in(PyObject **own, Buf *b):
    """The same without copying, where the rows were written into a bytes object, and found room there."""
    if not b.borrowed:
        return rows_of(b)
    resize_bytes(own, <Py_ssize_t>b.len)
    return <object>own[0]


def encode(
    int signal,
    bytes payload not None,
    int tenant_id,
    bytes shared not None,
    u64 window_start,
    u64 window_end,
    u64 filing_ns,
    u64 max_bytes,
):
    """Encodes a request.

    Args:
        signal: 0 for traces, 1 for logs.
        shared: the fields tenant_id and received_at, with which every tuple begins.
        filing_ns: the time under which a row is filed whose own time is outside of the window.

    Returns:
        Why the request is for the reference encoder: a place in `native.ODD`. Or a tuple: whether it is too large;
        rows and how many, increments and how many; items, rejected, [(place in native.REASONS, count)]; resources,
        scopes, services; bytes of the definitions.
    """
    cdef Request r
    cdef Signal s
    cdef const u8 *p = <const u8 *>PyBytes_AS_STRING(payload)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(payload)
    cdef int rc = OK
    cdef int i
    cdef PyObject *own = NULL
    if n > MAX_PAYLOAD:
        return TOO_LONG
    if PyBytes_GET_SIZE(shared) != 20:
        raise ValueError("shared must be the fields tenant_id and received_at")
    memset(&r, 0, sizeof(Request))
    r.tenant_id = tenant_id
    r.shared = <const u8 *>PyBytes_AS_STRING(shared)
    r.window_start = window_start
    r.window_end = window_end
    r.filing_ns = filing_ns
    r.max_bytes = max_bytes
    s.points = False
    if signal == 0:
        s.item = encode_span
        s.fields = SPAN_FIELDS
    else:
        s.item = encode_log
        s.fields = LOG_FIELDS
    try:
        own = new_bytes(NULL, <Py_ssize_t>(2 * n + 256))
        r.rows.data = <u8 *>bytes_data(own)
        r.rows.cap = 2 * n + 256
        r.rows.borrowed = True
        with nogil:
            rc = walk_request(&r, &s, p, p + n)
            if rc == OK and not r.too_large:
                if signal == 0:
                    rc = write_span_rollups(&r)
                else:
                    rc = write_log_rollups(&r)
        if rc == NO_MEMORY:
            raise MemoryError
        if rc != OK:
            return rc
        resources, scopes, services = definitions_of(&r)
        return (
            r.too_large,
            rows_in(&own, &r.rows),
            r.row_count,
            rows_of(&r.increments),
            r.increment_count,
            r.items,
            r.rejected,
            [(r.reasons[i], r.reason_counts[i]) for i in range(r.reason_count)],
            resources,
            scopes,
            services,
            r.definition_bytes,
        )
    finally:
        Py_XDECREF(own)
        end_request(&r)
