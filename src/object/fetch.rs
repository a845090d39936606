//! Reads of what is not here: bytes of the bucket, and what a fork has inherited and its owner still has in its hot log. What
//! to fetch is planned (`plan.rs`), fetched by whoever can wait, and put together here. Where that shows that other bytes are
//! needed, the read is planned anew with what was learnt.

use std::ops::Range;
use std::rc::Rc;

use super::ports::Settings;
use super::said::Said;
use super::shapes::Shapes;
use crate::protocol::Millis;
use crate::protocol::call::Answered;
use crate::protocol::command::ReadMode;
use crate::protocol::content_type::Format;
use crate::protocol::fork::{Inherit, InheritedEvents};
use crate::protocol::names::header;
use crate::protocol::offset::Offset;
use crate::protocol::reply::Reply;
use crate::protocol::sse::Mark;
use crate::storage::chunk::{Chunk, join};
use crate::storage::messages;
use crate::storage::segment_file::{ENDING_BYTES, parse_ending};
use crate::storage::segments::Shape;
use crate::storage::{Failure, Sql};
use crate::stream::Stream;

/// A read that needs something from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingRead {
    /// What to fetch, in order.
    pub fetches: Vec<Fetch>,
    pub(super) parts: Vec<Part>,
    pub(super) path: String,
    pub(super) incarnation: u64,
    pub(super) start: Offset,
    pub(super) hot_from: u64,
    pub(super) tail: Offset,
    pub(super) bound: Bound,
    /// The shapes of segments that were fetched for it.
    pub(super) learnt: Shapes,
}

/// How much a read gives, about; other reads meanwhile may be given more or less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bound {
    pub(super) max_bytes: usize,
    /// Whether it becomes events.
    pub(super) events: bool,
    /// Whether it is so low that all events fit: no lower one is tried then.
    pub(super) is_cut: bool,
}

impl Bound {
    pub(super) fn of_chunk(max_bytes: usize, mode: ReadMode) -> Bound {
        Bound { max_bytes, events: mode == ReadMode::Sse, is_cut: false }
    }

    pub(super) fn of_events(max_bytes: usize) -> Bound {
        Bound { max_bytes, events: true, is_cut: true }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetch {
    /// Bytes of an object of the bucket.
    Object {
        key: String,
        /// Which of its bytes.
        range: Range<u64>,
    },
    /// The end of an object of the bucket.
    Ending { key: String },
    /// What another stream still has in its hot log.
    Inherit { path: String, ask: Inherit },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// The object is not there.
    Missing,
    Bytes(Vec<u8>),
    /// Bytes of its end, and how many it has.
    Ending(Vec<u8>, u64),
    /// Of a hot log.
    Chunk(Chunk),
    /// The same, but the bytes go to the reader without coming here, as [`PendingRead::passes_on`] allows; where to read on, as their
    /// owner counts.
    Passed(Offset),
    /// It has gone to the bucket: the first segment that has not.
    Rotated(u64),
    /// Nobody could be asked. Whether that matters depends on what became of the stream meanwhile.
    Failed(Failure),
    /// Its owner has no room to send it.
    Busy,
}

impl Fetched {
    /// What an owner has answered.
    pub fn of(Said { answered, bytes }: Said) -> Result<Fetched, Failure> {
        match answered {
            Answered::Inherited(next) => Ok(Fetched::Chunk(Chunk { body: bytes, next, marks: Vec::new() })),
            Answered::InheritedEvents(InheritedEvents { next, begins }) => {
                Ok(Fetched::Chunk(Chunk { body: bytes, next, marks: begins }))
            }
            Answered::Rotated(hot_from) => Ok(Fetched::Rotated(hot_from)),
            Answered::Referenced(_)
            | Answered::Released
            | Answered::Walked(_)
            | Answered::Recorded
            | Answered::Listed(_)
            | Answered::Described(_)
            | Answered::Orphans(_)
            | Answered::Unknown => {
                Err(Failure::new("read inherited part", "its owner answered something else"))
            }
        }
    }
}

/// What is read of what was fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Messages of a segment.
    Segment(Segment),
    /// Messages of an owner's hot log.
    Hot { from: Offset, shift: u64, until: Offset },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    /// As the reader counts.
    pub(super) from: Offset,
    /// How many segments the reader counts on from where its owner does.
    pub(super) shift: u64,
    /// The position until which it is read.
    pub(super) until: u64,
    /// Where to read on then.
    pub(super) after: Offset,
    pub(super) shape: Rc<Shape>,
}

/// What came of a fetch.
pub(super) enum Resumed {
    Chunk(Chunk),
    /// What is needed for knowing which.
    Learnt(Shapes),
    /// An owner's segments before this one have gone to the bucket: of which stream.
    Rotated(String, u64),
}

impl PendingRead {
    /// How many bytes come, about.
    pub fn bytes(&self) -> u64 {
        let bytes = |fetch: &Fetch| match fetch {
            Fetch::Object { range, .. } => range.end - range.start,
            Fetch::Ending { .. } => ENDING_BYTES,
            // Each may give all of it, but together they give one chunk.
            Fetch::Inherit { .. } => 0,
        };
        let inherits = self.fetches.iter().any(|fetch| matches!(fetch, Fetch::Inherit { .. }));
        let inherited = if inherits { self.bound.max_bytes as u64 } else { 0 };
        self.fetches.iter().map(bytes).sum::<u64>() + inherited
    }

    /// Whether what an owner gave up to there, as it counts, is all of the answer: then nobody has to look at it.
    pub fn passes_on(&self, next: Offset, mode: ReadMode) -> bool {
        let [Part::Hot { shift, until, .. }] = &self.parts[..] else { return false };
        let next = next.shifted(*shift);
        mode != ReadMode::Sse && (next < *until || next == self.tail)
    }

    /// Whether those bytes are an answer's: a read that begins elsewhere by now has others.
    pub fn has_bytes_of(&self, next: Offset, answer: &Reply) -> bool {
        let [Part::Hot { shift, .. }] = &self.parts[..] else { return false };
        let next = next.shifted(*shift).to_string();
        answer.has_bytes() && answer.header(header::STREAM_NEXT_OFFSET) == Some(&next)
    }

    /// When the last message of the segment was written that the read begins in, if it is the stream's own.
    pub(super) fn oldest_written_at(&self) -> Option<Millis> {
        match self.parts.first() {
            Some(Part::Segment(segment)) => segment.shape.written_at,
            Some(Part::Hot { .. }) | None => None,
        }
    }

    /// Whether what was to come from the hot log is in the bucket by now. Ending there would be right, but whoever reads
    /// what there is with one request would miss it.
    pub(super) fn is_overtaken(&self, chunk: &Chunk, stream: &Stream, settings: Settings) -> bool {
        (self.hot_from..stream.hot_from).contains(&chunk.next.segment)
            && chunk.next < stream.tail
            && chunk.body.len() < settings.chunk_max_bytes
    }

    /// Takes what was fetched apart, and reads on in the hot log if there is room.
    pub(super) fn resume(
        &self,
        sql: &dyn Sql,
        stream: &Stream,
        fetched: &[Fetched],
        of_late: &mut Shapes,
        settings: Settings,
    ) -> Result<Resumed, Failure> {
        for fetched in fetched {
            if let Fetched::Failed(failure) = fetched {
                return Err(failure.clone());
            }
        }
        let mut learnt = self.learnt.clone();
        for (fetch, fetched) in self.fetches.iter().zip(fetched) {
            let Fetch::Ending { key } = fetch else { continue };
            let shape = Rc::new(shape_of(fetched).map_err(|failure| named(key, &failure))?);
            of_late.keep(key, &shape);
            learnt.add(key, shape);
        }
        // Only indexes were fetched: the caller plans the read again with them.
        if self.parts.is_empty() {
            return Ok(Resumed::Learnt(learnt));
        }
        for (fetch, fetched) in self.fetches.iter().zip(fetched) {
            if let (Fetch::Inherit { path, ask }, Fetched::Rotated(hot_from)) = (fetch, fetched) {
                // An answer that teaches nothing would have the read planned the same way again, without an end.
                if *hot_from <= ask.from.segment {
                    return Err(Failure::new(
                        "read inherited part",
                        format_args!("{path} has not rotated it"),
                    ));
                }
                return Ok(Resumed::Rotated(path.clone(), *hot_from));
            }
        }
        self.chunk(sql, stream, fetched, settings).map(Resumed::Chunk)
    }

    fn chunk(
        &self,
        sql: &dyn Sql,
        stream: &Stream,
        fetched: &[Fetched],
        settings: Settings,
    ) -> Result<Chunk, Failure> {
        let format = stream.content_type.format();
        let room = |chunk: &Chunk| settings.chunk_max_bytes.saturating_sub(chunk.body.len());
        let mut whole = Chunk::empty(self.start);
        for ((part, fetch), fetched) in self.parts.iter().zip(&self.fetches).zip(fetched) {
            // The part before this one gave less than was planned: what follows would leave a gap.
            if part.from() != whole.next || room(&whole) == 0 {
                return Ok(whole);
            }
            // The bytes never come here. It is the only part (`passes_on`), so the chunk is empty and only says where it ends.
            if let (Part::Hot { shift, .. }, Fetched::Passed(next)) = (part, fetched) {
                return Ok(Chunk { next: next.shifted(*shift), ..whole });
            }
            let chunk = part.chunk(format, fetch, fetched, room(&whole))?;
            if chunk.next == part.from() {
                // Too large for what is left of this answer; alone it would have come.
                let stands_still = whole.next == self.start;
                let less = || Failure::new("read inherited part", "its owner holds less than it was");
                return if stands_still { Err(less()) } else { Ok(whole) };
            }
            if !join(format, &mut whole, chunk, settings.chunk_max_bytes) {
                return Ok(whole);
            }
        }
        // What the stream has in SQLite is read last, and as it is now: it may have grown while the read waited. A segment that has
        // rotated meanwhile is not there any more, so the answer ends before it.
        let is_own = whole.next >= stream.own_start() && whole.next.segment >= stream.hot_from;
        if is_own && whole.next < stream.tail && room(&whole) > 0 {
            let chunk = messages::read(sql, format, whole.next, stream.tail, room(&whole))?;
            let _is_all = join(format, &mut whole, chunk, settings.chunk_max_bytes);
        }
        Ok(whole)
    }
}

impl Part {
    fn from(&self) -> Offset {
        match self {
            Part::Segment(segment) => segment.from,
            Part::Hot { from, .. } => *from,
        }
    }

    fn chunk(
        &self,
        format: Format,
        fetch: &Fetch,
        fetched: &Fetched,
        max_bytes: usize,
    ) -> Result<Chunk, Failure> {
        match (self, fetch, fetched) {
            (Part::Segment(segment), Fetch::Object { key, range }, fetched) => {
                segment.chunk(format, range, fetched, max_bytes).map_err(|failure| named(key, &failure))
            }
            (Part::Hot { shift, .. }, Fetch::Inherit { .. }, Fetched::Chunk(Chunk { body, next, marks })) => {
                let shifted = |mark: &Mark| Mark { offset: mark.offset.shifted(*shift), ..*mark };
                let marks = marks.iter().map(shifted).collect();
                Ok(Chunk { body: body.clone(), next: next.shifted(*shift), marks })
            }
            (Part::Segment(_) | Part::Hot { .. }, _, _) => {
                Err(Failure::new("use fetched bytes", format_args!("{fetched:?} came for {fetch:?}")))
            }
        }
    }
}

impl Segment {
    fn chunk(
        &self,
        format: Format,
        range: &Range<u64>,
        fetched: &Fetched,
        max_bytes: usize,
    ) -> Result<Chunk, Failure> {
        if self.from.position >= self.until {
            return Ok(Chunk::empty(self.after));
        }
        let Fetched::Bytes(fetched) = fetched else {
            return Err(Failure::new("read segment", "it is not in the bucket"));
        };
        if fetched.len() as u64 != range.end - range.start {
            return Err(Failure::new("read segment", "it is cut off"));
        }
        let index = &self.shape.index;
        let mut chunk = index.read(format, self.from, self.until, range.start, fetched, max_bytes)?;
        if chunk.next == self.from {
            return Err(Failure::new("read segment", "it holds less than its row says"));
        }
        if chunk.next.position >= self.until {
            chunk.next = self.after;
        }
        Ok(chunk)
    }
}

/// What the end of an object says of it.
fn shape_of(fetched: &Fetched) -> Result<Shape, Failure> {
    let Fetched::Ending(ending, object_bytes) = fetched else {
        return Err(Failure::new("read segment", "it is not in the bucket"));
    };
    let (index, end_position) = parse_ending(ending, *object_bytes)?;
    Ok(Shape { end_position, index, written_at: None })
}

fn named(key: &str, failure: &Failure) -> Failure {
    Failure::new(failure.operation, format_args!("{key}: {}", failure.cause))
}
