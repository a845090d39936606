//! The tables of one object, and how those of older versions become those of the present one. They are created by the first PUT
//! and not before, so that asking for a stream that never was costs no storage.
//!
//! No table has an index of its own and no key besides its b-tree's: each would be one more billed row a write.
//!
//! Stored data is for ever: this build reads everything that any build since version 7 has stored. A change of what is stored adds
//! a step to [`UPGRADES`] (ARCHITECTURE.md, "How to add a column").

use super::{Failure, Param, Sql, only_row};

/// The oldest version that can be read.
pub const OLDEST_VERSION: u64 = 7;

/// The version of all that is stored.
pub const SCHEMA_VERSION: u64 = OLDEST_VERSION + UPGRADES.len() as u64;

/// The steps from each version to the next, from [`OLDEST_VERSION`] on. Each sets the version in the statement by which it changes the
/// stream's row, so that the row is billed once. Tables that are made when something is put into them (all but `stream`) may be
/// missing. Those that an object without a stream may have (`edges`, `forks`) have no version at all, and cannot change: what is to
/// be another one day gets a table of another name.
const UPGRADES: [UpgradeStep; 1] = [count_messages];
type UpgradeStep = fn(&dyn Sql) -> Result<(), Failure>;

/// Takes all steps from the version that is stored to the present one; in one transaction, so there is no state between two.
pub(super) fn upgrade(sql: &dyn Sql, from: u64) -> Result<(), Failure> {
    let readable = OLDEST_VERSION..=SCHEMA_VERSION;
    if !readable.contains(&from) {
        let cause = format_args!("stored by schema version {from}, this build reads versions {readable:?}");
        return Err(Failure::new("load stream", cause));
    }
    UPGRADES[(from - OLDEST_VERSION) as usize..].iter().try_for_each(|step| step(sql))
}

/// 7 to 8: segments say how many messages are before them ([`CREATE_SEGMENTS`]). The rows that are there stay as they are, however
/// many: their sum in the stream's row is enough to count on from.
fn count_messages(sql: &dyn Sql) -> Result<(), Failure> {
    sql.run("ALTER TABLE stream ADD COLUMN rotated_messages INTEGER NOT NULL DEFAULT 0", &[])?;
    if !has_table(sql, SEGMENTS)? {
        return sql.run("UPDATE stream SET schema_version = 8", &[]);
    }
    sql.run("ALTER TABLE segments ADD COLUMN messages_before INTEGER", &[])?;
    let counted = "UPDATE stream SET schema_version = 8, rotated_messages = (SELECT coalesce(sum(message_count), 0) \
        FROM segments WHERE segments.incarnation = stream.incarnation)";
    sql.run(counted, &[])
}

const TABLE: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?";
pub const FORKS: &str = "forks";
/// The table of links, by an older word for them.
pub const LINKS: &str = "edges";
pub const OUTBOX: &str = "outbox";
pub const PRODUCERS: &str = "producers";
pub const SEGMENTS: &str = "segments";
pub const UNREPORTED: &str = "unreported";

/// Whether a table is there that is made when something is put into it.
pub fn has_table(sql: &dyn Sql, name: &str) -> Result<bool, Failure> {
    Ok(only_row(sql, TABLE, &[Param::Text(name)])?.is_some())
}

/// Lives that ended before the registry knew of it, once another has taken the row; rare, so the first one makes the
/// table.
pub const CREATE_UNREPORTED: &str = "CREATE TABLE IF NOT EXISTS unreported (
    incarnation INTEGER PRIMARY KEY,
    content_type TEXT NOT NULL,
    created_at INTEGER NOT NULL
)";

/// Dropping a table bills no rows.
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

/// The segments in the bucket, of all incarnations: those before the stream's first are still to be deleted there. Created
/// by the first rotation. `bytes_through` counts the messages' bytes up to the segment's end; only differences mean anything.
///
/// `messages_before` is how many messages of its own the stream had before the segment, in this incarnation: those of the
/// segments before it, trimmed or not, as `message_count` counts them. A JSON message is one, and so is an append of bytes; one
/// of more than 1 MiB is one for each row that it takes. What a fork has inherited is not counted. It is NULL in rows that were
/// stored before version 8; there it is that of the next segment, or the stream's `rotated_messages` where no later one has a
/// number, less the `message_count` of the segments in between. A stream that had been trimmed when it was upgraded counts from the
/// oldest segment that had a row then.
pub const CREATE_SEGMENTS: &str = "CREATE TABLE IF NOT EXISTS segments (
    read_seq INTEGER PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    end_position INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    object_bytes INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    bytes_through INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    stream_seq TEXT,
    messages_before INTEGER
)";

/// The links to sources, of all incarnations: all but the present one's own are to be released.
pub const CREATE_LINKS: &str = "CREATE TABLE IF NOT EXISTS edges (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    valid_until INTEGER NOT NULL
) WITHOUT ROWID";

/// The forks that hold the stream, by their links (`edge`), and the first segment that each needs; and, for as long as it may be
/// requested again, each that was released early.
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
