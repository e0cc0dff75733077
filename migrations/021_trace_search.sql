-- Trace search. What a value is, where jsonb does not say it: bytes, NaN and large doubles look like other values there, and
-- the protobuf encoding beside it tells. Readers ask these functions only about rows that have one. What is no protobuf ends
-- them early: a row that somebody wrote by hand must not break a search.

-- The value of the attribute :wanted in a message whose field :number repeats KeyValue: the encoding of its AnyValue, '' for a
-- value that is not set, NULL without such an attribute. The last of equal keys counts, as in jsonb; NUL is U+FFFD, as there.
CREATE FUNCTION otlp_attribute(message bytea, number integer, wanted bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    bytes integer := length(message);
    place integer := 0;
    ends integer;
    inside boolean := false;
    tag bigint;
    size bigint;
    shift integer;
    byte integer;
    key bytea;
    value bytea;
    found bytea;
BEGIN
    LOOP
        IF inside AND place >= ends THEN
            inside := false;
            WHILE position('\x00'::bytea IN key) > 0 LOOP
                key := overlay(key PLACING '\xefbfbd'::bytea FROM position('\x00'::bytea IN key) FOR 1);
            END LOOP;
            IF key = wanted THEN found := value; END IF;
        END IF;
        EXIT WHEN place >= bytes;
        tag := 0; shift := 0;
        LOOP
            IF place >= bytes OR shift > 63 THEN RETURN found; END IF;
            byte := get_byte(message, place); place := place + 1;
            tag := tag | ((byte & 127)::bigint << shift); shift := shift + 7;
            EXIT WHEN byte < 128;
        END LOOP;
        IF tag & 7 = 1 THEN place := place + 8; CONTINUE; END IF;
        IF tag & 7 = 5 THEN place := place + 4; CONTINUE; END IF;
        size := 0; shift := 0;
        LOOP
            IF place >= bytes OR shift > 63 THEN RETURN found; END IF;
            byte := get_byte(message, place); place := place + 1;
            size := size | ((byte & 127)::bigint << shift); shift := shift + 7;
            EXIT WHEN byte < 128;
        END LOOP;
        CONTINUE WHEN tag & 7 = 0;
        IF tag & 7 <> 2 OR size < 0 OR size > bytes - place THEN RETURN found; END IF;
        IF inside THEN
            IF tag = 10 THEN key := substr(message, place + 1, size::integer); END IF;
            IF tag = 18 THEN value := substr(message, place + 1, size::integer); END IF;
            place := place + size;
        ELSIF tag >> 3 = number THEN
            inside := true; ends := place + size; key := ''; value := '';
        ELSE
            place := place + size;
        END IF;
    END LOOP;
    RETURN found;
END
$$;
COMMENT ON FUNCTION otlp_attribute IS 'Encoding of the value of an attribute in a protobuf message whose field number repeats KeyValue; NULL without it';

-- One of the messages that a field of a message of messages repeats, the first is 1; NULL when there are fewer.
CREATE FUNCTION otlp_element(message bytea, number integer, ordinal bigint) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    bytes integer := length(message);
    place integer := 0;
    seen bigint := 0;
    tag bigint;
    size bigint;
    shift integer;
    byte integer;
BEGIN
    WHILE place < bytes LOOP
        tag := 0; shift := 0;
        LOOP
            IF place >= bytes OR shift > 63 THEN RETURN NULL; END IF;
            byte := get_byte(message, place); place := place + 1;
            tag := tag | ((byte & 127)::bigint << shift); shift := shift + 7;
            EXIT WHEN byte < 128;
        END LOOP;
        size := 0; shift := 0;
        LOOP
            IF place >= bytes OR shift > 63 THEN RETURN NULL; END IF;
            byte := get_byte(message, place); place := place + 1;
            size := size | ((byte & 127)::bigint << shift); shift := shift + 7;
            EXIT WHEN byte < 128;
        END LOOP;
        IF tag & 7 <> 2 OR size < 0 OR size > bytes - place THEN RETURN NULL; END IF;
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
