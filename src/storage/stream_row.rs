//! Stores the stream's own row: its properties, but not its messages. The columns are listed once, in
//! [`columns`]; the code that creates the table and reads and writes the row follows from that list.

use super::{Column, Columns, Failure, Param, Sql, only_row};
use crate::protocol::content_type::ContentType;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::offset::Offset;
use crate::protocol::producer::Producer;
use crate::protocol::retention::Retention;
use crate::stream::fill::Fill;
use crate::stream::fork::Fork;
use crate::stream::{Closure, Ended, Stream};

/// Derives [`StreamRow`], [`CREATE`] and [`PUT`] from the columns. The table's key comes first and is always
/// 1.
macro_rules! columns {
    ($($(#[$about:meta])* $name:ident: $type:ty = $sql:literal,)+) => {
        /// The row as it is stored.
        #[derive(Debug)]
        pub(super) struct StreamRow { $($(#[$about])* pub(super) $name: $type,)+ }

        pub const CREATE: &str = concat!(
            "CREATE TABLE IF NOT EXISTS stream (id INTEGER PRIMARY KEY",
            $(", ", stringify!($name), " ", $sql,)+
            ")"
        );
        const PUT: &str = concat!(
            "INSERT OR REPLACE INTO stream (id", $(", ", stringify!($name),)+ ") VALUES (1", $(parameter!($name),)+ ")"
        );

        impl StreamRow {
            /// Reads the columns after the key.
            fn decode(columns: &mut Columns) -> Result<StreamRow, Failure> {
                Ok(StreamRow { $($name: Value::read(columns)?,)+ })
            }

            fn params(&self) -> Vec<Param<'_>> {
                vec![$(self.$name.param(),)+]
            }
        }
    };
}

macro_rules! parameter {
    ($name:ident) => {
        ", ?"
    };
}

// These are in the order of the table. Add a column at the end, with NULL or a default so that SQL can add it
// to a table that has a row, and add a step to `schema.rs`. Never remove, rename or move a column. `read_seq`
// is the number of a segment, as in offsets.
columns! {
    schema_version: u64 = "INTEGER NOT NULL",
    incarnation: u64 = "INTEGER NOT NULL",
    path: String = "TEXT NOT NULL",
    /// 1 while the stream is live, 2 while it is gone and exists only for its forks, 0 after it has ended.
    live: u64 = "INTEGER NOT NULL",
    /// The tail's segment. After the stream has ended, the first segment of the next incarnation.
    read_seq: u64 = "INTEGER NOT NULL",
    first_read_seq: u64 = "INTEGER NOT NULL",
    content_type: String = "TEXT NOT NULL",
    ttl_seconds: Option<u64> = "INTEGER",
    expires_at: Option<u64> = "INTEGER",
    retention_seconds: Option<u64> = "INTEGER",
    retention_bytes: Option<u64> = "INTEGER",
    created_at: u64 = "INTEGER NOT NULL",
    /// The earliest expiry of a stream with a TTL. After the stream has ended, the time of its end.
    lease_until: u64 = "INTEGER NOT NULL",
    closed: u64 = "INTEGER NOT NULL",
    closer_id: Option<String> = "TEXT",
    closer_epoch: Option<u64> = "INTEGER",
    closer_seq: Option<u64> = "INTEGER",
    public: u64 = "INTEGER NOT NULL",
    reader_key: String = "TEXT NOT NULL",
    /// This and the next two columns describe the last message if all messages were trimmed.
    tail_position: u64 = "INTEGER NOT NULL",
    tail_written_at: u64 = "INTEGER NOT NULL",
    tail_stream_seq: Option<String> = "TEXT",
    /// What a fork has inherited, as JSON. A new field needs a default; unknown fields are ignored.
    fork: Option<String> = "TEXT",
    /// How much of this URL's history the registry has recorded; 0 when a new incarnation begins.
    reported: u64 = "INTEGER NOT NULL",
    /// The messages rotated before the last trim or upgrade. The newest segment's row has precedence if it
    /// has a number (`schema.rs`).
    rotated_messages: u64 = "INTEGER NOT NULL DEFAULT 0",
}

/// A type that a column can have.
trait Value: Sized {
    fn read(columns: &mut Columns) -> Result<Self, Failure>;
    fn param(&self) -> Param<'_>;
}

impl Value for u64 {
    fn read(columns: &mut Columns) -> Result<u64, Failure> {
        columns.integer()
    }

    fn param(&self) -> Param<'_> {
        Param::Integer(*self)
    }
}

impl Value for Option<u64> {
    fn read(columns: &mut Columns) -> Result<Option<u64>, Failure> {
        columns.optional_integer()
    }

    fn param(&self) -> Param<'_> {
        self.map_or(Param::Null, Param::Integer)
    }
}

impl Value for String {
    fn read(columns: &mut Columns) -> Result<String, Failure> {
        columns.text()
    }

    fn param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl Value for Option<String> {
    fn read(columns: &mut Columns) -> Result<Option<String>, Failure> {
        columns.optional_text()
    }

    fn param(&self) -> Param<'_> {
        self.as_deref().map_or(Param::Null, Param::Text)
    }
}

/// The columns are not named, because a row of an older version lacks the newest ones. It has all others in
/// this order.
const SELECT: &str = "SELECT * FROM stream";
const CLOSE: &str =
    "UPDATE stream SET closed = 1, closer_id = ?, closer_epoch = ?, closer_seq = ?, lease_until = ?";
const REKEY: &str = "UPDATE stream SET reader_key = ?";
const LEASE: &str = "UPDATE stream SET lease_until = ?";
const SEAL: &str = "UPDATE stream SET read_seq = ?";
const TRIM: &str = "UPDATE stream SET first_read_seq = ?, tail_position = ?, tail_written_at = ?, \
    tail_stream_seq = ?, rotated_messages = ?";
const PATH: &str = "SELECT path FROM stream";
const INHERIT: &str = "UPDATE stream SET fork = ?";
const LEAVE: &str = "UPDATE stream SET live = 2, lease_until = ?";
const END: &str =
    "UPDATE stream SET live = 0, read_seq = ?, closed = 0, closer_id = NULL, lease_until = ?, fork = NULL";

/// A row of any version. Only its version may be read before it is decoded.
pub(super) struct StoredRow(Vec<Column>);

/// The stream's row. Fails if the table does not exist.
pub(super) fn find(sql: &dyn Sql) -> Result<Option<StoredRow>, Failure> {
    Ok(only_row(sql, SELECT, &[])?.map(StoredRow))
}

impl StoredRow {
    pub(super) fn version(&self) -> Result<u64, Failure> {
        let [_, Column::Integer(version), ..] = self.0[..] else {
            return Err(Failure::new("load stream", "its row has no version"));
        };
        Ok(version)
    }

    /// Decodes a row of the current version.
    pub(super) fn decode(self) -> Result<StreamRow, Failure> {
        let mut columns = Columns::new("stream", self.0);
        let _key = columns.integer()?;
        StreamRow::decode(&mut columns)
    }
}

impl StreamRow {
    /// The row of a new stream.
    fn of(stream: &Stream, schema_version: u64, path: &str, tail_segment: u64) -> StreamRow {
        let (ttl_seconds, expires_at) = match stream.lifetime {
            Lifetime::Unlimited => (None, None),
            Lifetime::Ttl { seconds } => (Some(seconds), None),
            Lifetime::ExpiresAt { at } => (None, Some(at)),
        };
        let (retention_seconds, retention_bytes) = match stream.retention {
            None => (None, None),
            Some(Retention::Seconds { seconds }) => (Some(seconds), None),
            Some(Retention::Bytes { bytes }) => (None, Some(bytes)),
        };
        let closer = match &stream.closure {
            Closure::ClosedBy(producer) => Some(producer),
            Closure::Open | Closure::Closed => None,
        };
        StreamRow {
            schema_version,
            incarnation: stream.incarnation,
            path: path.to_owned(),
            live: 1,
            read_seq: tail_segment,
            first_read_seq: stream.first_segment,
            content_type: stream.content_type.as_str().to_owned(),
            ttl_seconds,
            expires_at,
            retention_seconds,
            retention_bytes,
            created_at: stream.created_at,
            lease_until: stream.lease_until,
            closed: u64::from(stream.closure.is_closed()),
            closer_id: closer.map(|closer| closer.id.clone()),
            closer_epoch: closer.map(|closer| closer.epoch),
            closer_seq: closer.map(|closer| closer.seq),
            public: u64::from(stream.public),
            reader_key: stream.reader_key.clone(),
            tail_position: 0,
            tail_written_at: stream.written_at,
            tail_stream_seq: None,
            fork: stream.fork.as_deref().map(encode_fork),
            reported: 0,
            rotated_messages: 0,
        }
    }

    /// What remains of a stream that has ended.
    pub(super) fn ended(&self) -> Ended {
        Ended { incarnation: self.incarnation, next_segment: self.read_seq }
    }

    /// The stream as far as its row describes it.
    pub(super) fn into_stream(self) -> Result<Stream, Failure> {
        let lifetime = match (self.ttl_seconds, self.expires_at) {
            (Some(seconds), _) => Lifetime::Ttl { seconds },
            (None, Some(at)) => Lifetime::ExpiresAt { at },
            (None, None) => Lifetime::Unlimited,
        };
        let retention = match (self.retention_seconds, self.retention_bytes) {
            (Some(seconds), _) => Some(Retention::Seconds { seconds }),
            (None, Some(bytes)) => Some(Retention::Bytes { bytes }),
            (None, None) => None,
        };
        let closer = match (self.closer_id, self.closer_epoch, self.closer_seq) {
            (Some(id), Some(epoch), Some(seq)) => Some(Producer { id, epoch, seq }),
            _ => None,
        };
        let (first_segment, segment) = (self.first_read_seq, self.read_seq);
        // If a segment is left, its rows describe the tail, even if it is empty.
        let position = self.tail_position * u64::from(first_segment > segment);
        let fork = decode_fork(self.fork.as_deref())?;
        let own_start = fork.as_ref().map(|fork| fork.own_start).filter(|start| start.segment == segment);
        Ok(Stream {
            incarnation: self.incarnation,
            content_type: ContentType::stored(&self.content_type)
                .map_err(|refusal| Failure::new("load stream", refusal.message()))?,
            lifetime,
            public: self.public == 1,
            reader_key: self.reader_key,
            retention,
            created_at: self.created_at,
            first_segment,
            hot_from: first_segment,
            rotated_bytes: 0,
            rotated_messages: self.rotated_messages,
            // While a fork's first segment is empty, the tail is where the fork left its source.
            tail: own_start.filter(|_| position == 0).unwrap_or(Offset { segment, position }),
            fill: Fill::default(),
            stream_seq: self.tail_stream_seq,
            closure: if self.closed == 1 { Closure::by(closer.as_ref()) } else { Closure::Open },
            written_at: self.tail_written_at,
            touched_at: self.tail_written_at,
            lease_until: self.lease_until,
            fork,
        })
    }
}

fn decode_fork(text: Option<&str>) -> Result<Option<Box<Fork>>, Failure> {
    text.map(serde_json::from_str).transpose().map_err(|error| Failure::new("load fork", error))
}

fn encode_fork(fork: &Fork) -> String {
    serde_json::to_string(fork).expect("a fork has only text and numbers")
}

/// The stream's path, with which the keys of its segments begin. Fails if there is no row.
pub fn path_if_any(sql: &dyn Sql) -> Result<Option<String>, Failure> {
    if !super::schema::has_table(sql, "stream")? {
        return Ok(None);
    }
    only_row(sql, PATH, &[])?.map(|row| Columns::new("stream", row).text()).transpose()
}

/// The path of a stream that has a row.
pub fn path(sql: &dyn Sql) -> Result<String, Failure> {
    let missing = || Failure::new("load stream", "it has no row");
    Columns::new("stream", only_row(sql, PATH, &[])?.ok_or_else(missing)?).text()
}

/// Writes the row of a new stream, replacing that of an earlier incarnation.
pub(super) fn put(
    sql: &dyn Sql,
    stream: &Stream,
    schema_version: u64,
    path: &str,
    tail_segment: u64,
) -> Result<(), Failure> {
    sql.run(PUT, &StreamRow::of(stream, schema_version, path, tail_segment).params())
}

/// Stores that the tail is now in the next segment.
pub(super) fn seal(sql: &dyn Sql, segment: u64) -> Result<(), Failure> {
    sql.run(SEAL, &[Param::Integer(segment)])
}

/// Stores the first segment, and the tail, which no message may describe after the trim.
pub(super) fn trim(sql: &dyn Sql, stream: &Stream, first_segment: u64) -> Result<(), Failure> {
    let params = [
        Param::Integer(first_segment),
        Param::Integer(stream.tail.position),
        Param::Integer(stream.written_at),
        stream.stream_seq.as_deref().map_or(Param::Null, Param::Text),
        Param::Integer(stream.rotated_messages),
    ];
    sql.run(TRIM, &params)
}

pub(super) fn close(sql: &dyn Sql, closure: &Closure, lease_until: u64) -> Result<(), Failure> {
    let [id, epoch, seq] = match closure {
        Closure::ClosedBy(Producer { id, epoch, seq }) => {
            [Param::Text(id), Param::Integer(*epoch), Param::Integer(*seq)]
        }
        Closure::Open | Closure::Closed => [Param::Null, Param::Null, Param::Null],
    };
    sql.run(CLOSE, &[id, epoch, seq, Param::Integer(lease_until)])
}

pub(super) fn rekey(sql: &dyn Sql, reader_key: &str) -> Result<(), Failure> {
    sql.run(REKEY, &[Param::Text(reader_key)])
}

/// Stores the lease, so that a read's renewal of the TTL survives the loss of the object's memory.
pub(super) fn lease(sql: &dyn Sql, until: u64) -> Result<(), Failure> {
    sql.run(LEASE, &[Param::Integer(until)])
}

/// Stores what a fork has learned about the owners of its inherited segments.
pub(super) fn inherit(sql: &dyn Sql, fork: &Fork) -> Result<(), Failure> {
    sql.run(INHERIT, &[Param::Text(&encode_fork(fork))])
}

/// Marks the stream gone: it exists only for its forks.
pub(super) fn leave(sql: &dyn Sql, now: u64) -> Result<(), Failure> {
    sql.run(LEAVE, &[Param::Integer(now)])
}

/// Marks the stream ended. The row keeps only what prevents offsets from being reused.
pub(super) fn end(sql: &dyn Sql, ended: Ended, now: u64) -> Result<(), Failure> {
    sql.run(END, &[Param::Integer(ended.next_segment), Param::Integer(now)])
}
