//! Rotation: what goes to the bucket and what is deleted there. Each step is decided here, done by whoever can wait, and
//! committed here if things are still as they were; after a crash it begins again where storage says.

use super::ahead::Ahead;
use super::{Object, Ports};
use crate::object::live::Sockets;
use crate::object::mirror::Outbox;
use crate::protocol::Millis;
use crate::protocol::offset::Offset;
use crate::storage::commit::{Change, commit};
use crate::storage::messages::Last;
use crate::storage::scan::Scan;
use crate::storage::schema::{SEGMENTS, has_table};
use crate::storage::segment_file::Writer;
use crate::storage::segments::{self, SegmentRow};
use crate::storage::{Failure, Sql, forks, messages, stream_row};
use crate::stream::rotate::due;
use crate::stream::{Life, Stream};

/// How many objects of the bucket are deleted at a time; the platform takes 1,000.
pub const COLLECTED_AT_ONCE_MAX: u64 = 100;

/// Whether objects of the bucket are to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Garbage {
    Unknown,
    Nothing,
}

/// What there is to do in the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// Go on in a later turn: a segment is encoded some rows at a time, so that no request waits for all of it.
    Encode,
    /// Put an object; then [`Object::uploaded`].
    Upload(Upload),
    /// Delete objects; then [`Object::collected`].
    Collect(Collection),
}

/// A segment for the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// Where.
    pub key: String,
    /// The object.
    pub pieces: Vec<Vec<u8>>,
    segment: SegmentRow,
}

impl Upload {
    /// Which segment.
    pub fn segment(&self) -> u64 {
        self.segment.number
    }
}

/// Segments that nobody can read any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collection {
    /// Where they are.
    pub keys: Vec<String>,
    /// The last of them.
    pub through_segment: u64,
}

impl Object {
    /// Whether there may be something to do now: nothing goes to the bucket while it is swept.
    pub fn may_have_work(&self) -> bool {
        self.sweeps == 0 && self.has_work()
    }

    /// Whether there may be something to do.
    pub(super) fn has_work(&self) -> bool {
        self.settings.segments.is_some_and(|limits| match &self.life {
            // What begins with the first segment of all leaves none behind.
            Some(Life::Live(stream) | Life::Gone(stream)) => {
                due(stream, limits).is_some()
                    || (self.garbage == Garbage::Unknown && stream.first_segment > 0)
            }
            Some(Life::Ended(_)) => self.garbage == Garbage::Unknown,
            Some(Life::Unborn) | None => false,
        })
    }

    /// The next thing to do.
    pub fn next_work<S: Sockets>(&mut self, ports: &Ports<'_, S>) -> Result<Option<Work>, Failure> {
        let Some(limits) = self.settings.segments.filter(|_| self.sweeps == 0) else { return Ok(None) };
        let (garbage, begun) = (self.garbage, self.encoding.take());
        self.load(ports.sql)?;
        let floor = match self.life.as_ref().expect("it was loaded above") {
            Life::Unborn => return Ok(None),
            Life::Live(stream) | Life::Gone(stream) => {
                if let Some(segment) = due(stream, limits) {
                    let begun = begun.filter(|begun| begun.is_of(stream, segment));
                    let mut encoding = match begun {
                        Some(begun) => begun,
                        None => {
                            let known = [&mut self.sealed_ahead, &mut self.ahead];
                            Encoding::new(ports.sql, stream, segment, known)?
                        }
                    };
                    if encoding.go_on(ports.sql, stream)? {
                        return upload(ports.sql, stream, encoding).map(|upload| Some(Work::Upload(upload)));
                    }
                    self.encoding = Some(encoding);
                    return Ok(Some(Work::Encode));
                }
                stream.first_segment
            }
            Life::Ended(ended) => ended.next_segment,
        };
        if garbage == Garbage::Nothing {
            return Ok(None);
        }
        // What was trimmed may be a fork's.
        let floor = forks::floor(ports.sql)?.map_or(floor, |needed| needed.min(floor));
        let collection = collection(ports.sql, floor)?;
        if collection.is_none() {
            self.garbage = Garbage::Nothing;
        }
        Ok(collection.map(Work::Collect))
    }

    /// A segment has arrived in the bucket: if the stream still has it in the hot log, it is dropped there.
    pub fn uploaded<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        upload: &Upload,
        now: Millis,
    ) -> Result<(), Failure> {
        let segment = &upload.segment;
        let (limits, noted_at) = (self.settings.segments, self.noted_at(now));
        let Some(stream) = self.load(ports.sql)?.stored_mut() else { return Ok(()) };
        let due = limits.and_then(|limits| due(stream, limits));
        if stream.incarnation != segment.incarnation || due != Some(segment.number) {
            return Ok(());
        }
        let committed = commit(ports.sql, &Change::Rotate { segment, noted_at });
        if committed.is_err() {
            self.forget();
            return committed;
        }
        stream.hot_from = segment.number + 1;
        stream.rotated_bytes = segment.bytes_through;
        stream.rotated_messages = segment.messages_through();
        self.outbox = Outbox::Unknown;
        // In the same turn: the platform stores both changes or none.
        self.trim(ports.sql, now)
    }

    /// A fork needs what was kept for it no more.
    pub(super) fn garbage_was_freed(&mut self, now: Millis) {
        self.garbage = Garbage::Unknown;
        if self.has_work() {
            self.arm(now);
        }
    }

    /// Objects are no longer in the bucket.
    pub fn collected<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        collection: &Collection,
        now: Millis,
    ) -> Result<(), Failure> {
        let (through_segment, noted_at) = (collection.through_segment, self.noted_at(now));
        let forgotten = commit(ports.sql, &Change::Forget { through_segment, noted_at });
        match forgotten {
            Ok(()) => self.outbox = Outbox::Unknown,
            Err(_) => self.forget(),
        }
        forgotten
    }
}

/// A segment that is being encoded. It is sealed, so it stays as it is between two turns; its stream may end.
#[derive(Debug)]
pub(super) struct Encoding {
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
        known: [&mut Option<Ahead>; 2],
    ) -> Result<Encoding, Failure> {
        let lost = || Failure::new("rotate", format_args!("segment {segment} has no messages"));
        let last = messages::last(sql, segment)?.ok_or_else(lost)?;
        let end = Offset { segment, position: last.next_position };
        let (scan, writer) = match Ahead::take_whole(known, end) {
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
