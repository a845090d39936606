//! A naive model of streams and their forks, written from PROTOCOL.md and not from `src`: a fork copies the
//! inherited data byte by byte. The simulation of forks compares the server with it.

use std::collections::{BTreeMap, BTreeSet};

use durable_streams::protocol::Millis;
use durable_streams::protocol::lifetime::Lifetime;
use durable_streams::protocol::offset::Offset;
use serde_json::value::RawValue;

use crate::model::Kind;

pub(crate) const PATHS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A stream's content: messages, or single bytes.
pub(crate) type Units = Vec<Vec<u8>>;

/// A place in a stream: its incarnation, and the number of units before it.
pub(crate) type Place = (usize, usize);

/// The content of a body; `None` if the body is invalid.
pub(crate) fn units(kind: Kind, body: &[u8]) -> Option<Units> {
    match kind {
        Kind::Json if body.is_empty() => Some(Vec::new()),
        Kind::Json => {
            let messages: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
            Some(messages.iter().map(|message| message.get().as_bytes().to_vec()).collect())
        }
        Kind::Text | Kind::Binary => Some(body.iter().map(|byte| vec![*byte]).collect()),
    }
}

/// A PUT.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) kind: Option<Kind>,
    pub(crate) lifetime: Lifetime,
    pub(crate) retention: Option<String>,
    pub(crate) closed: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) origin: Option<Origin>,
}

/// The source of a fork, and the place where the fork leaves it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) source: usize,
    pub(crate) anchor: Option<(Offset, Place)>,
    pub(crate) sub_offset: u64,
}

/// The data and settings that a source grants.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// The stream and its incarnation.
    source: (usize, usize),
    anchor: Offset,
    kind: Kind,
    lifetime: Lifetime,
    units: Units,
    begins: BTreeSet<usize>,
    /// The beginnings of segments.
    segments: BTreeSet<usize>,
    earliest: usize,
}

/// A stream to create.
#[derive(Clone, Debug)]
pub(crate) struct Born {
    put: Put,
    granted: Option<Granted>,
    content: Units,
}

impl Put {
    /// The stream that this PUT creates; `None` if its body is invalid.
    pub(crate) fn born(&self, granted: Option<&Granted>) -> Option<Born> {
        let kind =
            self.kind.or(granted.map(|granted| granted.kind)).expect("the PUT or the source has a type");
        Some(Born { put: self.clone(), granted: granted.cloned(), content: units(kind, &self.body)? })
    }
}

/// Whether a stream exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    Live,
    /// Retained for its forks only.
    Gone,
    Absent,
}

/// An incarnation of a stream.
#[derive(Debug)]
pub(crate) struct Life {
    put: Put,
    granted: Option<Granted>,
    kind: Kind,
    lifetime: Lifetime,
    units: Units,
    /// The beginnings of appends.
    begins: BTreeSet<usize>,
    inherited: usize,
    closed: bool,
    presence: Presence,
    /// The first retained place.
    earliest: usize,
    /// The stream must exist before this time, unless it is deleted.
    earliest_end: Millis,
    /// The stream must not exist from this time on.
    latest_end: Millis,
    tail: Offset,
    first_segment: u64,
    /// The beginnings of its own segments.
    segments: BTreeMap<u64, usize>,
}

impl Life {
    fn segment_begins(&self) -> BTreeSet<usize> {
        let inherited = self.granted.iter().flat_map(|granted| granted.segments.clone());
        inherited.chain(self.segments.values().copied()).collect()
    }

    /// Whether a place is one byte inside an append, or inside the part of it that the stream has.
    fn is_one_inside(&self, at: usize) -> bool {
        let begins = |at| self.begins.contains(&at);
        self.kind != Kind::Json && at > 0 && at < self.units.len() && begins(at - 1) && !begins(at)
    }
}

/// All streams with all their incarnations.
pub(crate) struct Model {
    streams: Vec<Vec<Life>>,
    /// Every issued offset, and its place.
    offsets: Vec<BTreeMap<Offset, Place>>,
    newborn: usize,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model {
            streams: PATHS.iter().map(|_| Vec::new()).collect(),
            offsets: PATHS.iter().map(|_| BTreeMap::new()).collect(),
            newborn: 0,
        }
    }

    pub(crate) fn lives(&self, at: usize) -> &[Life] {
        &self.streams[at]
    }

    pub(crate) fn presence(&self, at: usize) -> Presence {
        self.streams[at].last().map_or(Presence::Absent, |life| life.presence)
    }

    pub(crate) fn offsets(&self, at: usize) -> &BTreeMap<Offset, Place> {
        &self.offsets[at]
    }

    fn current(&self, at: usize) -> &Life {
        self.streams[at].last().expect("the stream exists")
    }

    fn current_mut(&mut self, at: usize) -> &mut Life {
        self.streams[at].last_mut().expect("the stream exists")
    }

    pub(crate) fn kind(&self, at: usize) -> Option<Kind> {
        self.streams[at].last().map(|life| life.kind)
    }

    pub(crate) fn len(&self, at: usize) -> usize {
        self.current(at).units.len()
    }

    pub(crate) fn earliest(&self, at: usize) -> usize {
        self.current(at).earliest
    }

    pub(crate) fn is_closed(&self, at: usize) -> bool {
        self.current(at).closed
    }

    // Creation and end.

    /// The source's answer to a PUT that would fork it now.
    pub(crate) fn refer(&self, put: &Put) -> Result<Granted, u16> {
        let origin = put.origin.as_ref().expect("the PUT requests a fork");
        match self.presence(origin.source) {
            Presence::Absent => return Err(404),
            Presence::Gone => return Err(409),
            Presence::Live => {}
        }
        let source = self.current(origin.source);
        if put.kind.is_some_and(|kind| kind != source.kind) {
            return Err(409);
        }
        let life = self.streams[origin.source].len() - 1;
        let (anchor, at) = match origin.anchor {
            None => (source.tail, source.units.len()),
            Some((_, (of, _))) if of != life => return Err(400),
            Some((_, (_, at))) if at < source.earliest => return Err(400),
            Some((anchor, (_, at))) => (anchor, at),
        };
        let until = at + origin.sub_offset as usize;
        let units = source.units.get(..until).ok_or(400_u16)?.to_vec();
        let (kind, lifetime, earliest) = (source.kind, source.lifetime, source.earliest);
        let begins = source.begins.range(..until).copied().collect();
        let segments = source.segment_begins();
        let source = (origin.source, life);
        Ok(Granted { source, anchor, kind, lifetime, units, begins, segments, earliest })
    }

    pub(crate) fn be_born(&mut self, at: usize, born: Born, first_segment: u64, now: Millis) {
        let Born { put, granted, content } = born;
        if let Some(before) = self.streams[at].last_mut()
            && before.presence == Presence::Live
        {
            assert!(now >= before.earliest_end, "the stream was created twice");
            before.presence = Presence::Absent;
        }
        assert_eq!(self.presence(at), Presence::Absent, "the stream was created twice");
        let mut units = granted.as_ref().map_or_else(Vec::new, |granted| granted.units.clone());
        let inherited = units.len();
        let mut begins = granted.as_ref().map_or_else(BTreeSet::new, |granted| granted.begins.clone());
        begins.extend((!content.is_empty()).then_some(inherited));
        units.extend(content);
        let own = put.lifetime != Lifetime::Unlimited;
        let life = Life {
            kind: put
                .kind
                .or(granted.as_ref().map(|granted| granted.kind))
                .expect("the PUT or the source has a type"),
            lifetime: granted.as_ref().filter(|_| !own).map_or(put.lifetime, |granted| granted.lifetime),
            units,
            begins,
            inherited,
            closed: put.closed,
            presence: Presence::Live,
            earliest: granted.as_ref().map_or(0, |granted| granted.earliest),
            earliest_end: 0,
            latest_end: 0,
            tail: Offset::segment_start(first_segment),
            first_segment,
            segments: BTreeMap::from([(first_segment, inherited)]),
            put,
            granted,
        };
        self.streams[at].push(life);
        self.newborn = at;
        self.touch(at, now);
    }

    /// The stream that was created last.
    pub(crate) fn newborn(&self) -> usize {
        self.newborn
    }

    /// Records the tail of a new stream, if it still exists.
    pub(crate) fn born_tail(&mut self, at: usize, tail: Option<Offset>) {
        let Some(tail) = tail else { return };
        let places = self.current(at).units.len();
        self.current_mut(at).segments.entry(tail.segment).or_insert(places);
        self.learn_tail(at, tail);
        // No offset recurs in another incarnation of a URL.
        let before = self.streams[at].len().checked_sub(2).map(|before| self.streams[at][before].tail);
        assert!(before.is_none_or(|before| before < self.current(at).tail));
    }

    /// Compares the stored presence of a stream: a stream never ends early, or while a fork needs it.
    pub(crate) fn see(&mut self, at: usize, (lives, live): (usize, i64), is_deleted: bool, now: Millis) {
        assert_eq!(lives, self.streams[at].len(), "the incarnations of {}", PATHS[at]);
        let is_needed = self.is_needed((at, lives - 1));
        let life = self.current_mut(at);
        let presence = match live {
            0 => Presence::Absent,
            1 => Presence::Live,
            _ => Presence::Gone,
        };
        match (life.presence, presence) {
            (before, after) if before == after => {}
            (Presence::Live, _) => {
                assert!(is_deleted || now >= life.earliest_end, "{} ended without a reason", PATHS[at]);
                assert!(presence == Presence::Gone || !is_needed, "{} ended, but has forks", PATHS[at]);
            }
            (Presence::Gone, Presence::Absent) => assert!(!is_needed, "{} ended, but has forks", PATHS[at]),
            (before, after) => panic!("{} went from {before:?} to {after:?}", PATHS[at]),
        }
        life.presence = presence;
    }

    fn is_needed(&self, source: (usize, usize)) -> bool {
        let mut lives = self.streams.iter().flatten().filter(|life| life.presence != Presence::Absent);
        lives.any(|life| life.granted.as_ref().is_some_and(|granted| granted.source == source))
    }

    /// Drops its own segments before `first`; the inherited part is dropped with its own first segment.
    pub(crate) fn trim(&mut self, at: usize, first: u64) {
        let life = self.current_mut(at);
        if life.presence == Presence::Live && first != life.first_segment {
            let earliest = life.segments.get(&first).copied().unwrap_or(life.units.len());
            assert!(earliest >= life.earliest, "dropped data is back");
            life.earliest = earliest;
        }
    }

    /// The status of a PUT at an existing stream.
    pub(crate) fn put_again(&mut self, at: usize, put: &Put, now: Millis) -> u16 {
        // Whatever the status, the request was an access.
        self.touch(at, now);
        self.is_as(at, put)
    }

    /// 200 if the stream has the requested configuration, otherwise 409.
    pub(crate) fn is_as(&self, at: usize, put: &Put) -> u16 {
        let life = self.current(at);
        let is_same_origin = match (&life.put.origin, &put.origin) {
            (None, None) => true,
            (Some(is), Some(asked)) => {
                let anchor = life.granted.as_ref().map(|granted| granted.anchor);
                is.source == asked.source
                    && is.sub_offset == asked.sub_offset
                    && asked.anchor.is_none_or(|(offset, _)| Some(offset) == anchor)
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        let is_same = is_same_origin
            && put.kind.is_none_or(|kind| kind == life.kind)
            && put.lifetime == life.put.lifetime
            || is_same_origin
                && put.kind.is_none_or(|kind| kind == life.kind)
                && life.put.origin.is_some()
                && life.put.lifetime == Lifetime::Unlimited
                && put.lifetime == life.lifetime;
        let is_same = is_same && put.retention == life.put.retention && put.closed == life.closed;
        if is_same { 200 } else { 409 }
    }

    // Time.

    /// A read or a write extended the TTL.
    pub(crate) fn touch(&mut self, at: usize, now: Millis) {
        let Some(life) = self.streams[at].last_mut().filter(|life| life.presence == Presence::Live) else {
            return;
        };
        assert!(life.latest_end == 0 || now < life.latest_end, "{} outlived its TTL", PATHS[at]);
        life.earliest_end = match life.lifetime {
            Lifetime::Unlimited => Millis::MAX,
            Lifetime::Ttl { seconds } => now + seconds * 1000,
            Lifetime::ExpiresAt { at } => at,
        };
        let latest_end = match life.lifetime {
            Lifetime::Ttl { seconds } => now + seconds * 1000 + seconds * 1000 / 16,
            Lifetime::Unlimited | Lifetime::ExpiresAt { .. } => life.earliest_end,
        };
        life.latest_end = life.latest_end.max(latest_end);
    }

    /// A request may extend its TTL, if it still exists.
    pub(crate) fn may_touch(&mut self, at: usize, now: Millis) {
        let Some(life) = self.streams[at].last_mut() else { return };
        if let Lifetime::Ttl { seconds } = life.lifetime
            && now < life.latest_end
        {
            life.latest_end = life.latest_end.max(now + seconds * 1000 + seconds * 1000 / 16);
        }
    }

    // Content.

    pub(crate) fn write(&mut self, at: usize, units: Units, (tail, closes): (Offset, bool), now: Millis) {
        assert_eq!(self.presence(at), Presence::Live);
        assert!(!self.is_closed(at) || units.is_empty(), "the stream is closed");
        self.touch(at, now);
        self.grow(at, units, tail);
        self.current_mut(at).closed |= closes;
    }

    /// A failed write is stored completely or not at all.
    pub(crate) fn write_if_stored(&mut self, at: usize, units: Units, (tail, is_closed): (Offset, bool)) {
        if tail != self.current(at).tail {
            self.grow(at, units, tail);
        }
        self.current_mut(at).closed |= is_closed;
    }

    fn grow(&mut self, at: usize, units: Units, tail: Offset) {
        let life = self.current_mut(at);
        let begins = life.units.len();
        life.begins.extend((!units.is_empty()).then_some(begins));
        life.units.extend(units);
        let places = life.units.len();
        life.segments.entry(tail.segment).or_insert(places);
        self.learn_tail(at, tail);
    }

    pub(crate) fn learn_tail(&mut self, at: usize, tail: Offset) {
        self.learn(at, tail, self.len(at));
        self.current_mut(at).tail = tail;
    }

    /// An offset permanently means one place, and the order of offsets is the order of places over all
    /// incarnations. In the inherited part of a fork it equals the source's offset, if no other stream was at
    /// the fork's URL before.
    pub(crate) fn learn(&mut self, at: usize, offset: Offset, place: usize) {
        let is_one_inside = self.current(at).is_one_inside(place);
        assert!(!is_one_inside, "{offset} of {} is one byte inside an append", PATHS[at]);
        self.learn_of(at, offset, (self.streams[at].len() - 1, place));
    }

    fn learn_of(&mut self, at: usize, offset: Offset, place: Place) {
        let path = PATHS[at];
        let known = self.offsets[at].insert(offset, place);
        assert!(known.is_none_or(|known| known == place), "{offset} of {path} means {place:?} and {known:?}");
        if known.is_some() {
            return;
        }
        let below = self.offsets[at].range(..offset).next_back();
        assert!(
            below.is_none_or(|(_, below)| *below < place),
            "{offset} of {path} for {place:?} after {below:?}"
        );
        let above = self.offsets[at].range(offset..).nth(1);
        assert!(
            above.is_none_or(|(_, above)| *above > place),
            "{offset} of {path} for {place:?} before {above:?}"
        );
        let life = &self.streams[at][place.0];
        if let Some(granted) = life.granted.as_ref().filter(|_| place.0 == 0 && place.1 <= life.inherited) {
            let (source, life) = granted.source;
            self.learn_of(source, offset, (life, place.1));
        }
    }

    /// The meaning of the offset one past that of a place, while nothing is written. A place that only a fork's
    /// offset names means the same in this stream. `None` at the end of a segment, which is the next one's
    /// beginning.
    pub(crate) fn one_past(&self, at: usize, (of, place): Place) -> Option<Place> {
        let life = &self.streams[at][of];
        let is_end = life.segment_begins().contains(&(place + 1));
        let is_known = of + 1 == self.streams[at].len() && place >= life.earliest;
        if life.kind == Kind::Json || is_end || !is_known {
            return None;
        }
        let is_past = place < life.units.len() && !life.is_one_inside(place + 1);
        Some((of, if is_past { place + 1 } else { place }))
    }

    /// The start of a read; `None` if its data is dropped. For `from`, `Some(None)` is the start and `None` the
    /// tail.
    pub(crate) fn place(&self, at: usize, life: usize, from: Option<Option<Place>>) -> Option<usize> {
        let current = self.current(at);
        match from {
            _ if life != self.streams[at].len() => None,
            None => Some(current.units.len()),
            Some(None) => Some(current.earliest),
            Some(Some((of, place))) => {
                let begins = if current.is_one_inside(place) { place - 1 } else { place };
                (of + 1 == life && place >= current.earliest).then_some(begins)
            }
        }
    }

    /// Compares bytes with a stream from a place on; returns the place after them.
    pub(crate) fn check(&self, at: usize, place: usize, data: &[u8]) -> usize {
        let life = self.current(at);
        let shown = units(life.kind, data).expect("a response has the stream's type");
        let next = place + shown.len();
        let expected = life.units.get(place..next);
        assert_eq!(expected, Some(&shown[..]), "{place}..{next} of {}", PATHS[at]);
        next
    }
}
