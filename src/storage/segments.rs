//! Stores the rows of segments in the bucket: where each object is, and where the messages are in it.

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
const COUNT: &str = "SELECT message_count FROM segments WHERE read_seq = ?";
const FIRST_SINCE: &str =
    "SELECT read_seq FROM segments WHERE read_seq >= ? AND written_at >= ? ORDER BY read_seq LIMIT 1";
const FIRST_KEPT: &str = "SELECT read_seq, written_at FROM segments WHERE read_seq >= ? AND written_at >= ? \
    AND bytes_through >= ? ORDER BY read_seq LIMIT 1";
const INCARNATION: &str = "SELECT incarnation FROM segments WHERE read_seq = ?";
const BEFORE: &str =
    "SELECT read_seq, incarnation FROM segments WHERE read_seq < ? ORDER BY read_seq LIMIT +?";
const FROM: &str =
    "SELECT read_seq, incarnation FROM segments WHERE read_seq >= ? ORDER BY read_seq LIMIT +?";
const DELETE: &str = "DELETE FROM segments WHERE read_seq <= ?";

/// A segment that has been uploaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentRow {
    pub number: u64,
    pub incarnation: u64,
    /// The position after the last message.
    pub end_position: u64,
    pub message_count: u64,
    pub object_bytes: u64,
    pub index: Index,
    /// The bytes of all messages up to the segment's end, counted from some earlier segment.
    pub bytes_through: u64,
    /// When the last message was written.
    pub written_at: Millis,
    /// The last `Stream-Seq` accepted up to the segment's end.
    pub stream_seq: Option<String>,
    /// The stream's own messages before the segment (`schema.rs`).
    pub messages_before: u64,
}

impl SegmentRow {
    /// A row for a segment that will be deleted and never read.
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

    /// The stream's own messages up to the segment's end.
    pub fn messages_through(&self) -> u64 {
        self.messages_before + self.message_count
    }
}

/// The row of the newest segment, which describes the tail if no message is in the hot log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastSegment {
    pub number: u64,
    pub incarnation: u64,
    pub end_position: u64,
    pub bytes_through: u64,
    pub written_at: Millis,
    pub stream_seq: Option<String>,
    /// As [`SegmentRow::messages_through`]; `None` if the row was stored before version 8.
    pub messages_through: Option<u64>,
}

/// The key of a segment's object. It contains the path and the incarnation, so a late upload of an old
/// incarnation cannot overwrite a new one. Stored objects are found by this key, so its format never changes.
pub fn key(path: &str, incarnation: u64, segment: u64) -> String {
    format!("{}/{incarnation}/{segment:016}", URL_SAFE_NO_PAD.encode(path))
}

/// The path, incarnation and segment of a key; `None` if [`key`] does not make such a key.
pub fn parse_key(text: &str) -> Option<(StreamPath, u64, u64)> {
    let (rest, segment) = text.rsplit_once('/')?;
    let (encoded, incarnation) = rest.rsplit_once('/')?;
    let path = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    // A stream below a project's `__ds` may be older than the reservation of that name.
    let path = StreamPath::of_text(path).ok().filter(|path| !path.is_outside_projects())?;
    let (incarnation, segment): (u64, u64) = (incarnation.parse().ok()?, segment.parse().ok()?);
    let is_in_range = incarnation > 0 && incarnation.max(segment) <= SAFE_INTEGER_MAX;
    // A number has several spellings, but the server writes only one.
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

/// The newest segment of all incarnations.
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

/// What a read needs to know of a segment. It never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// The position after the last message.
    pub end_position: u64,
    pub index: Index,
    /// When the last message was written. Unknown for an inherited segment, because the object does not
    /// contain it.
    pub written_at: Option<Millis>,
}

/// The shape of a segment. Fails if the segment has no row.
pub fn shape(sql: &dyn Sql, segment: u64) -> Result<Shape, Failure> {
    let row = only_row(sql, FIND, &[Param::Integer(segment)])?.ok_or_else(|| missing(segment))?;
    let mut columns = Columns::new("segments", row);
    Ok(Shape {
        end_position: columns.integer()?,
        index: Index::decode(&columns.blob()?)?,
        written_at: Some(columns.integer()?),
    })
}

/// The position after a segment's last message. Fails if the segment has no row.
pub fn end_position(sql: &dyn Sql, segment: u64) -> Result<u64, Failure> {
    let row = only_row(sql, END, &[Param::Integer(segment)])?.ok_or_else(|| missing(segment))?;
    Columns::new("segments", row).integer()
}

/// How many messages a segment has (`schema.rs`). Fails if the segment has no row.
pub fn message_count(sql: &dyn Sql, segment: u64) -> Result<u64, Failure> {
    let row = only_row(sql, COUNT, &[Param::Integer(segment)])?.ok_or_else(|| missing(segment))?;
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

/// The oldest segment that retention keeps. The query examines only segments that will be deleted, and the
/// result.
pub fn first_kept(sql: &dyn Sql, keep: &Keep) -> Result<Option<OldestKept>, Failure> {
    let params = [keep.from_segment, keep.written_from, keep.bytes_from].map(Param::Integer);
    let Some(row) = only_row(sql, FIRST_KEPT, &params)? else { return Ok(None) };
    let mut columns = Columns::new("segments", row);
    Ok(Some(OldestKept { number: columns.integer()?, written_at: columns.integer()? }))
}

/// The first segment from `from_segment` on whose last message was written at `since` or later.
pub fn first_since(sql: &dyn Sql, from_segment: u64, since: Millis) -> Result<Option<u64>, Failure> {
    let params = [Param::Integer(from_segment), Param::Integer(since)];
    let Some(row) = only_row(sql, FIRST_SINCE, &params)? else { return Ok(None) };
    Columns::new("segments", row).integer().map(Some)
}

/// The incarnation of a segment, if the segment has a row.
pub fn incarnation(sql: &dyn Sql, segment: u64) -> Result<Option<u64>, Failure> {
    let Some(row) = only_row(sql, INCARNATION, &[Param::Integer(segment)])? else { return Ok(None) };
    Columns::new("segments", row).integer().map(Some)
}

/// The oldest segments before `segment`, as pairs of segment and incarnation.
pub fn before(sql: &dyn Sql, segment: u64, count_max: u64) -> Result<Vec<(u64, u64)>, Failure> {
    oldest(sql, BEFORE, segment, count_max)
}

/// The oldest segments from `segment` on, as pairs of segment and incarnation.
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

/// Deletes the rows of segments that are no longer in the bucket.
pub(super) fn forget(sql: &dyn Sql, through_segment: u64) -> Result<(), Failure> {
    sql.run(DELETE, &[Param::Integer(through_segment)])
}
