//! Defines an object's tables and upgrades those of older versions. The first PUT creates the tables, so a
//! request for a stream that does not exist stores nothing.
//!
//! No table has a secondary index, because each would bill one more row per write.
//!
//! Stored data lives forever: this build reads everything stored since version 7. A change of the schema adds
//! a step to [`UPGRADES`] (ARCHITECTURE.md, "How to add a column").

use super::{Failure, Param, Sql, only_row};

/// The oldest schema version that this build reads.
pub const OLDEST_VERSION: u64 = 7;

/// The current schema version.
pub const SCHEMA_VERSION: u64 = OLDEST_VERSION + UPGRADES.len() as u64;

/// The upgrade from each version to the next, beginning with [`OLDEST_VERSION`]. A step sets the version in
/// the statement that changes the stream's row, so the row is billed once. A step must work without any table
/// but `stream`: the others are created with their first row. An object without a stream may have `edges` and
/// `forks`. These have no version and cannot change; to change one, add a table of another name.
const UPGRADES: [UpgradeStep; 1] = [count_messages];
type UpgradeStep = fn(&dyn Sql) -> Result<(), Failure>;

/// Runs all steps in the caller's transaction. Fails if this build cannot read version `from`.
pub(super) fn upgrade(sql: &dyn Sql, from: u64) -> Result<(), Failure> {
    let readable = OLDEST_VERSION..=SCHEMA_VERSION;
    if !readable.contains(&from) {
        let cause = format_args!("stored by schema version {from}, this build reads versions {readable:?}");
        return Err(Failure::new("load stream", cause));
    }
    UPGRADES[(from - OLDEST_VERSION) as usize..].iter().try_for_each(|step| step(sql))
}

/// From 7 to 8: a segment stores how many messages precede it ([`CREATE_SEGMENTS`]). Existing rows stay
/// unchanged, however many there are: their sum in the stream's row is enough to continue counting.
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
/// The table of links, which has their former name.
pub const LINKS: &str = "edges";
pub const OUTBOX: &str = "outbox";
pub const PRODUCERS: &str = "producers";
pub const SEGMENTS: &str = "segments";
pub const UNREPORTED: &str = "unreported";
pub const PATTERNS: &str = "patterns";
pub const SUBSCRIPTION: &str = "subscription";
pub const SUBSCRIPTION_LINKS: &str = "subscription_links";
pub const SUMMARIES: &str = "subscription_summaries";
pub const WATCHERS: &str = "watchers";
pub const WEBHOOK_KEYS: &str = "webhook_keys";

/// Whether a table exists. Tables other than `stream` are created with their first row.
pub fn has_table(sql: &dyn Sql, name: &str) -> Result<bool, Failure> {
    Ok(only_row(sql, TABLE, &[Param::Text(name)])?.is_some())
}

/// Incarnations that ended before they were reported and whose row another incarnation has taken.
pub const CREATE_UNREPORTED: &str = "CREATE TABLE IF NOT EXISTS unreported (
    incarnation INTEGER PRIMARY KEY,
    content_type TEXT NOT NULL,
    created_at INTEGER NOT NULL
)";

/// Dropping a table bills no rows.
pub const DROP_UNREPORTED: &str = "DROP TABLE IF EXISTS unreported";

/// The producers of the current incarnation. Newer states may be in the message rows.
pub const CREATE_PRODUCERS: &str = "CREATE TABLE IF NOT EXISTS producers (
    id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL
) WITHOUT ROWID";

/// Drops all producers at once, because dropping a table bills no rows and deleting them would.
pub const DROP_PRODUCERS: &str = "DROP TABLE IF EXISTS producers";

/// The messages of one segment. Each segment has its own table, so that it is dropped whole and without
/// billed rows.
///
/// `span` is how many positions the row takes, `stream_seq` the last one accepted up to this row. `appends`
/// and `bytes` are how full the segment is up to this row. The producer is set unless it was stored in
/// `producers`. The body is the last column, so that queries for the other columns do not read through it.
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

/// The statement that drops a segment's messages.
pub fn drop_messages(segment: u64) -> String {
    format!("DROP TABLE IF EXISTS messages_{segment}")
}

/// The segments in the bucket, of all incarnations. Those before the stream's first segment are yet to be
/// deleted from the bucket. The first rotation creates the table. `bytes_through` counts the messages' bytes
/// up to the segment's end; only differences between two rows mean anything.
///
/// `messages_before` is how many messages of its own the stream had before the segment in this incarnation,
/// trimmed or not, as `message_count` counts them. A JSON message is one, and so is an append of bytes; one
/// of more than 1 MiB is one for each of its rows. Inherited messages are not counted.
///
/// `messages_before` is NULL in rows stored before version 8. There it is that of the next segment, or the
/// stream's `rotated_messages` if no later row has a number, minus the `message_count` of the segments in
/// between. A stream that was trimmed before its upgrade counts from the oldest segment that had a row then.
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

/// The links to sources, of all incarnations. All but that of the current incarnation must be released.
pub const CREATE_LINKS: &str = "CREATE TABLE IF NOT EXISTS edges (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    valid_until INTEGER NOT NULL
) WITHOUT ROWID";

/// The forks that reference the stream, each by its link (`edge`) and with the first segment it needs. Also
/// each link that was released while its request may still arrive.
pub const CREATE_FORKS: &str = "CREATE TABLE IF NOT EXISTS forks (
    edge TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    first_read_seq INTEGER NOT NULL,
    released_until INTEGER
) WITHOUT ROWID";

/// The notices that the segment index has not received, in the order of their events. If the table exists,
/// the index knows of everything before them, or will.
pub const CREATE_OUTBOX: &str = "CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    noted_at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    notice TEXT NOT NULL
)";

/// Drops the outbox if there is no segment index.
pub const DROP_OUTBOX: &str = "DROP TABLE IF EXISTS outbox";

/// A subscription. `config`, `state` and `links` are JSON (`src/subscription/mod.rs`). `links` has the recent links by
/// path.
pub const CREATE_SUBSCRIPTION: &str = "CREATE TABLE IF NOT EXISTS subscription (
    id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    config TEXT NOT NULL,
    state TEXT NOT NULL,
    links TEXT NOT NULL
)";

/// The other links of a subscription. `owes` is 1 if a link may need work.
pub const CREATE_SUBSCRIPTION_LINKS: &str = "CREATE TABLE IF NOT EXISTS subscription_links (
    path TEXT PRIMARY KEY,
    owes INTEGER NOT NULL,
    link TEXT NOT NULL
) WITHOUT ROWID";

pub const DROP_SUBSCRIPTION_LINKS: &str = "DROP TABLE IF EXISTS subscription_links";

/// The subscriptions that a stream notifies, by the names of their objects, and the start of each link. An object
/// without a stream may have this table, so it cannot change.
pub const CREATE_WATCHERS: &str = "CREATE TABLE IF NOT EXISTS watchers (
    subscription TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    glob INTEGER NOT NULL,
    start_segment INTEGER NOT NULL,
    start_position INTEGER NOT NULL,
    start_closed INTEGER NOT NULL
) WITHOUT ROWID";

pub const DROP_WATCHERS: &str = "DROP TABLE IF EXISTS watchers";

/// The patterns of subscriptions, in the object of a registry.
pub const CREATE_PATTERNS: &str = "CREATE TABLE IF NOT EXISTS patterns (
    subscription TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    pattern TEXT NOT NULL
) WITHOUT ROWID";

/// The newest summary of each subscription and type, in the object of a registry. `number` is that of the subscription's last
/// event. The totals are those of all incarnations.
pub const CREATE_SUMMARIES: &str = "CREATE TABLE IF NOT EXISTS subscription_summaries (
    subscription TEXT NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    status TEXT NOT NULL,
    wakes INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unsent INTEGER NOT NULL,
    PRIMARY KEY (subscription, kind)
) WITHOUT ROWID";

/// The keys that sign the webhooks of a registry's subscriptions: `x` is public, `d` private, both in base64url.
pub const CREATE_WEBHOOK_KEYS: &str = "CREATE TABLE IF NOT EXISTS webhook_keys (
    kid TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    x TEXT NOT NULL,
    d TEXT NOT NULL
) WITHOUT ROWID";
