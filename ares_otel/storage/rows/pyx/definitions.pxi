# Resources and scopes: what envelope.define_resource and define_scope do.

cdef enum:
    RESOURCE = 0
    SCOPE = 1
    TEXTS = 9

# The texts of a resource in `Definition.at`
cdef enum:
    R_NAME = 0
    R_ATTRIBUTES = 1
    R_RAW = 2
    R_SCHEMA_URL = 3
    R_NAMESPACE = 4
    R_VERSION = 5
    R_INSTANCE = 6
    R_LANGUAGE = 7
    R_ENTITIES = 8
# And of a scope
cdef enum:
    S_NAME = 0
    S_VERSION = 1
    S_ATTRIBUTES = 2
    S_RAW = 3
    S_SCHEMA_URL = 4

cdef size_t ABSENT = <size_t>-1

cdef struct Definition:
    int kind
    u8[16] id
    u32 dropped
    size_t[TEXTS] at    # where its texts stand in `r.side`
    size_t[TEXTS] size  # ABSENT for None


cdef int keep_text(Request *r, Definition *d, int place, const u8 *p, size_t n) noexcept nogil:
    cdef int rc
    d.at[place] = r.side.len
    d.size[place] = n
    r.definition_bytes += count_characters(p, n)
    rc = check_text(p, n)
    if rc:
        return rc
    return add_bytes(&r.side, p, n)


cdef int keep_label(Request *r, Definition *d, int place, int hit) noexcept nogil:
    """envelope._label: an attribute as text of at most 255 characters."""
    cdef Hit *h = &r.hits[hit]
    cdef const u8 *json
    cdef const u8 *p = NULL
    cdef size_t n = 0
    cdef Slice text
    cdef bint minimal = True
    text.p = NULL
    text.n = 0
    if h.value.p != NULL and h.value.n:
        json = r.side.data + h.json
        if h.value.p[0] == STRING_VALUE:
            p = h.value.p + 1
            slice_of(&p, h.value.p + h.value.n, &text, &minimal)  # it was read before
            p = text.p
            n = text.n
        elif json[0] == c'"':  # base64, NaN and the like: nothing escaped
            p = json + 1
            n = h.json_size - 2
        else:
            p = json
            n = h.json_size
        n = cut_label(p, n)
    d.at[place] = r.side.len
    d.size[place] = n
    return add_bytes(&r.side, p, n)


cdef int compare_slices(const void *a, const void *b) noexcept nogil:
    cdef const Slice *x = <const Slice *>a
    cdef const Slice *y = <const Slice *>b
    cdef int order = memcmp(x.p, y.p, x.n if x.n < y.n else y.n)
    if order:
        return order
    return -1 if x.n < y.n else x.n > y.n


cdef int hash_attributes(
    Request *r, Blake2 *hash_, const u8 *p, const u8 *e, u8 tag
) noexcept nogil:
    """The part of an identity that is an attribute list: identity.canonical_attributes. The list is the one that was
    written as JSON last: `r.canonical` is of it."""
    cdef Buf *b = &r.scratch
    cdef Slice pair
    cdef bint found = False
    cdef bint minimal = True
    cdef size_t i, count, total = 0
    cdef Slice *pairs
    cdef u8[4] size
    cdef int rc
    if rare(not r.canonical):
        r.anew.len = 0
        rc = add_items_anew(&r.anew, C_PAIR, p, e, tag, 0x0A)
        if rc:
            return rc
        p = r.anew.data
        e = p + r.anew.len
        tag = 0x0A
    b.len = 0
    while True:
        rc = next_of(&p, e, tag, &pair, &found, &minimal)
        if rc:
            return rc
        if not found:
            break
        rc = add_bytes(b, <const u8 *>&pair, sizeof(Slice))
        if rc:
            return rc
        total += 4 + pair.n
    pairs = <Slice *>b.data
    count = b.len // sizeof(Slice)
    if count > 1:
        qsort(pairs, count, sizeof(Slice), compare_slices)
    put32(size, <u32>total)
    blake2_update(hash_, size, 4)
    for i in range(count):
        hash_part(hash_, pairs[i].p, pairs[i].n)
    return OK


cdef int keep_attributes(
    Request *r, Definition *d, int place, const u8 *p, const u8 *e, u8 tag, int names
) noexcept nogil:
    """The attributes as JSON, and their raw encoding where that is needed."""
    cdef Buf *b = &r.side
    cdef size_t begin = b.len
    cdef int rc
    begin_hits(r)
    begin_list(r)
    rc = add_object(r, b, p, e, tag, 0, names)
    if rc:
        return rc
    d.at[place] = begin
    d.size[place] = b.len - begin
    r.definition_bytes += count_characters(b.data + begin, b.len - begin)
    d.size[place + 1] = ABSENT
    if not r.exact:
        begin = b.len
        rc = add_raw(b, C_PAIR, p, e, tag, 0x0A)
        if rc:
            return rc
        d.at[place + 1] = begin + 4
        d.size[place + 1] = b.len - begin - 4
        r.definition_bytes += d.size[place + 1]
    return OK


cdef int check_entity(const u8 *p, const u8 *e) noexcept nogil:
    """Whether an EntityRef can be read."""
    cdef Slice text
    cdef bint minimal = True
    cdef u32 seen = 0, field
    cdef u8 tag
    cdef int rc
    while p < e:
        tag = p[0]
        if tag != 0x0A and tag != 0x12 and tag != 0x1A and tag != 0x22:
            return UNKNOWN_FIELD
        field = tag >> 3
        if field < 3 and seen >> field & 1:
            return REPEATED
        seen |= <u32>1 << field
        p += 1
        rc = slice_of(&p, e, &text, &minimal)
        if rc == OK:
            rc = check_text(text.p, text.n)
        if rc:
            return rc
    return OK


cdef int keep_entities(Request *r, Definition *d, const u8 *p, const u8 *e) noexcept nogil:
    """The entity references of a resource, as a Resource that has nothing else."""
    cdef int rc
    d.at[R_ENTITIES] = r.side.len
    d.size[R_ENTITIES] = ABSENT
    if usual(p == e):
        return OK
    rc = add_items_anew(&r.side, C_ENTITY, p, e, 0x1A, 0x1A)
    if rc:
        return rc
    d.size[R_ENTITIES] = r.side.len - d.at[R_ENTITIES]
    r.definition_bytes += d.size[R_ENTITIES]
    return OK


cdef int define_resource(Request *r, Slice *resource, Slice *schema_url, Definition *d) noexcept nogil:
    """`resource.p` is NULL where there is none."""
    cdef const u8 *p = resource.p
    cdef const u8 *e = resource.p + resource.n
    cdef const u8 *entities = e
    cdef Blake2 hash_
    cdef bint minimal = True
    cdef bint has_dropped = False
    cdef Slice data
    cdef size_t begin
    cdef int rc
    d.kind = RESOURCE
    d.dropped = 0
    while p < e:
        if p[0] == 0x0A:
            p += 1
            rc = slice_of(&p, e, &data, &minimal)
        elif p[0] == 0x10:
            if has_dropped:
                return REPEATED
            has_dropped = True
            p += 1
            rc = uint32_of(&p, e, &d.dropped, &minimal)
        elif p[0] == 0x1A:
            if entities == e:
                entities = p
            p += 1
            rc = slice_of(&p, e, &data, &minimal)
            if rc == OK:
                rc = check_entity(data.p, data.p + data.n)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
    rc = keep_entities(r, d, entities, e)
    if rc:
        return rc
    rc = keep_attributes(r, d, R_ATTRIBUTES, resource.p, e, 0x0A, RESOURCE_NAMES)
    if rc:
        return rc
    rc = keep_labels(r, d)
    if rc:
        return rc
    rc = keep_text(r, d, R_SCHEMA_URL, schema_url.p, schema_url.n)
    if rc:
        return rc
    blake2_begin(&hash_, "resource")
    hash_number(&hash_, r.tenant_id)
    hash_part(&hash_, schema_url.p, schema_url.n)
    if resource.p == NULL:
        hash_absent(&hash_)
        r.definition_bytes -= d.size[R_ATTRIBUTES]
        d.size[R_ATTRIBUTES] = ABSENT
    else:
        rc = hash_attributes(r, &hash_, resource.p, e, 0x0A)
        if rc:
            return rc
    hash_number(&hash_, d.dropped)
    if usual(d.size[R_ENTITIES] == ABSENT):
        hash_absent(&hash_)
    else:
        hash_part(&hash_, r.side.data + d.at[R_ENTITIES], d.size[R_ENTITIES])
    blake2_end(&hash_, d.id)
    return OK


cdef int keep_labels(Request *r, Definition *d) noexcept nogil:
    """The service's name and what describes it, cut out of the attributes that were just written into `r.side`."""
    cdef int place, rc
    for place in range(HITS):
        rc = reserve(&r.side, MAX_LABEL * 4)  # before: then a text that stands in `r.side` does not move
        if rc:
            return rc
        rc = keep_label(r, d, R_NAME if place == SERVICE_NAME else R_NAMESPACE + place - 1, place)
        if rc:
            return rc
    if d.size[R_NAME] == 0:
        d.at[R_NAME] = r.side.len
        d.size[R_NAME] = 15
        rc = add_bytes(&r.side, <const u8 *>b"unknown_service", 15)
        if rc:
            return rc
    r.definition_bytes += count_characters(r.side.data + d.at[R_NAME], d.size[R_NAME])
    return OK


cdef int define_scope(Request *r, Slice *scope, Slice *schema_url, Definition *d) noexcept nogil:
    """`scope.p` is NULL where there is none."""
    cdef const u8 *p = scope.p
    cdef const u8 *e = scope.p + scope.n
    cdef Slice name, version, data
    cdef Blake2 hash_
    cdef bint minimal = True
    cdef u32 seen = 0
    cdef u32 field
    cdef int rc
    d.kind = SCOPE
    d.dropped = 0
    name.p = version.p = scope.p
    name.n = version.n = 0
    while p < e:
        field = p[0] >> 3
        if field != 3:
            if seen >> field & 1:
                return REPEATED
            seen |= <u32>1 << field
        if p[0] == 0x0A:
            p += 1
            rc = slice_of(&p, e, &name, &minimal)
        elif p[0] == 0x12:
            p += 1
            rc = slice_of(&p, e, &version, &minimal)
        elif p[0] == 0x1A:
            p += 1
            rc = slice_of(&p, e, &data, &minimal)
        elif p[0] == 0x20:
            p += 1
            rc = uint32_of(&p, e, &d.dropped, &minimal)
        else:
            return UNKNOWN_FIELD
        if rc:
            return rc
    rc = keep_attributes(r, d, S_ATTRIBUTES, scope.p, e, 0x1A, NO_NAMES)
    if rc:
        return rc
    rc = keep_text(r, d, S_NAME, name.p, name.n)
    if rc:
        return rc
    rc = keep_text(r, d, S_VERSION, version.p, version.n)
    if rc:
        return rc
    rc = keep_text(r, d, S_SCHEMA_URL, schema_url.p, schema_url.n)
    if rc:
        return rc
    blake2_begin(&hash_, "scope")
    hash_number(&hash_, r.tenant_id)
    hash_part(&hash_, schema_url.p, schema_url.n)
    if scope.p == NULL:
        hash_absent(&hash_)
        d.size[S_NAME] = ABSENT
    else:
        hash_part(&hash_, name.p, name.n)
    hash_part(&hash_, version.p, version.n)
    rc = hash_attributes(r, &hash_, scope.p, e, 0x1A)
    if rc:
        return rc
    hash_number(&hash_, d.dropped)
    blake2_end(&hash_, d.id)
    return OK
