//! What a read has to fetch from elsewhere, as far as that is known beforehand.

use std::ops::Range;
use std::rc::Rc;

use super::fetch::{Bound, Fetch, Part, PendingRead, Segment};
use super::shapes::Shapes;
use crate::protocol::content_type::Format;
use crate::protocol::fork::{Inherit, Owner};
use crate::protocol::offset::Offset;
use crate::storage::segments;
use crate::storage::{Failure, Sql};
use crate::stream::Stream;

/// How many parts one read fetches. Segments of the default size fill a chunk with one or two.
pub const READ_PARTS_MAX: usize = 32;

/// How large a JSON message is taken to be that nobody has seen.
const MESSAGE_BYTES: usize = 128;

/// How many owners' hot logs one read takes JSON from: nobody knows beforehand how much that is.
pub const HOT_OWNERS_MAX: usize = 8;

/// The ends of how many segments are fetched at a time: a reader goes on with the next ones.
pub const ENDINGS_AT_ONCE: usize = 4;

/// What is being read.
#[derive(Clone, Copy)]
pub(super) struct ReadPlace<'p> {
    pub(super) stream: &'p Stream,
    pub(super) path: &'p str,
    pub(super) start: Offset,
}

/// A plan while it grows.
struct Plan<'p> {
    place: ReadPlace<'p>,
    max_bytes: usize,
    events: bool,
    fetches: Vec<Fetch>,
    parts: Vec<Part>,
    from: Offset,
    bytes: usize,
}

/// Plans a read that begins before the stream's own hot log. `learnt` are shapes that were fetched for it.
pub(super) fn plan(
    sql: &dyn Sql,
    place: ReadPlace<'_>,
    of_late: &mut Shapes,
    learnt: Shapes,
    bound: Bound,
) -> Result<PendingRead, Failure> {
    let Bound { max_bytes, events, .. } = bound;
    let (fetches, parts) = (Vec::new(), Vec::new());
    let mut plan = Plan { place, max_bytes, events, fetches, parts, from: place.start, bytes: 0 };
    while plan.has_room() {
        // Inherited parts come before the stream's own, so the order of the parts is the order of the offsets.
        let goes_on = match place.stream.inherited().and_then(|fork| fork.owner_at(plan.from)) {
            Some(owner) => plan.inherited(owner, of_late, &learnt),
            None if plan.from.segment < place.stream.hot_from => plan.own(sql, of_late)?,
            None => false,
        };
        if !goes_on {
            break;
        }
    }
    Ok(PendingRead {
        fetches: plan.fetches,
        parts: plan.parts,
        path: place.path.to_owned(),
        incarnation: place.stream.incarnation,
        start: place.start,
        hot_from: place.stream.hot_from,
        tail: place.stream.tail,
        bound,
        learnt,
    })
}

impl Plan<'_> {
    fn has_room(&self) -> bool {
        self.bytes < self.max_bytes && self.fetches.len() < READ_PARTS_MAX
    }

    /// The rest of one of the stream's own segments.
    fn own(&mut self, sql: &dyn Sql, of_late: &mut Shapes) -> Result<bool, Failure> {
        let ReadPlace { stream, path, .. } = self.place;
        let segment = self.from.segment;
        let key = segments::key(path, stream.incarnation, segment);
        let shape = match of_late.find(&key) {
            Some(shape) => Rc::clone(shape),
            None => {
                let shape = Rc::new(segments::shape(sql, segment)?);
                of_late.keep(&key, &shape);
                shape
            }
        };
        let until = shape.end_position;
        // A closed stream's last segment has no next.
        let after =
            if segment == stream.tail.segment { stream.tail } else { Offset::segment_start(segment + 1) };
        self.segment(key, Segment { from: self.from, shift: 0, until, after, shape });
        Ok(true)
    }

    /// What one owner has, in the bucket or in its hot log.
    fn inherited(&mut self, owner: &Owner, of_late: &Shapes, learnt: &Shapes) -> bool {
        let from = self.from.shifted_back(owner.shift);
        let until = owner.until.shifted_back(owner.shift);
        // `hot_from` is what the fork last learnt, and may be too low by now: the owner then answers that the segment has rotated,
        // and the read is planned again.
        if from.segment >= owner.hot_from {
            let max_bytes = self.max_bytes - self.bytes;
            // One message may be as large as it is, but not one of each owner.
            let any_size = self.fetches.is_empty();
            let (incarnation, events) = (owner.incarnation, self.events);
            let ask = Inherit { incarnation, from, until, max_bytes, any_size, events };
            self.fetches.push(Fetch::Inherit { path: owner.path.clone(), ask });
            self.parts.push(Part::Hot { from: self.from, shift: owner.shift, until: owner.until });
            self.bytes += self.about(from, until).min(max_bytes);
            self.from = owner.until;
            return true;
        }
        let key_of = |segment| segments::key(&owner.path, owner.incarnation, segment);
        let key = key_of(from.segment);
        let Some(shape) = learnt.find(&key).or_else(|| of_late.find(&key)) else {
            // A fork has no rows for its owners' segments: the index at the end of each object is fetched first, and the read is
            // planned again with it. An offset at position 0 needs nothing of its segment.
            let end = until.segment + u64::from(until.position > 0);
            self.endings(from.segment..owner.hot_from.min(end), key_of);
            return false;
        };
        let is_last = from.segment == until.segment;
        let last = if is_last { shape.end_position.min(until.position) } else { shape.end_position };
        let next = Offset::segment_start(from.segment + 1).shifted(owner.shift);
        let after = next.min(owner.until);
        let shape = Rc::clone(shape);
        self.segment(key, Segment { from: self.from, shift: owner.shift, until: last, after, shape });
        true
    }

    /// How much there may be between two offsets of a hot log: what is behind it is not fetched in vain, or if so, then
    /// because it is little.
    fn about(&self, from: Offset, until: Offset) -> usize {
        // Nobody but the owner knows how large its segments are: so plan nothing behind them.
        if from.segment < until.segment {
            return usize::MAX;
        }
        let span = usize::try_from(until.position - from.position).unwrap_or(usize::MAX);
        match self.place.stream.content_type.format() {
            Format::Json => span.saturating_mul(MESSAGE_BYTES).max(self.max_bytes / HOT_OWNERS_MAX),
            Format::Text | Format::Binary => span,
        }
    }

    /// The ends of the next segments. Where there is half a chunk already, it does without them, and the next has them.
    fn endings(&mut self, segments_found: Range<u64>, key_of: impl Fn(u64) -> String) {
        // One more round trip to the bucket, for a full chunk, costs less than a small chunk and another request. The parts are
        // planned again then, and none is fetched twice.
        if self.bytes < self.max_bytes / 2 {
            self.fetches.clear();
            self.parts.clear();
        }
        let endings = segments_found.take(ENDINGS_AT_ONCE);
        self.fetches.extend(endings.map(|segment| Fetch::Ending { key: key_of(segment) }));
    }

    fn segment(&mut self, key: String, segment: Segment) {
        let format = self.place.stream.content_type.format();
        let wanted = self.max_bytes - self.bytes;
        let range = segment.shape.index.range(format, segment.from.position, wanted);
        self.bytes += (range.end - range.start) as usize;
        self.from = segment.after;
        self.fetches.push(Fetch::Object { key, range });
        self.parts.push(Part::Segment(segment));
    }
}
