-- The segment index: one row for each segment in the bucket, over all streams, for the operator (docs/operate.md). The
-- object of each stream updates its own rows with a short delay, and retries until it succeeds. The server never reads them.

CREATE TABLE segments_admin (
    path TEXT NOT NULL,              -- the path of the stream, decoded: the part of its URL after /v1/stream/
    incarnation INTEGER NOT NULL,    -- the incarnation of that URL, from 1
    read_seq INTEGER NOT NULL,       -- its number, from 0 over all incarnations of the URL: the first half of its offsets
    object_key TEXT NOT NULL,        -- the key of its object in the bucket
    content_type TEXT NOT NULL,      -- the content type of the stream
    end_position INTEGER NOT NULL,   -- the position after its last message: in messages for JSON streams, in bytes for others
    message_count INTEGER NOT NULL,  -- its messages: values in JSON streams, appends in others
    object_bytes INTEGER NOT NULL,   -- the size of its object in bytes
    written_at INTEGER NOT NULL,     -- when its last message was appended, in milliseconds since 1970-01-01T00:00:00Z
    PRIMARY KEY (path, incarnation, read_seq)
) WITHOUT ROWID;

-- The last deleted segment of each URL, so that a row that arrives late, after a failure, is not inserted again. These rows stay
-- as long as the objects of the streams do. An operator who deletes the objects should empty both tables.
CREATE TABLE segments_admin_forgotten (
    path TEXT PRIMARY KEY,
    through_read_seq INTEGER NOT NULL  -- the number of the last deleted segment
) WITHOUT ROWID;
