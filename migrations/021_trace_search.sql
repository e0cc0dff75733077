-- Trace search. What a value is, where jsonb does not say it: bytes, NaN and large doubles look like other values there, and
-- the protobuf encoding beside it tells. Readers ask these functions only about rows that have one.

-- The value of the attribute :wanted in a message whose field :number repeats KeyValue: the encoding of its AnyValue, '' for a
-- value that is not set, NULL without such an attribute. The last of equal keys counts, as in jsonb; NUL is U+FFFD, as there.
CREATE FUNCTION otlp_attribute(message bytea, number integer, wanted bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    place integer := 0;
    inner_place integer;
    inner_end integer;
    tag bigint;
    size bigint;
    shift integer;
    byte integer;
    key bytea;
    value bytea;
    found bytea;
BEGIN
    WHILE place < length(message) LOOP
        tag := 0; shift := 0;
        LOOP
            byte := get_byte(message, place); place := place + 1;
            tag := tag | ((byte & 127)::bigint << shift); shift := shift + 7;
            EXIT WHEN byte < 128;
        END LOOP;
        CASE tag & 7
            WHEN 0 THEN
                WHILE get_byte(message, place) > 127 LOOP place := place + 1; END LOOP;
                place := place + 1;
            WHEN 1 THEN place := place + 8;
            WHEN 5 THEN place := place + 4;
            ELSE
                size := 0; shift := 0;
                LOOP
                    byte := get_byte(message, place); place := place + 1;
                    size := size | ((byte & 127)::bigint << shift); shift := shift + 7;
                    EXIT WHEN byte < 128;
                END LOOP;
                IF tag >> 3 = number THEN
                    inner_place := place; inner_end := place + size; key := ''; value := '';
                    WHILE inner_place < inner_end LOOP
                        tag := get_byte(message, inner_place); inner_place := inner_place + 1;
                        size := 0; shift := 0;
                        LOOP
                            byte := get_byte(message, inner_place); inner_place := inner_place + 1;
                            size := size | ((byte & 127)::bigint << shift); shift := shift + 7;
                            EXIT WHEN byte < 128;
                        END LOOP;
                        CONTINUE WHEN tag & 7 <> 2;
                        IF tag = 10 THEN key := substr(message, inner_place + 1, size::integer); END IF;
                        IF tag = 18 THEN value := substr(message, inner_place + 1, size::integer); END IF;
                        inner_place := inner_place + size;
                    END LOOP;
                    WHILE position('\x00'::bytea IN key) > 0 LOOP
                        key := overlay(key PLACING '\xefbfbd'::bytea FROM position('\x00'::bytea IN key) FOR 1);
                    END LOOP;
                    IF key = wanted THEN found := value; END IF;
                    place := inner_end;
                ELSE
                    place := place + size;
                END IF;
        END CASE;
    END LOOP;
    RETURN found;
END
$$;
COMMENT ON FUNCTION otlp_attribute IS 'Encoding of the value of an attribute in a protobuf message whose field number repeats KeyValue; NULL without it';

-- One of the messages that a field repeats, the first is 1; NULL when there are fewer.
CREATE FUNCTION otlp_element(message bytea, number integer, ordinal bigint) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    place integer := 0;
    seen bigint := 0;
    tag bigint;
    size bigint;
    shift integer;
    byte integer;
BEGIN
    WHILE place < length(message) LOOP
        tag := 0; shift := 0;
        LOOP
            byte := get_byte(message, place); place := place + 1;
            tag := tag | ((byte & 127)::bigint << shift); shift := shift + 7;
            EXIT WHEN byte < 128;
        END LOOP;
        size := 0; shift := 0;
        LOOP
            byte := get_byte(message, place); place := place + 1;
            size := size | ((byte & 127)::bigint << shift); shift := shift + 7;
            EXIT WHEN byte < 128;
        END LOOP;
        IF tag >> 3 = number THEN
            seen := seen + 1;
            IF seen = ordinal THEN RETURN substr(message, place + 1, size::integer); END IF;
        END IF;
        place := place + size;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION otlp_element IS 'One of the messages that a field of a protobuf message of messages repeats, the first is 1';

-- Resources by attribute: a search looks here first, and then for spans of those that it found.
CREATE INDEX otel_resources_attributes_idx ON otel_resources USING gin (attributes jsonb_path_ops);
