//! The stream's own row: what it is, not what it holds.

use super::schema::SCHEMA_VERSION;
use super::{Columns, Failure, Param, Sql, messages, only_row};
use crate::protocol::content_type::ContentType;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::offset::Offset;
use crate::protocol::producer::Producer;
use crate::stream::{Closure, Ended, Life, Stream};

const EXISTS: &str = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'stream'";
const SELECT: &str = "SELECT schema_version, incarnation, live, read_seq, first_read_seq, content_type, \
    ttl_seconds, expires_at, created_at, lease_until, closed, closer_id, closer_epoch, closer_seq FROM stream";
const PUT: &str = "INSERT OR REPLACE INTO stream (id, schema_version, incarnation, path, live, read_seq, \
    first_read_seq, content_type, ttl_seconds, expires_at, created_at, lease_until, closed, closer_id, \
    closer_epoch, closer_seq) VALUES (1, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const CLOSE: &str =
    "UPDATE stream SET closed = 1, closer_id = ?, closer_epoch = ?, closer_seq = ?, lease_until = ?";
const LEASE: &str = "UPDATE stream SET lease_until = ?";
const END: &str = "UPDATE stream SET live = 0, read_seq = ?, closed = 0, closer_id = NULL, lease_until = 0";

/// Reads everything that the object remembers.
pub fn load(sql: &dyn Sql) -> Result<Life, Failure> {
    if only_row(sql, EXISTS, &[])?.is_none() {
        return Ok(Life::Unborn);
    }
    let Some(row) = only_row(sql, SELECT, &[])? else { return Ok(Life::Unborn) };
    let mut columns = Columns::new("stream", row);
    let version = columns.integer()?;
    if version != SCHEMA_VERSION {
        let cause = format_args!("stored by schema version {version}, this is version {SCHEMA_VERSION}");
        return Err(Failure::new("load stream", cause));
    }
    let incarnation = columns.integer()?;
    let live = columns.integer()? == 1;
    let read_seq = columns.integer()?;
    if !live {
        return Ok(Life::Ended(Ended { incarnation, next_read_seq: read_seq }));
    }
    let mut stream = decode(incarnation, read_seq, columns)?;
    if let Some(last) = messages::last(sql, read_seq)? {
        stream.tail.position = last.next_position;
        stream.stream_seq = last.stream_seq;
        stream.touched_at = stream.touched_at.max(last.written_at);
    }
    if let Lifetime::Ttl { seconds } = stream.lifetime {
        // The lease may tell of a read later than the last write.
        stream.touched_at = stream.touched_at.max(stream.lease_until.saturating_sub(seconds * 1000));
    }
    Ok(Life::Live(Box::new(stream)))
}

fn decode(incarnation: u64, read_seq: u64, mut columns: Columns) -> Result<Stream, Failure> {
    let first_read_seq = columns.integer()?;
    let content_type = columns.text()?;
    let ttl_seconds = columns.optional_integer()?;
    let expires_at = columns.optional_integer()?;
    let created_at = columns.integer()?;
    let lease_until = columns.integer()?;
    let closed = columns.integer()? == 1;
    let closer = match (columns.optional_text()?, columns.optional_integer()?, columns.optional_integer()?) {
        (Some(id), Some(epoch), Some(seq)) => Some(Producer { id, epoch, seq }),
        _ => None,
    };
    Ok(Stream {
        incarnation,
        content_type: ContentType::parse(&content_type)
            .map_err(|refusal| Failure::new("load stream", refusal.message()))?,
        lifetime: match (ttl_seconds, expires_at) {
            (Some(seconds), _) => Lifetime::Ttl { seconds },
            (None, Some(at)) => Lifetime::ExpiresAt { at },
            (None, None) => Lifetime::Unlimited,
        },
        created_at,
        first_read_seq,
        tail: Offset::segment_start(read_seq),
        stream_seq: None,
        closure: if closed { Closure::by(closer.as_ref()) } else { Closure::Open },
        touched_at: created_at,
        lease_until,
    })
}

/// Writes a new stream's row, over the one of an earlier life.
pub(super) fn put(sql: &dyn Sql, path: &str, stream: &Stream) -> Result<(), Failure> {
    let (ttl, expires_at) = match stream.lifetime {
        Lifetime::Unlimited => (Param::Null, Param::Null),
        Lifetime::Ttl { seconds } => (Param::Integer(seconds), Param::Null),
        Lifetime::ExpiresAt { at } => (Param::Null, Param::Integer(at)),
    };
    let [closer_id, closer_epoch, closer_seq] = closer(&stream.closure);
    sql.run(
        PUT,
        &[
            Param::Integer(SCHEMA_VERSION),
            Param::Integer(stream.incarnation),
            Param::Text(path),
            Param::Integer(stream.tail.read_seq),
            Param::Integer(stream.first_read_seq),
            Param::Text(stream.content_type.as_str()),
            ttl,
            expires_at,
            Param::Integer(stream.created_at),
            Param::Integer(stream.lease_until),
            Param::Integer(u64::from(stream.closure.is_closed())),
            closer_id,
            closer_epoch,
            closer_seq,
        ],
    )
}

/// Marks the stream closed.
pub(super) fn close(sql: &dyn Sql, closure: &Closure, lease_until: u64) -> Result<(), Failure> {
    let [id, epoch, seq] = closer(closure);
    sql.run(CLOSE, &[id, epoch, seq, Param::Integer(lease_until)])
}

/// Makes a read's touch outlive the object's memory.
pub(super) fn lease(sql: &dyn Sql, until: u64) -> Result<(), Failure> {
    sql.run(LEASE, &[Param::Integer(until)])
}

/// Leaves of the stream only what keeps its offsets from coming back.
pub(super) fn end(sql: &dyn Sql, ended: Ended) -> Result<(), Failure> {
    sql.run(END, &[Param::Integer(ended.next_read_seq)])
}

fn closer(closure: &Closure) -> [Param<'_>; 3] {
    match closure {
        Closure::ClosedBy(Producer { id, epoch, seq }) => {
            [Param::Text(id), Param::Integer(*epoch), Param::Integer(*seq)]
        }
        Closure::Open | Closure::Closed => [Param::Null, Param::Null, Param::Null],
    }
}
