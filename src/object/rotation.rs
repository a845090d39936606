//! Uploads segments to the bucket and deletes them there, one operation at a time. Each operation is decided
//! here, performed asynchronously, and committed if the stream has not changed. After a crash it starts again
//! from storage.

use super::ahead::EncodedAhead;
use super::pending::Pending;
use crate::protocol::Millis;
use crate::protocol::offset::Offset;
use crate::storage::messages::Last;
use crate::storage::scan::Scan;
use crate::storage::schema::{SEGMENTS, has_table};
use crate::storage::segment_file::Writer;
use crate::storage::segments::{self, SegmentRow};
use crate::storage::{Failure, Sql, forks, messages, stream_row};
use crate::stream::content::Content;
use crate::stream::rotate::{SegmentLimits, due};
use crate::stream::{Life, Stream};

/// The most objects deleted at once. The platform allows 1,000.
pub const COLLECTED_AT_ONCE_MAX: u64 = 100;

/// A segment to be uploaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    pub key: String,
    /// The object's content. Empty after the upload has started.
    pub pieces: Vec<Vec<u8>>,
    pub(super) segment: SegmentRow,
}

impl Upload {
    /// Whether the stream still has the segment in the hot log and rotates it next.
    pub(super) fn is_due(&self, stream: &Stream, limits: Option<SegmentLimits>) -> bool {
        let due = limits.and_then(|limits| due(stream, limits));
        stream.incarnation == self.segment.incarnation && due == Some(self.segment.number)
    }
}

/// Segments that no reader can reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collection {
    pub keys: Vec<String>,
    pub through_segment: u64,
}

/// The next operation in the bucket lane.
pub(super) enum BucketWork {
    /// The segment is encoded a few rows per turn, so that no request waits for the whole segment.
    Encode,
    Upload(Upload),
    Collect(Collection),
}

/// The state of a stream's rotation.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// Whether objects may need deletion, and the backoff after a failed deletion or upload.
    pending: Pending,
    encoding: Option<Encoding>,
    ahead: EncodedAhead,
    /// How many sweeps of orphans are in progress. No bucket operation starts meanwhile.
    sweeps: u32,
}

impl Rotation {
    /// The state after memory is lost. A backoff and sweeps continue.
    pub(super) fn forgotten(&self) -> Rotation {
        let mut pending = self.pending;
        pending.renew();
        Rotation { pending, sweeps: self.sweeps, ..Rotation::default() }
    }

    pub(super) fn may_begin(&self, life: Option<&Life>, limits: Option<SegmentLimits>, now: Millis) -> bool {
        self.sweeps == 0 && self.pending.rests_until(now).is_none() && self.has_work(life, limits)
    }

    /// When the alarm must ring for rotation, if there may be work.
    pub(super) fn alarm_at(
        &self,
        life: Option<&Life>,
        limits: Option<SegmentLimits>,
        now: Millis,
    ) -> Option<Millis> {
        self.has_work(life, limits).then(|| self.pending.alarm_at(now))
    }

    fn has_work(&self, life: Option<&Life>, limits: Option<SegmentLimits>) -> bool {
        limits.is_some_and(|limits| match life {
            // A stream that still has segment 0 has nothing to delete.
            Some(Life::Live(stream) | Life::Gone(stream)) => {
                due(stream, limits).is_some()
                    || (self.pending != Pending::Nothing && stream.first_segment > 0)
            }
            Some(Life::Ended(_)) => self.pending != Pending::Nothing,
            Some(Life::Unborn) | None => false,
        })
    }

    pub(super) fn has_garbage(&mut self) {
        self.pending.renew();
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.pending = Pending::RestsUntil(at);
    }

    pub(super) fn sweep(&mut self) {
        self.sweeps += 1;
    }

    pub(super) fn swept(&mut self) {
        self.sweeps = self.sweeps.saturating_sub(1);
    }

    /// Encodes an append while its content is in memory.
    pub(super) fn encode_ahead(&mut self, stream: &Stream, at: Offset, content: &Content<'_>) {
        if content.span > 0 {
            self.ahead.follow(stream, at, content);
        }
    }

    /// Drops encoded segments. If one must still be rotated, it is read from the hot log.
    pub(super) fn ended(&mut self) {
        self.ahead = EncodedAhead::default();
    }

    pub(super) fn next(
        &mut self,
        sql: &dyn Sql,
        life: &Life,
        limits: SegmentLimits,
    ) -> Result<Option<BucketWork>, Failure> {
        let begun = self.encoding.take();
        let floor = match life {
            Life::Unborn => return Ok(None),
            Life::Live(stream) | Life::Gone(stream) => {
                if let Some(segment) = due(stream, limits) {
                    return self.encode(sql, stream, segment, begun).map(Some);
                }
                stream.first_segment
            }
            Life::Ended(ended) => ended.next_segment,
        };
        if self.pending == Pending::Nothing {
            return Ok(None);
        }
        // Forks may need segments that were trimmed.
        let floor = forks::floor(sql)?.map_or(floor, |needed| needed.min(floor));
        let collection = collection(sql, floor)?;
        // This ends a backoff. If the operation fails, a new one starts.
        self.pending = if collection.is_some() { Pending::Maybe } else { Pending::Nothing };
        Ok(collection.map(BucketWork::Collect))
    }

    fn encode(
        &mut self,
        sql: &dyn Sql,
        stream: &Stream,
        segment: u64,
        begun: Option<Encoding>,
    ) -> Result<BucketWork, Failure> {
        let mut encoding = match begun.filter(|begun| begun.is_of(stream, segment)) {
            Some(begun) => begun,
            None => Encoding::new(sql, stream, segment, &mut self.ahead)?,
        };
        if encoding.go_on(sql, stream)? {
            return upload(sql, stream, encoding).map(BucketWork::Upload);
        }
        self.encoding = Some(encoding);
        Ok(BucketWork::Encode)
    }
}

/// A segment that is being encoded. It is sealed, so it does not change between turns, but its stream may
/// end.
#[derive(Debug)]
struct Encoding {
    incarnation: u64,
    segment: u64,
    last: Last,
    /// The progress in the hot log; `None` if the segment was encoded ahead.
    scan: Option<Scan>,
    writer: Writer,
}

impl Encoding {
    fn new(
        sql: &dyn Sql,
        stream: &Stream,
        segment: u64,
        known: &mut EncodedAhead,
    ) -> Result<Encoding, Failure> {
        let lost = || Failure::new("rotate", format_args!("segment {segment} has no messages"));
        let last = messages::last(sql, segment)?.ok_or_else(lost)?;
        let end = Offset { segment, position: last.next_position };
        let (scan, writer) = match known.take_whole(end) {
            Some(writer) => (None, writer),
            None => {
                let first = stream.segment_start(segment).position;
                (Some(Scan::new(segment)), Writer::new(stream.content_type.as_str(), segment, first))
            }
        };
        Ok(Encoding { incarnation: stream.incarnation, segment, last, scan, writer })
    }

    fn is_of(&self, stream: &Stream, segment: u64) -> bool {
        self.incarnation == stream.incarnation && self.segment == segment
    }

    /// Encodes a slice of rows. Returns whether it was the last.
    fn go_on(&mut self, sql: &dyn Sql, stream: &Stream) -> Result<bool, Failure> {
        let (Some(scan), writer) = (&mut self.scan, &mut self.writer) else { return Ok(true) };
        scan.slice(sql, stream.content_type.format(), &mut |message, span| writer.push(message, span))
    }
}

fn upload(sql: &dyn Sql, stream: &Stream, encoding: Encoding) -> Result<Upload, Failure> {
    let Encoding { segment, last, writer, .. } = encoding;
    let file = writer.finish();
    let object_bytes = file.object_bytes();
    let row = SegmentRow {
        number: segment,
        incarnation: stream.incarnation,
        end_position: last.next_position,
        message_count: file.message_count,
        object_bytes,
        index: file.index,
        bytes_through: stream.rotated_bytes + last.fill.bytes,
        written_at: last.written_at,
        stream_seq: last.stream_seq,
        messages_before: stream.rotated_messages,
    };
    let key = segments::key(&stream_row::path(sql)?, stream.incarnation, segment);
    Ok(Upload { key, pieces: file.pieces, segment: row })
}

fn collection(sql: &dyn Sql, floor: u64) -> Result<Option<Collection>, Failure> {
    if !has_table(sql, SEGMENTS)? {
        return Ok(None);
    }
    let garbage = segments::before(sql, floor, COLLECTED_AT_ONCE_MAX)?;
    let Some((through_segment, _)) = garbage.last().copied() else { return Ok(None) };
    let path = stream_row::path(sql)?;
    let keys = garbage.iter().map(|(segment, incarnation)| segments::key(&path, *incarnation, *segment));
    Ok(Some(Collection { keys: keys.collect(), through_segment }))
}
