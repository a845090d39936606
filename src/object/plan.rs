//! Plans what a read must fetch from elsewhere, as far as that is known in advance.

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

/// The most parts of one read. With segments of the default size, one or two parts fill a chunk.
pub const READ_PARTS_MAX: usize = 32;

/// The assumed size of a JSON message, in bytes.
const MESSAGE_BYTES: usize = 128;

/// The most owners whose hot logs one read of JSON fetches. The size of their data is unknown in advance.
pub const HOT_OWNERS_MAX: usize = 8;

/// How many segment ends are fetched at once, so that the next reads already have them.
pub const ENDINGS_AT_ONCE: usize = 4;

/// The stream that is read, and where.
#[derive(Clone, Copy)]
pub(super) struct ReadPlace<'p> {
    pub(super) stream: &'p Stream,
    pub(super) path: &'p str,
    pub(super) start: Offset,
}

/// A plan under construction.
struct Plan<'p> {
    place: ReadPlace<'p>,
    max_bytes: usize,
    events: bool,
    fetches: Vec<Fetch>,
    parts: Vec<Part>,
    from: Offset,
    bytes: usize,
}

/// Plans a read that begins before the stream's own hot log. `learnt` are shapes that were fetched for this
/// read.
pub(super) fn plan(
    sql: &dyn Sql,
    place: ReadPlace<'_>,
    recent: &mut Shapes,
    learnt: Shapes,
    bound: Bound,
) -> Result<PendingRead, Failure> {
    let Bound { max_bytes, events, .. } = bound;
    let (fetches, parts) = (Vec::new(), Vec::new());
    let mut plan = Plan { place, max_bytes, events, fetches, parts, from: place.start, bytes: 0 };
    while plan.has_room() {
        // Inherited parts precede the stream's own, so the parts are in the order of their offsets.
        let goes_on = match place.stream.inherited().and_then(|fork| fork.owner_at(plan.from)) {
            Some(owner) => plan.inherited(owner, recent, &learnt),
            None if plan.from.segment < place.stream.hot_from => plan.own(sql, recent)?,
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
        search: None,
    })
}

impl Plan<'_> {
    fn has_room(&self) -> bool {
        self.bytes < self.max_bytes && self.fetches.len() < READ_PARTS_MAX
    }

    /// Adds the rest of one of the stream's own segments.
    fn own(&mut self, sql: &dyn Sql, recent: &mut Shapes) -> Result<bool, Failure> {
        let ReadPlace { stream, path, .. } = self.place;
        let segment = self.from.segment;
        let key = segments::key(path, stream.incarnation, segment);
        let shape = match recent.find(&key) {
            Some(shape) => Rc::clone(shape),
            None => {
                let shape = Rc::new(segments::shape(sql, segment)?);
                recent.keep(&key, &shape);
                shape
            }
        };
        let until = shape.end_position;
        // The last segment of a closed stream has no successor.
        let after =
            if segment == stream.tail.segment { stream.tail } else { Offset::segment_start(segment + 1) };
        self.segment(key, Segment { from: self.from, shift: 0, until, after, shape });
        Ok(true)
    }

    /// Adds an owner's data from the bucket or from its hot log.
    fn inherited(&mut self, owner: &Owner, recent: &Shapes, learnt: &Shapes) -> bool {
        let from = self.from.shifted_back(owner.shift);
        let until = owner.until.shifted_back(owner.shift);
        // `hot_from` is what the fork last learned, and may be too low by now. The owner then answers that
        // the segment was rotated, and the read is planned again.
        if from.segment >= owner.hot_from {
            let max_bytes = self.max_bytes - self.bytes;
            // One message may exceed the limit, but not one per owner.
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
        let Some(shape) = learnt.find(&key).or_else(|| recent.find(&key)) else {
            // A fork has no rows for its owners' segments. So the index at the end of each object is fetched
            // first, and the read is planned again with it. An offset at position 0 needs nothing from its
            // segment.
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

    /// About how many bytes are between two offsets of a hot log. Too low an estimate would fetch the parts
    /// after it for nothing.
    fn about(&self, from: Offset, until: Offset) -> usize {
        // Only the owner knows the size of its segments, so the plan ends here.
        if from.segment < until.segment {
            return usize::MAX;
        }
        let span = usize::try_from(until.position - from.position).unwrap_or(usize::MAX);
        match self.place.stream.content_type.format() {
            Format::Json => span.saturating_mul(MESSAGE_BYTES).max(self.max_bytes / HOT_OWNERS_MAX),
            Format::Text | Format::Binary => span,
        }
    }

    /// Fetches the ends of the next segments. If half a chunk is already planned, the plan ends instead, and
    /// the next read fetches them.
    fn endings(&mut self, segments_found: Range<u64>, key_of: impl Fn(u64) -> String) {
        // One more round trip to the bucket for a full chunk costs less than a small chunk and another
        // request. The parts are planned again after that, so none is fetched twice.
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
