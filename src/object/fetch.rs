//! Reads data that is not in this object: segments in the bucket, and inherited data in the hot log of its
//! owner. A read is planned (`plan.rs`), its bytes are fetched asynchronously, and this module joins them. If
//! they show that other bytes are needed, the read is planned again with what was learned.

use std::ops::Range;
use std::rc::Rc;

use super::ports::Settings;
use super::said::Said;
use super::shapes::Shapes;
use crate::protocol::Millis;
use crate::protocol::call::Answered;
use crate::protocol::command::ReadMode;
use crate::protocol::content_type::Format;
use crate::protocol::fork::{Inherit, InheritedEvents, Seek, Sought};
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
use crate::stream::seek::Search;

/// A read that needs bytes from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingRead {
    /// The fetches, in order.
    pub fetches: Vec<Fetch>,
    pub(super) parts: Vec<Part>,
    pub(super) path: String,
    pub(super) incarnation: u64,
    pub(super) start: Offset,
    pub(super) hot_from: u64,
    pub(super) tail: Offset,
    pub(super) bound: Bound,
    /// The shapes of segments that were fetched for this read.
    pub(super) learnt: Shapes,
    /// Set while the beginning of the read is not known.
    pub(super) search: Option<Search>,
}

/// About how many bytes a read returns. Concurrent reads may have other bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bound {
    pub(super) max_bytes: usize,
    /// Whether the response is SSE.
    pub(super) events: bool,
    /// Whether the bound was lowered so that all events fit. It is lowered only once.
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
    /// A range of an object in the bucket.
    Object { key: String, range: Range<u64> },
    /// The end of an object in the bucket.
    Ending { key: String },
    /// A range of another stream's hot log.
    Inherit { path: String, ask: Inherit },
    /// A place in another stream's messages.
    Seek { path: String, ask: Seek },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// The object is not in the bucket.
    Missing,
    Bytes(Vec<u8>),
    /// The last bytes of an object, and the size of the object.
    Ending(Vec<u8>, u64),
    /// A range of a hot log.
    Chunk(Chunk),
    /// A range of a hot log whose bytes went to the reader directly, as [`PendingRead::passes_on`] allows.
    /// The offset at which to continue, as the owner counts.
    Passed(Offset),
    /// The range is in the bucket by now. The number is the owner's first segment that is not.
    Rotated(u64),
    /// The fetch failed. The read fails only if the stream still needs the bytes.
    Failed(Failure),
    /// The owner's answer to a search.
    Sought(Sought),
    /// The owner has no memory to send the range.
    Busy,
}

impl Fetched {
    /// Converts an owner's answer. Fails if it does not answer the call.
    pub fn of(Said { answered, bytes, .. }: Said) -> Result<Fetched, Failure> {
        match answered {
            Answered::Inherited(next) => Ok(Fetched::Chunk(Chunk { body: bytes, next, marks: Vec::new() })),
            Answered::InheritedEvents(InheritedEvents { next, begins }) => {
                Ok(Fetched::Chunk(Chunk { body: bytes, next, marks: begins }))
            }
            Answered::Rotated(hot_from) => Ok(Fetched::Rotated(hot_from)),
            Answered::Sought(sought) => Ok(Fetched::Sought(sought)),
            Answered::Referenced(_)
            | Answered::Released
            | Answered::Walked(_)
            | Answered::Recorded
            | Answered::Listed(_)
            | Answered::Described(_)
            | Answered::Inspected(_)
            | Answered::Orphans(_)
            | Answered::RecordedFor(_)
            | Answered::Subscription(_)
            | Answered::Noted(_)
            | Answered::Watched(_)
            | Answered::Unwatched
            | Answered::Woken(_)
            | Answered::Enlisted(_)
            | Answered::SigningKey(_)
            | Answered::PublicKeys(_)
            | Answered::Unknown => {
                Err(Failure::new("read inherited part", "its owner's answer does not match the call"))
            }
        }
    }
}

/// The use of one fetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Messages of a segment in the bucket.
    Segment(Segment),
    /// Messages in an owner's hot log.
    Hot { from: Offset, shift: u64, until: Offset },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    /// The first offset, as the reader counts.
    pub(super) from: Offset,
    /// How many segments the reader's offsets are ahead of the owner's.
    pub(super) shift: u64,
    /// The position at which the part ends.
    pub(super) until: u64,
    /// The offset at which to continue after the part.
    pub(super) after: Offset,
    pub(super) shape: Rc<Shape>,
}

/// The result of the fetches.
pub(super) enum Resumed {
    Chunk(Chunk),
    /// Shapes with which the read must be planned again.
    Learnt(Shapes),
    /// The path of an owner that has rotated, and its first segment that is still hot.
    Rotated(String, u64),
}

impl PendingRead {
    /// About how many bytes the fetches return together.
    pub fn bytes(&self) -> u64 {
        let bytes = |fetch: &Fetch| match fetch {
            Fetch::Object { range, .. } => range.end - range.start,
            Fetch::Ending { .. } => ENDING_BYTES,
            // Each may return a whole chunk, but together they return one.
            Fetch::Inherit { .. } | Fetch::Seek { .. } => 0,
        };
        let inherits = self.fetches.iter().any(|fetch| matches!(fetch, Fetch::Inherit { .. }));
        let inherited = if inherits { self.bound.max_bytes as u64 } else { 0 };
        self.fetches.iter().map(bytes).sum::<u64>() + inherited
    }

    /// Whether an owner's bytes up to `next`, as the owner counts, are the whole response. If so, they can go
    /// to the reader directly.
    pub fn passes_on(&self, next: Offset, mode: ReadMode) -> bool {
        let [Part::Hot { shift, until, .. }] = &self.parts[..] else { return false };
        let next = next.shifted(*shift);
        mode != ReadMode::Sse && (next < *until || next == self.tail)
    }

    /// Whether the fetched bytes are the body of `answer`. A read that was started again at another offset
    /// has other bytes.
    pub fn has_bytes_of(&self, next: Offset, answer: &Reply) -> bool {
        let [Part::Hot { shift, .. }] = &self.parts[..] else { return false };
        let next = next.shifted(*shift).to_string();
        answer.has_bytes() && answer.header(header::STREAM_NEXT_OFFSET) == Some(&next)
    }

    /// When the last message of the first segment was written, if the stream owns that segment.
    pub(super) fn oldest_written_at(&self) -> Option<Millis> {
        match self.parts.first() {
            Some(Part::Segment(segment)) => segment.shape.written_at,
            Some(Part::Hot { .. }) | None => None,
        }
    }

    /// Whether the rest of the chunk has moved from the hot log to the bucket. The chunk may end there, but a
    /// client that reads the stream with one request would miss the rest.
    pub(super) fn is_overtaken(&self, chunk: &Chunk, stream: &Stream, settings: Settings) -> bool {
        (self.hot_from..stream.hot_from).contains(&chunk.next.segment)
            && chunk.next < stream.tail
            && chunk.body.len() < settings.chunk_max_bytes
    }

    /// Joins the fetched parts, and continues in the hot log if there is room. Fails if a fetch failed.
    pub(super) fn resume(
        &self,
        sql: &dyn Sql,
        stream: &Stream,
        fetched: &[Fetched],
        recent: &mut Shapes,
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
            recent.keep(key, &shape);
            learnt.add(key, shape);
        }
        // Only indexes were fetched, so the caller plans the read again with them.
        if self.parts.is_empty() {
            return Ok(Resumed::Learnt(learnt));
        }
        for (fetch, fetched) in self.fetches.iter().zip(fetched) {
            if let (Fetch::Inherit { path, ask }, Fetched::Rotated(hot_from)) = (fetch, fetched) {
                // The segment was not rotated, so the same plan would follow again, without end.
                if *hot_from <= ask.from.segment {
                    return Err(Failure::new(
                        "read inherited part",
                        format_args!("{path} has not rotated the segment"),
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
            // The previous part returned less than planned, so this one would leave a gap.
            if part.from() != whole.next || room(&whole) == 0 {
                return Ok(whole);
            }
            // The bytes went to the reader directly. This is the only part (`passes_on`), so the chunk is
            // empty and says only where it ends.
            if let (Part::Hot { shift, .. }, Fetched::Passed(next)) = (part, fetched) {
                return Ok(Chunk { next: next.shifted(*shift), ..whole });
            }
            let chunk = part.chunk(format, fetch, fetched, room(&whole))?;
            if chunk.next == part.from() {
                // The message is too large for the rest of this response. A response of its own would include
                // it.
                let stands_still = whole.next == self.start;
                let less =
                    || Failure::new("read inherited part", "its owner has less data than was inherited");
                return if stands_still { Err(less()) } else { Ok(whole) };
            }
            if !join(format, &mut whole, chunk, settings.chunk_max_bytes) {
                return Ok(whole);
            }
        }
        // The object's own hot log is read last and in its current state, because it may have grown during
        // the fetches. A segment that was rotated meanwhile is no longer there, so the response ends before
        // it.
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
                Err(Failure::new("use fetched bytes", format_args!("{fetched:?} does not answer {fetch:?}")))
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
            return Err(Failure::new("read segment", "it has less data than its row says"));
        }
        if chunk.next.position >= self.until {
            chunk.next = self.after;
        }
        Ok(chunk)
    }
}

/// Decodes the end of an object. Fails if the object is missing or damaged.
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
