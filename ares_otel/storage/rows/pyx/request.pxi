# One request on its way to rows: what context.Encoding is to the reference.

cdef enum:
    MAX_REASONS = 16
    HITS = 5

cdef struct Hit:
    Slice value       # the AnyValue; p is NULL when the attribute is not there
    size_t json       # where its JSON stands in the buffer, and how long it is
    size_t json_size

cdef struct Seen:         # a set of ids of 16 bytes
    Buf ids
    Buf table             # an open hash table of places in `ids`, once there are more than a few
    size_t size           # of the table, a power of two; 0 while there is none

cdef struct Request:
    int tenant_id
    const u8 *shared      # the fields tenant_id and received_at, 20 bytes
    u64 window_start      # what partitions cover: start <= t < end
    u64 window_end
    u64 filing_ns         # under which a row is filed whose own time lies outside
    Buf rows              # tuples of the signal's table (metrics: of metric_samples)
    u64 row_count
    Buf more              # metrics: tuples of metric_distributions
    u64 more_count
    Buf prefix            # the head of the tuples of this scope
    Buf scratch           # for a moment only
    Buf side              # texts of definitions, and names that roll-ups refer to
    Buf definitions       # Definition structs
    u64 definition_bytes
    Buf increments        # tuples of the roll-up table
    u64 increment_count
    Rollups rollups
    u64 items
    u64 rejected
    int[MAX_REASONS] reasons  # in order of appearance
    u64[MAX_REASONS] reason_counts
    int reason_count
    u64 max_bytes
    bint too_large        # everything is read to the end even so: it may be malformed there
    bint exact            # of the list that is being written: whether jsonb says all
    bint canonical        # and whether its bytes are those that protobuf would write
    Hit[HITS] hits        # attributes of the list that are looked for by name
    # Where the scope's service name stands in `side`, and a hash of it
    size_t service
    size_t service_size
    u64 service_hash
    u8[16] resource_id    # of this scope
    u8[16] scope_id
    # Metrics only
    u64 more_start        # window and filing time of metric_distributions; those above are of metric_samples
    u64 more_end
    u64 more_filing_ns
    bint more_first       # whether a distribution was stored before any sample
    Buf metrics           # Described structs: what the series of a metric share
    Buf series            # Series structs: the series that are new in this request
    Seen seen             # series of the metric that is being read
    KnownSet *known       # series that are not defined again; NULL for none
    bint left_out         # whether there were some


cdef void reject(Request *r, int reason) noexcept nogil:
    """Counts an item that cannot be stored. `reason` is a number of the signal's own, from 1."""
    cdef int i
    r.items += 1
    r.rejected += 1
    for i in range(r.reason_count):
        if r.reasons[i] == reason:
            r.reason_counts[i] += 1
            return
    r.reasons[r.reason_count] = reason
    r.reason_counts[r.reason_count] = 1
    r.reason_count += 1


cdef void end_request(Request *r) noexcept nogil:
    release(&r.rows)
    release(&r.more)
    release(&r.prefix)
    release(&r.scratch)
    release(&r.side)
    release(&r.definitions)
    release(&r.increments)
    release(&r.metrics)
    release(&r.series)
    release(&r.seen.ids)
    release(&r.seen.table)
    end_rollups(&r.rollups)
