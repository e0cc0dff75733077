# Spans and log records of the SDK.

cdef int write_span(Buf *b, object span, object kind, object bounded) except -1:
    cdef size_t start
    cdef u32 flags = 0x100  # it is known whether the parent is remote
    cdef int number
    if type(span) is not kind:
        raise TypeError  # a class of its own may mean something else by its attributes
    context = span._context
    write_id(b, 0x0A, context.trace_id, 16)
    write_id(b, 0x12, context.span_id, 8)
    state = context.trace_state
    if state is not None and len(state):
        write_text(b, 0x1A, ",".join([f"{key}={value}" for key, value in state.items()]))
    parent = span._parent
    if parent is not None:
        write_id(b, 0x22, parent.span_id, 8)
        if parent.is_remote:
            flags |= 0x200
    write_filled_text(b, 0x2A, span._name)
    number = span._kind._value_
    if number < 0 or number > 4:
        raise ValueError
    write_number(b, 0x30, <u64>(number + 1))
    write_time(b, 0x39, span._start_time)
    write_time(b, 0x41, span._end_time)
    write_attributes(b, 0x4A, 0x50, span._attributes, bounded)
    if len(span._events):
        for event in span._events:
            start = begin_message(b, 0x5A)
            write_time(b, 0x09, event.timestamp)
            write_filled_text(b, 0x12, event.name)
            write_attributes(b, 0x1A, 0, event.attributes, bounded)
            write_number(b, 0x20, event.dropped_attributes)
            end_message(b, start)
    write_number(b, 0x60, span.dropped_events)
    if len(span._links):
        for link in span._links:
            start = begin_message(b, 0x6A)
            write_id(b, 0x0A, link.context.trace_id, 16)
            write_id(b, 0x12, link.context.span_id, 8)
            write_attributes(b, 0x22, 0, link.attributes, bounded)
            write_number(b, 0x28, link.dropped_attributes)
            room(b, 1)
            put_byte(b, 0x35)
            write_flags(b, 0x300 if link.context.is_remote else 0x100)
            end_message(b, start)
    write_number(b, 0x70, span.dropped_links)
    status = span._status
    if status is not None:
        start = begin_message(b, 0x7A)
        write_filled_text(b, 0x12, status.description)
        write_number(b, 0x18, status.status_code._value_)
        end_message(b, start)
    room(b, 2)
    put_byte(b, 0x85)
    put_byte(b, 0x01)
    return write_flags(b, flags)


cdef int write_log(Buf *b, object readable, object kind, object bounded) except -1:
    cdef u32 flags
    if type(readable) is not kind:
        raise TypeError
    record = readable.log_record
    write_time(b, 0x09, record.timestamp)
    severity = record.severity_number
    if severity is not None:
        write_number(b, 0x10, severity._value_)
    write_filled_text(b, 0x1A, record.severity_text)
    write_value(b, 0x2A, record.body, 0)
    write_attributes(b, 0x32, 0x38, record.attributes, bounded)
    flags = int(record.trace_flags)
    if flags:
        room(b, 1)
        put_byte(b, 0x45)
        write_flags(b, flags)
    if record.trace_id:
        write_id(b, 0x4A, record.trace_id, 16)
    if record.span_id:
        write_id(b, 0x52, record.span_id, 8)
    write_time(b, 0x59, record.observed_timestamp)
    return write_filled_text(b, 0x62, record.event_name)


def encode_sdk_spans(spans, span_class, bounded):
    """The bytes of an ExportTraceServiceRequest.

    Args:
        span_class, bounded: the SDK's `ReadableSpan` and `BoundedAttributes`; others are for the official encoder.

    Raises whatever comes up: then they are for the official encoder, too.
    """
    return sdk_request(grouped(spans, "_resource", "_instrumentation_scope"), write_span, span_class, bounded)


def encode_sdk_logs(records, record_class, bounded):
    """The same of an ExportLogsServiceRequest; `record_class` is the SDK's `ReadableLogRecord`."""
    return sdk_request(grouped(records, "resource", "instrumentation_scope"), write_log, record_class, bounded)
