//! The tables of one object. They are created by the first PUT and not before, so that asking for a stream that
//! never was costs no storage.
//!
//! No table has an index of its own and no key besides its b-tree's: each would be one more billed row a write.

/// The version of all that is stored; a row with another one is not read.
pub const SCHEMA_VERSION: u64 = 7;

/// The one row that says what the stream is; `live` is 0 once it has ended, and 2 while it is only there for its forks.
/// Of a fork, `fork` says what it has inherited; the tail is derived from its messages. Where none is left, because they were
/// all trimmed, `tail_position`, `tail_written_at` and `tail_stream_seq` tell what they told.
/// `reported` is how far the registry knows the lives of this URL, and 0 when another begins: what is not known of those
/// before is kept apart. Of a life that has ended, `lease_until` is when it did.
pub const CREATE_STREAM: &str = "CREATE TABLE IF NOT EXISTS stream (
    id INTEGER PRIMARY KEY,
    schema_version INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    path TEXT NOT NULL,
    live INTEGER NOT NULL,
    read_seq INTEGER NOT NULL,
    first_read_seq INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    ttl_seconds INTEGER,
    expires_at INTEGER,
    retention_seconds INTEGER,
    retention_bytes INTEGER,
    created_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    closer_id TEXT,
    closer_epoch INTEGER,
    closer_seq INTEGER,
    public INTEGER NOT NULL,
    reader_key TEXT NOT NULL,
    tail_position INTEGER NOT NULL,
    tail_written_at INTEGER NOT NULL,
    tail_stream_seq TEXT,
    fork TEXT,
    reported INTEGER NOT NULL
)";

/// Lives that ended before the registry knew of it, once another has taken the row; rare, so the first one makes the
/// table.
pub const CREATE_UNREPORTED: &str = "CREATE TABLE IF NOT EXISTS unreported (
    incarnation INTEGER PRIMARY KEY,
    content_type TEXT NOT NULL,
    created_at INTEGER NOT NULL
)";

/// Ends them, unbilled.
pub const DROP_UNREPORTED: &str = "DROP TABLE IF EXISTS unreported";

/// What is known of each producer of the present life, but for what is newer in the rows of its messages.
pub const CREATE_PRODUCERS: &str = "CREATE TABLE IF NOT EXISTS producers (
    id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL
) WITHOUT ROWID";

/// Ends all producers at once; dropping a table bills no rows, deleting them would.
pub const DROP_PRODUCERS: &str = "DROP TABLE IF EXISTS producers";

/// The messages of one segment; a table each, so that a segment is dropped whole and unbilled.
/// `span` is how many positions the row takes; `stream_seq` is the last one accepted up to this row; `appends` and
/// `bytes` are how full the segment is with it. The producer is there if nothing else tells of its append. The body comes
/// last, so that nobody who asks for the rest has to go through it.
pub fn create_messages(segment: u64) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS messages_{segment} (
    key INTEGER PRIMARY KEY,
    span INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    stream_seq TEXT,
    appends INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    producer_id TEXT,
    producer_epoch INTEGER,
    producer_seq INTEGER,
    body BLOB NOT NULL
)"
    )
}

/// Ends a segment's messages.
pub fn drop_messages(segment: u64) -> String {
    format!("DROP TABLE IF EXISTS messages_{segment}")
}

/// The segments in the bucket, of all lives: those before the stream's first are still to be deleted there. Created
/// by the first rotation. `bytes_through` counts the messages' bytes up to the segment's end; only differences mean anything.
pub const CREATE_SEGMENTS: &str = "CREATE TABLE IF NOT EXISTS segments (
    read_seq INTEGER PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    end_position INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    object_bytes INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    bytes_through INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    stream_seq TEXT
)";

/// The edges to sources, of all lives: all but the present life's own are to be let go.
pub const CREATE_LINKS: &str = "CREATE TABLE IF NOT EXISTS edges (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    valid_until INTEGER NOT NULL
) WITHOUT ROWID";

/// The forks that hold the stream, by their edges, and the first segment that each needs; and, for as long as it may be
/// asked for again, each that was let go early.
pub const CREATE_FORKS: &str = "CREATE TABLE IF NOT EXISTS forks (
    edge TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    first_read_seq INTEGER NOT NULL,
    released_until INTEGER
) WITHOUT ROWID";

/// What others have not been told yet, in the order in which it happened. That the table is there says that they know
/// of all that was before, or will.
pub const CREATE_OUTBOX: &str = "CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    noted_at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    notice TEXT NOT NULL
)";

/// Ends the outbox, where there is nobody to tell any more.
pub const DROP_OUTBOX: &str = "DROP TABLE IF EXISTS outbox";
