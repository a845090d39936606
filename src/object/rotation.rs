//! Rotation: what goes to the bucket and what is deleted there, one thing after the other. Each is decided here, done by
//! whoever can wait, and committed if things are still as they were; after a crash it begins again where storage says.

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

/// How many objects of the bucket are deleted at a time; the platform takes 1,000.
pub const COLLECTED_AT_ONCE_MAX: u64 = 100;

/// A segment for the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    pub key: String,
    /// The object; empty once it is on its way.
    pub pieces: Vec<Vec<u8>>,
    pub(super) segment: SegmentRow,
}

impl Upload {
    /// Whether the stream still has the segment in the hot log, and that is to go next.
    pub(super) fn is_due(&self, stream: &Stream, limits: Option<SegmentLimits>) -> bool {
        let due = limits.and_then(|limits| due(stream, limits));
        stream.incarnation == self.segment.incarnation && due == Some(self.segment.number)
    }
}

/// Segments that nobody can read any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collection {
    pub keys: Vec<String>,
    /// The last of them.
    pub through_segment: u64,
}

/// What there is to do in the bucket.
pub(super) enum BucketWork {
    /// A segment is encoded some rows in each turn, so that no request waits for all of it.
    Encode,
    Upload(Upload),
    Collect(Collection),
}

/// A stream's way to the bucket.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// Whether objects are to be deleted, and whether the bucket rests after a failure, for deletions and uploads alike.
    pending: Pending,
    encoding: Option<Encoding>,
    ahead: EncodedAhead,
    /// How many sweeps are under way: nothing goes to the bucket then.
    sweeps: u32,
}

impl Rotation {
    /// The same after memory was lost. What rests goes on resting, and sweeps go on.
    pub(super) fn forgotten(&self) -> Rotation {
        let mut pending = self.pending;
        pending.renew();
        Rotation { pending, sweeps: self.sweeps, ..Rotation::default() }
    }

    /// Whether something may begin now.
    pub(super) fn may_begin(&self, life: Option<&Life>, limits: Option<SegmentLimits>, now: Millis) -> bool {
        self.sweeps == 0 && self.pending.rests_until(now).is_none() && self.has_work(life, limits)
    }

    /// When the alarm has to ring for it, if there may be something to do.
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
            // What begins with the first segment of all leaves none behind.
            Some(Life::Live(stream) | Life::Gone(stream)) => {
                due(stream, limits).is_some()
                    || (self.pending != Pending::Nothing && stream.first_segment > 0)
            }
            Some(Life::Ended(_)) => self.pending != Pending::Nothing,
            Some(Life::Unborn) | None => false,
        })
    }

    /// There may be objects to delete.
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

    /// Encodes what was appended, while it is at hand.
    pub(super) fn encode_ahead(&mut self, stream: &Stream, at: Offset, content: &Content<'_>) {
        if content.span > 0 {
            self.ahead.follow(stream, at, content);
        }
    }

    /// The stream has ended: what may still rotate of it is read.
    pub(super) fn ended(&mut self) {
        self.ahead = EncodedAhead::default();
    }

    /// The next thing to do.
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
        // What was trimmed may be a fork's.
        let floor = forks::floor(sql)?.map_or(floor, |needed| needed.min(floor));
        let collection = collection(sql, floor)?;
        // After a rest there is no need for another one, whatever comes of it.
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

/// A segment that is being encoded. It is sealed, so it stays as it is between two turns; its stream may end.
#[derive(Debug)]
struct Encoding {
    incarnation: u64,
    segment: u64,
    last: Last,
    /// How far it has been read; `None` if that was not necessary.
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

    /// Takes some rows; whether those were the last.
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
