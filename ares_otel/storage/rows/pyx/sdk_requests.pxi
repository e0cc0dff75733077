# What is around the SDK's items in an OTLP request: resources and scopes.

cdef list grouped(items, str resource_name, str scope_name):
    """Items by resource and scope, in the order in which these are first seen: [(resource, [(scope, items)])].

    The SDK's resources are compared by a hash that takes long; nearly always it is the same object.
    """
    cdef list found = []
    cdef dict by_resource = {}
    cdef dict by_ids = {}
    cdef list members
    for item in items:
        resource = getattr(item, resource_name)
        scope = getattr(item, scope_name)
        ids = (<size_t><PyObject *>resource, <size_t><PyObject *>scope)
        members = by_ids.get(ids)
        if members is None:
            scopes = by_resource.get(resource)
            if scopes is None:
                scopes = by_resource[resource] = {}
                found.append((resource, scopes))
            members = scopes.get(scope)
            if members is None:
                members = scopes[scope] = []
            by_ids[ids] = members
        members.append(item)
    return found


cdef int write_scope(Buf *b, object scope, object bounded) except -1:
    cdef size_t start = begin_message(b, 0x0A)
    if scope is not None:
        write_filled_text(b, 0x0A, scope.name)
        write_filled_text(b, 0x12, scope.version)
        write_attributes(b, 0x1A, 0, scope.attributes, bounded)
    return end_message(b, start)


cdef int write_resource(Buf *b, object resource, object bounded) except -1:
    cdef size_t start = begin_message(b, 0x0A)
    write_attributes(b, 0x0A, 0, resource.attributes, bounded)
    return end_message(b, start)


ctypedef int (*PutItem)(Buf *b, object item, object kind, object bounded) except -1


cdef bytes sdk_request(list groups, PutItem put, object kind, object bounded):
    cdef Buf b
    cdef size_t outer, inner, start
    memset(&b, 0, sizeof(Buf))
    try:
        for resource, scopes in groups:
            outer = begin_message(&b, 0x0A)
            write_resource(&b, resource, bounded)
            for scope, items in (<dict>scopes).items():
                inner = begin_message(&b, 0x12)
                write_scope(&b, scope, bounded)
                for item in <list>items:
                    start = begin_message(&b, 0x12)
                    put(&b, item, kind, bounded)
                    end_message(&b, start)
                if scope is not None:
                    write_filled_text(&b, 0x1A, scope.schema_url)
                end_message(&b, inner)
            write_filled_text(&b, 0x1A, resource.schema_url)
            end_message(&b, outer)
        return PyBytes_FromStringAndSize(<const char *>b.data, <Py_ssize_t>b.len)
    finally:
        release(&b)
