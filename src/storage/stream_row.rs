//! The stream's own row: what it is, not what it holds.

use super::schema::SCHEMA_VERSION;
use super::segments::{self, LastSegment};
use super::{Columns, Failure, Param, Sql, messages, only_row};
use crate::protocol::content_type::ContentType;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::offset::Offset;
use crate::protocol::producer::Producer;
use crate::protocol::retention::Retention;
use crate::stream::fill::Fill;
use crate::stream::fork::Fork;
use crate::stream::{Closure, Ended, Life, Stream};

const TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('stream', 'segments', 'edges')";
const SELECT: &str = "SELECT schema_version, incarnation, live, read_seq, first_read_seq, content_type, \
    ttl_seconds, expires_at, retention_seconds, retention_bytes, created_at, lease_until, closed, closer_id, \
    closer_epoch, closer_seq, public, reader_key, tail_position, tail_written_at, tail_stream_seq, \
    fork FROM stream";
const PUT: &str = "INSERT OR REPLACE INTO stream (id, schema_version, incarnation, path, live, read_seq, \
    first_read_seq, content_type, ttl_seconds, expires_at, retention_seconds, retention_bytes, created_at, \
    lease_until, closed, closer_id, closer_epoch, closer_seq, public, reader_key, tail_position, tail_written_at, \
    fork, reported) VALUES (1, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, \
    0)";
const CLOSE: &str =
    "UPDATE stream SET closed = 1, closer_id = ?, closer_epoch = ?, closer_seq = ?, lease_until = ?";
const REKEY: &str = "UPDATE stream SET reader_key = ?";
const LEASE: &str = "UPDATE stream SET lease_until = ?";
const SEAL: &str = "UPDATE stream SET read_seq = ?";
const TRIM: &str =
    "UPDATE stream SET first_read_seq = ?, tail_position = ?, tail_written_at = ?, tail_stream_seq = ?";
const PATH: &str = "SELECT path FROM stream";
const INHERIT: &str = "UPDATE stream SET fork = ?";
const LEAVE: &str = "UPDATE stream SET live = 2, lease_until = ?";
const END: &str =
    "UPDATE stream SET live = 0, read_seq = ?, closed = 0, closer_id = NULL, lease_until = ?, fork = NULL";

/// Everything that the object remembers.
#[derive(Debug)]
pub struct Loaded {
    /// What it is.
    pub life: Life,
    /// Whether there may be edges to sources.
    pub has_links: bool,
}

/// Reads everything that the object remembers.
pub fn load(sql: &dyn Sql) -> Result<Loaded, Failure> {
    let tables = Tables::load(sql)?;
    Ok(Loaded { life: life(sql, &tables)?, has_links: tables.links })
}

fn life(sql: &dyn Sql, tables: &Tables) -> Result<Life, Failure> {
    if !tables.stream {
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
    let live = columns.integer()?;
    let segment = columns.integer()?;
    if live == 0 {
        return Ok(Life::Ended(Ended { incarnation, next_segment: segment }));
    }
    let mut stream = decode(incarnation, segment, columns)?;
    let rotated = if tables.segments { segments::last(sql)? } else { None };
    find_tail(sql, &mut stream, rotated.filter(|last| last.incarnation == incarnation))?;
    if let Lifetime::Ttl { seconds } = stream.lifetime {
        // The lease may tell of a read later than the last write.
        stream.touched_at = stream.touched_at.max(stream.lease_until.saturating_sub(seconds * 1000));
    }
    Ok(if live == 1 { Life::Live(Box::new(stream)) } else { Life::Gone(Box::new(stream)) })
}

/// Where the stream ends: in its last segment, whose last message may be in the hot log or in the bucket; or that
/// segment is still empty, and what is known of the last message is with the one before; or all were trimmed, and the
/// stream's own row tells.
fn find_tail(sql: &dyn Sql, stream: &mut Stream, rotated: Option<LastSegment>) -> Result<(), Failure> {
    let segment = stream.tail.segment;
    stream.hot_from = rotated.as_ref().map_or(0, |last| last.number + 1).max(stream.first_segment);
    stream.rotated_bytes = rotated.as_ref().map_or(0, |last| last.bytes_through);
    let last = if stream.hot_from <= segment { messages::last(sql, segment)? } else { None };
    let before =
        if last.is_none() && stream.hot_from < segment { messages::last(sql, segment - 1)? } else { None };
    if let Some(last) = &last {
        stream.tail.position = last.next_position;
        stream.fill = last.fill;
    }
    let newest = last.or(before).map(|last| (last.written_at, last.stream_seq));
    let newest = newest.or_else(|| {
        let rotated = rotated?;
        if rotated.number == segment {
            stream.tail.position = rotated.end_position;
        }
        Some((rotated.written_at, rotated.stream_seq))
    });
    if let Some((written_at, stream_seq)) = newest {
        stream.stream_seq = stream_seq;
        stream.written_at = written_at;
        stream.touched_at = stream.touched_at.max(written_at);
    }
    Ok(())
}

struct Tables {
    stream: bool,
    segments: bool,
    links: bool,
}

impl Tables {
    fn load(sql: &dyn Sql) -> Result<Tables, Failure> {
        let mut tables = Tables { stream: false, segments: false, links: false };
        sql.query(TABLES, &[], &mut |row| {
            match Columns::new("sqlite_master", row).text()?.as_str() {
                "stream" => tables.stream = true,
                "edges" => tables.links = true,
                _ => tables.segments = true,
            }
            Ok(())
        })?;
        Ok(tables)
    }
}

/// The stream's path, which its segments' keys begin with.
pub fn path(sql: &dyn Sql) -> Result<String, Failure> {
    let missing = || Failure::new("load stream", "it has no row");
    Columns::new("stream", only_row(sql, PATH, &[])?.ok_or_else(missing)?).text()
}

/// Whether segments were ever put into the bucket.
pub fn has_segments(sql: &dyn Sql) -> Result<bool, Failure> {
    Ok(Tables::load(sql)?.segments)
}

/// Stores that the tail has moved on to the next segment.
pub(super) fn seal(sql: &dyn Sql, segment: u64) -> Result<(), Failure> {
    sql.run(SEAL, &[Param::Integer(segment)])
}

/// Stores where the stream begins now, and what a trim may leave nothing else to tell of.
pub(super) fn trim(sql: &dyn Sql, stream: &Stream, first_segment: u64) -> Result<(), Failure> {
    let params = [
        Param::Integer(first_segment),
        Param::Integer(stream.tail.position),
        Param::Integer(stream.written_at),
        stream.stream_seq.as_deref().map_or(Param::Null, Param::Text),
    ];
    sql.run(TRIM, &params)
}

fn decode(incarnation: u64, segment: u64, mut columns: Columns) -> Result<Stream, Failure> {
    let first_segment = columns.integer()?;
    let content_type = columns.text()?;
    let lifetime = match (columns.optional_integer()?, columns.optional_integer()?) {
        (Some(seconds), _) => Lifetime::Ttl { seconds },
        (None, Some(at)) => Lifetime::ExpiresAt { at },
        (None, None) => Lifetime::Unlimited,
    };
    let retention = match (columns.optional_integer()?, columns.optional_integer()?) {
        (Some(seconds), _) => Some(Retention::Seconds { seconds }),
        (None, Some(bytes)) => Some(Retention::Bytes { bytes }),
        (None, None) => None,
    };
    let created_at = columns.integer()?;
    let lease_until = columns.integer()?;
    let closed = columns.integer()? == 1;
    let closer = match (columns.optional_text()?, columns.optional_integer()?, columns.optional_integer()?) {
        (Some(id), Some(epoch), Some(seq)) => Some(Producer { id, epoch, seq }),
        _ => None,
    };
    let public = columns.integer()? == 1;
    let reader_key = columns.text()?;
    // A segment that is not trimmed tells by itself, if only by being empty.
    let position = columns.integer()? * u64::from(first_segment > segment);
    let written_at = columns.integer()?;
    let stream_seq = columns.optional_text()?;
    let fork = decode_fork(columns.optional_text()?.as_deref())?;
    let own_start = fork.as_ref().map(|fork| fork.own_start).filter(|start| start.segment == segment);
    Ok(Stream {
        incarnation,
        content_type: ContentType::stored(&content_type)
            .map_err(|refusal| Failure::new("load stream", refusal.message()))?,
        lifetime,
        public,
        reader_key,
        retention,
        created_at,
        first_segment,
        hot_from: first_segment,
        rotated_bytes: 0,
        // A fork's first segment begins where it left its source, and that is where it is while it is empty.
        tail: own_start.filter(|_| position == 0).unwrap_or(Offset { segment, position }),
        fill: Fill::default(),
        stream_seq,
        closure: if closed { Closure::by(closer.as_ref()) } else { Closure::Open },
        written_at,
        touched_at: written_at,
        lease_until,
        fork,
    })
}

fn decode_fork(text: Option<&str>) -> Result<Option<Box<Fork>>, Failure> {
    text.map(serde_json::from_str).transpose().map_err(|error| Failure::new("load fork", error))
}

fn encode_fork(fork: &Fork) -> String {
    serde_json::to_string(fork).expect("it has text and numbers only")
}

/// Writes a new stream's row, over the one of an earlier life.
pub(super) fn put(sql: &dyn Sql, path: &str, stream: &Stream, segment: u64) -> Result<(), Failure> {
    let (ttl, expires_at) = match stream.lifetime {
        Lifetime::Unlimited => (Param::Null, Param::Null),
        Lifetime::Ttl { seconds } => (Param::Integer(seconds), Param::Null),
        Lifetime::ExpiresAt { at } => (Param::Null, Param::Integer(at)),
    };
    let (retention_seconds, retention_bytes) = match stream.retention {
        None => (Param::Null, Param::Null),
        Some(Retention::Seconds { seconds }) => (Param::Integer(seconds), Param::Null),
        Some(Retention::Bytes { bytes }) => (Param::Null, Param::Integer(bytes)),
    };
    let [closer_id, closer_epoch, closer_seq] = closer(&stream.closure);
    let fork = stream.fork.as_deref().map(encode_fork);
    sql.run(
        PUT,
        &[
            Param::Integer(SCHEMA_VERSION),
            Param::Integer(stream.incarnation),
            Param::Text(path),
            Param::Integer(segment),
            Param::Integer(stream.first_segment),
            Param::Text(stream.content_type.as_str()),
            ttl,
            expires_at,
            retention_seconds,
            retention_bytes,
            Param::Integer(stream.created_at),
            Param::Integer(stream.lease_until),
            Param::Integer(u64::from(stream.closure.is_closed())),
            closer_id,
            closer_epoch,
            closer_seq,
            Param::Integer(u64::from(stream.public)),
            Param::Text(&stream.reader_key),
            Param::Integer(stream.written_at),
            fork.as_deref().map_or(Param::Null, Param::Text),
        ],
    )
}

/// Marks the stream closed.
pub(super) fn close(sql: &dyn Sql, closure: &Closure, lease_until: u64) -> Result<(), Failure> {
    let [id, epoch, seq] = closer(closure);
    sql.run(CLOSE, &[id, epoch, seq, Param::Integer(lease_until)])
}

/// Gives the stream another reader key.
pub(super) fn rekey(sql: &dyn Sql, reader_key: &str) -> Result<(), Failure> {
    sql.run(REKEY, &[Param::Text(reader_key)])
}

/// Makes a read's touch outlive the object's memory.
pub(super) fn lease(sql: &dyn Sql, until: u64) -> Result<(), Failure> {
    sql.run(LEASE, &[Param::Integer(until)])
}

/// Stores what a fork has learnt of the owners of what it inherited.
pub(super) fn inherit(sql: &dyn Sql, fork: &Fork) -> Result<(), Failure> {
    sql.run(INHERIT, &[Param::Text(&encode_fork(fork))])
}

/// Keeps the stream, but only for its forks.
pub(super) fn leave(sql: &dyn Sql, now: u64) -> Result<(), Failure> {
    sql.run(LEAVE, &[Param::Integer(now)])
}

/// Leaves of the stream only what keeps its offsets from coming back.
pub(super) fn end(sql: &dyn Sql, ended: Ended, now: u64) -> Result<(), Failure> {
    sql.run(END, &[Param::Integer(ended.next_segment), Param::Integer(now)])
}

fn closer(closure: &Closure) -> [Param<'_>; 3] {
    match closure {
        Closure::ClosedBy(Producer { id, epoch, seq }) => {
            [Param::Text(id), Param::Integer(*epoch), Param::Integer(*seq)]
        }
        Closure::Open | Closure::Closed => [Param::Null, Param::Null, Param::Null],
    }
}
