//! The rows of the segments that are in the bucket: where each is, and where everything is in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::segment_file::Index;
use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::protocol::path::StreamPath;
use crate::protocol::{Millis, SAFE_INTEGER_MAX};
use crate::stream::retain::Keep;

const PUT: &str = "INSERT OR REPLACE INTO segments (read_seq, incarnation, end_position, message_count, object_bytes, \
    blocks, bytes_through, written_at, stream_seq, messages_before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const LAST: &str = "SELECT read_seq, incarnation, end_position, bytes_through, written_at, stream_seq, \
    messages_before + message_count FROM segments ORDER BY read_seq DESC LIMIT 1";
const FIND: &str = "SELECT end_position, blocks, written_at FROM segments WHERE read_seq = ?";
const END: &str = "SELECT end_position FROM segments WHERE read_seq = ?";
const FIRST_KEPT: &str = "SELECT read_seq, written_at FROM segments WHERE read_seq >= ? AND written_at >= ? \
    AND bytes_through >= ? ORDER BY read_seq LIMIT 1";
const INCARNATION: &str = "SELECT incarnation FROM segments WHERE read_seq = ?";
const BEFORE: &str =
    "SELECT read_seq, incarnation FROM segments WHERE read_seq < ? ORDER BY read_seq LIMIT +?";
const FROM: &str =
    "SELECT read_seq, incarnation FROM segments WHERE read_seq >= ? ORDER BY read_seq LIMIT +?";
const DELETE: &str = "DELETE FROM segments WHERE read_seq <= ?";

/// A segment that has been put into the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentRow {
    pub number: u64,
    pub incarnation: u64,
    /// The position after its last message.
    pub end_position: u64,
    pub message_count: u64,
    pub object_bytes: u64,
    pub index: Index,
    /// How many bytes the messages up to its end have, counted from some segment on.
    pub bytes_through: u64,
    /// When its last message was written.
    pub written_at: Millis,
    /// The stream's last `Stream-Seq` up to its end.
    pub stream_seq: Option<String>,
    /// How many messages of its own the stream had before it (`schema.rs`).
    pub messages_before: u64,
}

impl SegmentRow {
    /// One that will only be deleted.
    pub fn unread(incarnation: u64, segment: u64) -> SegmentRow {
        SegmentRow {
            number: segment,
            incarnation,
            end_position: 0,
            message_count: 0,
            object_bytes: 0,
            index: Index { blocks: Vec::new(), end_byte: 0 },
            bytes_through: 0,
            written_at: 0,
            stream_seq: None,
            messages_before: 0,
        }
    }

    /// How many messages of its own the stream had up to its end.
    pub fn messages_through(&self) -> u64 {
        self.messages_before + self.message_count
    }
}

/// What the newest segment says of the tail, where no message is in the hot log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastSegment {
    pub number: u64,
    pub incarnation: u64,
    pub end_position: u64,
    pub bytes_through: u64,
    pub written_at: Millis,
    pub stream_seq: Option<String>,
    /// As [`SegmentRow::messages_through`]; a row from before version 8 does not say it.
    pub messages_through: Option<u64>,
}

/// Where a segment is in the bucket. Path and incarnation are in it: what comes late from an old incarnation cannot touch the new
/// one. Objects are found by it for ever, so it never changes.
pub fn key(path: &str, incarnation: u64, segment: u64) -> String {
    format!("{}/{incarnation}/{segment:016}", URL_SAFE_NO_PAD.encode(path))
}

/// Whose segment a key names, the path, the life and which; `None` where [`key`] makes no such key.
pub fn parse_key(text: &str) -> Option<(StreamPath, u64, u64)> {
    let (rest, segment) = text.rsplit_once('/')?;
    let (encoded, incarnation) = rest.rsplit_once('/')?;
    let path = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    // A stream below a project's `__ds` may be older than the reservation of that name.
    let path = StreamPath::of_text(path).ok().filter(|path| !path.is_outside_projects())?;
    let (incarnation, segment): (u64, u64) = (incarnation.parse().ok()?, segment.parse().ok()?);
    let is_in_range = incarnation > 0 && incarnation.max(segment) <= SAFE_INTEGER_MAX;
    // Numbers have other spellings, which nobody has put there for a stream.
    let is_its_own = is_in_range && key(path.as_str(), incarnation, segment) == text;
    is_its_own.then_some((path, incarnation, segment))
}

/// Stores that a segment is in the bucket.
pub(super) fn put(sql: &dyn Sql, segment: &SegmentRow) -> Result<(), Failure> {
    sql.run(schema::CREATE_SEGMENTS, &[])?;
    let params = [
        Param::Integer(segment.number),
        Param::Integer(segment.incarnation),
        Param::Integer(segment.end_position),
        Param::Integer(segment.message_count),
        Param::Integer(segment.object_bytes),
        Param::Blob(&segment.index.encode()),
        Param::Integer(segment.bytes_through),
        Param::Integer(segment.written_at),
        segment.stream_seq.as_deref().map_or(Param::Null, Param::Text),
        Param::Integer(segment.messages_before),
    ];
    sql.run(PUT, &params)
}

/// The newest segment of all lives.
pub fn last(sql: &dyn Sql) -> Result<Option<LastSegment>, Failure> {
    let Some(row) = only_row(sql, LAST, &[])? else { return Ok(None) };
    let mut columns = Columns::new("segments", row);
    Ok(Some(LastSegment {
        number: columns.integer()?,
        incarnation: columns.integer()?,
        end_position: columns.integer()?,
        bytes_through: columns.integer()?,
        written_at: columns.integer()?,
        stream_seq: columns.optional_text()?,
        messages_through: columns.optional_integer()?,
    }))
}

/// What a read has to know of a segment. It never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// The position after its last message.
    pub end_position: u64,
    /// Where everything is in it.
    pub index: Index,
    /// When its last message was written, if that is known: the object does not say it.
    pub written_at: Option<Millis>,
}

/// The shape of a segment that must be there.
pub fn shape(sql: &dyn Sql, segment: u64) -> Result<Shape, Failure> {
    let row = only_row(sql, FIND, &[Param::Integer(segment)])?.ok_or_else(|| missing(segment))?;
    let mut columns = Columns::new("segments", row);
    Ok(Shape {
        end_position: columns.integer()?,
        index: Index::decode(&columns.blob()?)?,
        written_at: Some(columns.integer()?),
    })
}

/// The position after a segment's last message.
pub fn end_position(sql: &dyn Sql, segment: u64) -> Result<u64, Failure> {
    let row = only_row(sql, END, &[Param::Integer(segment)])?.ok_or_else(|| missing(segment))?;
    Columns::new("segments", row).integer()
}

fn missing(segment: u64) -> Failure {
    Failure::new("read segment", format_args!("segment {segment} has no row"))
}

/// The oldest segment that retention keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OldestKept {
    pub number: u64,
    pub written_at: Millis,
}

/// The oldest segment that is kept. Only those before it are looked at: each of them is to be deleted.
pub fn first_kept(sql: &dyn Sql, keep: &Keep) -> Result<Option<OldestKept>, Failure> {
    let params = [keep.from_segment, keep.written_from, keep.bytes_from].map(Param::Integer);
    let Some(row) = only_row(sql, FIRST_KEPT, &params)? else { return Ok(None) };
    let mut columns = Columns::new("segments", row);
    Ok(Some(OldestKept { number: columns.integer()?, written_at: columns.integer()? }))
}

/// The life that a segment is of, if it has a row.
pub fn incarnation(sql: &dyn Sql, segment: u64) -> Result<Option<u64>, Failure> {
    let Some(row) = only_row(sql, INCARNATION, &[Param::Integer(segment)])? else { return Ok(None) };
    Columns::new("segments", row).integer().map(Some)
}

/// The oldest segments before one, as segment number and incarnation.
pub fn before(sql: &dyn Sql, segment: u64, count_max: u64) -> Result<Vec<(u64, u64)>, Failure> {
    oldest(sql, BEFORE, segment, count_max)
}

/// The oldest segments from one on, as segment number and incarnation.
pub fn from(sql: &dyn Sql, segment: u64, count_max: u64) -> Result<Vec<(u64, u64)>, Failure> {
    oldest(sql, FROM, segment, count_max)
}

fn oldest(
    sql: &dyn Sql,
    statement: &'static str,
    segment: u64,
    count_max: u64,
) -> Result<Vec<(u64, u64)>, Failure> {
    let mut found = Vec::new();
    sql.query(statement, &[Param::Integer(segment), Param::Integer(count_max)], &mut |row| {
        let mut columns = Columns::new("segments", row);
        found.push((columns.integer()?, columns.integer()?));
        Ok(())
    })?;
    Ok(found)
}

/// Forgets segments that are no longer in the bucket.
pub(super) fn forget(sql: &dyn Sql, through_segment: u64) -> Result<(), Failure> {
    sql.run(DELETE, &[Param::Integer(through_segment)])
}
