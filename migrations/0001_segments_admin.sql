-- An index of the segments in the bucket, of all streams, for whoever runs the server. The object of each stream keeps its
-- own rows up to date, a little later and as often as it takes. The server never reads them.

CREATE TABLE segments_admin (
    path TEXT NOT NULL,              -- of the stream, decoded: what follows /v1/stream/ in its URL
    incarnation INTEGER NOT NULL,    -- which life of that URL, from 1
    read_seq INTEGER NOT NULL,       -- which segment of that URL, from 0 over all its lives: the first half of its offsets
    object_key TEXT NOT NULL,        -- of its object in the bucket
    content_type TEXT NOT NULL,      -- of the stream
    end_position INTEGER NOT NULL,   -- after its last message: messages in JSON streams, bytes in others
    message_count INTEGER NOT NULL,  -- messages: of JSON streams their values, of others their appends
    object_bytes INTEGER NOT NULL,   -- bytes of the object
    written_at INTEGER NOT NULL,     -- when its last message was written: milliseconds since 1970-01-01T00:00:00Z
    PRIMARY KEY (path, incarnation, read_seq)
) WITHOUT ROWID;

-- How far the segments of each URL are deleted, so that a row which arrives late, after a failure, is not put back. It stays
-- for as long as the objects of the streams do: whoever deletes those empties both tables.
CREATE TABLE segments_admin_forgotten (
    path TEXT PRIMARY KEY,
    through_read_seq INTEGER NOT NULL  -- the last segment that was deleted
) WITHOUT ROWID;
