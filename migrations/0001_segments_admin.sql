-- An index of all segments in the bucket, for the operator. The object of each stream updates its rows in the
-- background, and retries until that succeeds. The server never reads them.

CREATE TABLE segments_admin (
    path TEXT NOT NULL,              -- the path of the stream, decoded: the part of its URL after /v1/stream/
    incarnation INTEGER NOT NULL,    -- the incarnation of that URL, from 1
    read_seq INTEGER NOT NULL,       -- the segment number, from 0 over all incarnations: the first half of offsets
    object_key TEXT NOT NULL,        -- the key of its object in the bucket
    content_type TEXT NOT NULL,      -- the content type of the stream
    end_position INTEGER NOT NULL,   -- after its last message: in messages (JSON streams) or bytes (others)
    message_count INTEGER NOT NULL,  -- its number of messages: values (JSON streams) or appends (others)
    object_bytes INTEGER NOT NULL,   -- the size of the object
    written_at INTEGER NOT NULL,     -- the time of its last message, in milliseconds since 1970-01-01T00:00:00Z
    PRIMARY KEY (path, incarnation, read_seq)
) WITHOUT ROWID;

-- How far the segments of each URL are deleted, so that a row that arrives late, after a failure, is not inserted
-- again. Rows stay here as long as the objects of the streams exist. An operator who deletes all objects empties both
-- tables.
CREATE TABLE segments_admin_forgotten (
    path TEXT PRIMARY KEY,
    through_read_seq INTEGER NOT NULL  -- the last segment that was deleted
) WITHOUT ROWID;
