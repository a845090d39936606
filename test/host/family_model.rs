//! A naive family of streams, written from PROTOCOL.md and not from `src`: a fork copies what it inherits, byte by byte. The
//! simulation of forks holds the server against it.

use std::collections::{BTreeMap, BTreeSet};

use durable_streams::protocol::Millis;
use durable_streams::protocol::lifetime::Lifetime;
use durable_streams::protocol::offset::Offset;
use serde_json::value::RawValue;

use crate::model::Kind;

/// The URLs.
pub(crate) const PATHS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What a stream holds: messages, or bytes, each by itself.
pub(crate) type Units = Vec<Vec<u8>>;

/// A place in a life of a stream: which life, and after how many units.
pub(crate) type Place = (usize, usize);

/// What a body holds, if it is one.
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

/// Of which stream it is to be a fork, and where that leaves it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) source: usize,
    pub(crate) anchor: Option<(Offset, Place)>,
    pub(crate) sub_offset: u64,
}

/// What a source has to give.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// Which stream, and which of its lives.
    source: (usize, usize),
    anchor: Offset,
    kind: Kind,
    lifetime: Lifetime,
    units: Units,
    begins: BTreeSet<usize>,
    /// Where segments begin.
    segments: BTreeSet<usize>,
    earliest: usize,
}

/// A stream that is to be.
#[derive(Clone, Debug)]
pub(crate) struct Born {
    put: Put,
    granted: Option<Granted>,
    content: Units,
}

impl Put {
    /// What comes of it; `None` where its body is none.
    pub(crate) fn born(&self, granted: Option<&Granted>) -> Option<Born> {
        let kind = self.kind.or(granted.map(|granted| granted.kind)).expect("one of both says it");
        Some(Born { put: self.clone(), granted: granted.cloned(), content: units(kind, &self.body)? })
    }
}

/// Whether a stream is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    Live,
    /// Only for its forks.
    Gone,
    Absent,
}

/// One life of a stream.
#[derive(Debug)]
pub(crate) struct Life {
    put: Put,
    granted: Option<Granted>,
    kind: Kind,
    lifetime: Lifetime,
    units: Units,
    /// Where appends begin.
    begins: BTreeSet<usize>,
    inherited: usize,
    closed: bool,
    presence: Presence,
    /// The place of what is the first now.
    earliest: usize,
    /// Before this it must be there, unless it is deleted.
    earliest_end: Millis,
    /// From this on it must not.
    latest_end: Millis,
    tail: Offset,
    first_segment: u64,
    /// Where its segments begin.
    segments: BTreeMap<u64, usize>,
}

impl Life {
    fn segment_begins(&self) -> BTreeSet<usize> {
        let inherited = self.granted.iter().flat_map(|granted| granted.segments.clone());
        inherited.chain(self.segments.values().copied()).collect()
    }

    /// Whether a place is one byte inside of an append, as far as the stream has it.
    fn is_one_inside(&self, at: usize) -> bool {
        let begins = |at| self.begins.contains(&at);
        self.kind != Kind::Json && at > 0 && at < self.units.len() && begins(at - 1) && !begins(at)
    }
}

/// All streams with all their lives.
pub(crate) struct Model {
    streams: Vec<Vec<Life>>,
    /// Every offset that was given, and where that is.
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
        self.streams[at].last().expect("it is there")
    }

    fn current_mut(&mut self, at: usize) -> &mut Life {
        self.streams[at].last_mut().expect("it is there")
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

    // What begins and ends.

    /// What a source answers whoever wants to fork it now.
    pub(crate) fn refer(&self, put: &Put) -> Result<Granted, u16> {
        let origin = put.origin.as_ref().expect("it is to be a fork");
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
            assert!(now >= before.earliest_end, "a second one was created");
            before.presence = Presence::Absent;
        }
        assert_eq!(self.presence(at), Presence::Absent, "a second one was created");
        let mut units = granted.as_ref().map_or_else(Vec::new, |granted| granted.units.clone());
        let inherited = units.len();
        let mut begins = granted.as_ref().map_or_else(BTreeSet::new, |granted| granted.begins.clone());
        begins.extend((!content.is_empty()).then_some(inherited));
        units.extend(content);
        let own = put.lifetime != Lifetime::Unlimited;
        let life = Life {
            kind: put.kind.or(granted.as_ref().map(|granted| granted.kind)).expect("one of both says it"),
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

    /// Which stream was born last.
    pub(crate) fn newborn(&self) -> usize {
        self.newborn
    }

    /// Where it ends, if it is still there.
    pub(crate) fn born_tail(&mut self, at: usize, tail: Option<Offset>) {
        let Some(tail) = tail else { return };
        let places = self.current(at).units.len();
        self.current_mut(at).segments.entry(tail.segment).or_insert(places);
        self.learn_tail(at, tail);
        // A URL has no offset twice, in none of its lives.
        let before = self.streams[at].len().checked_sub(2).map(|before| self.streams[at][before].tail);
        assert!(before.is_none_or(|before| before < self.current(at).tail));
    }

    /// What storage says of a stream: nothing ends before its time, or while somebody needs it.
    pub(crate) fn see(&mut self, at: usize, (lives, live): (usize, i64), is_deleted: bool, now: Millis) {
        assert_eq!(lives, self.streams[at].len(), "the lives of {}", PATHS[at]);
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
                assert!(is_deleted || now >= life.earliest_end, "{} ended for no reason", PATHS[at]);
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

    /// The first segment that it still has of its own; what it inherited goes with its first.
    pub(crate) fn trim(&mut self, at: usize, first: u64) {
        let life = self.current_mut(at);
        if life.presence == Presence::Live && first != life.first_segment {
            let earliest = life.segments.get(&first).copied().unwrap_or(life.units.len());
            assert!(earliest >= life.earliest, "what was dropped is back");
            life.earliest = earliest;
        }
    }

    /// The status of a PUT where a stream is.
    pub(crate) fn put_again(&mut self, at: usize, put: &Put, now: Millis) -> u16 {
        // Whatever it says, it has been asked for.
        self.touch(at, now);
        self.is_as(at, put)
    }

    /// 200 where the stream is as it is asked for, else 409.
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

    /// A read or a write has slid the TTL.
    pub(crate) fn touch(&mut self, at: usize, now: Millis) {
        let Some(life) = self.streams[at].last_mut().filter(|life| life.presence == Presence::Live) else {
            return;
        };
        assert!(life.latest_end == 0 || now < life.latest_end, "{} outlived its time", PATHS[at]);
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

    /// Something is done with it that may slide its TTL, if it is still there.
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
        assert!(!self.is_closed(at) || units.is_empty(), "it was closed");
        self.touch(at, now);
        self.grow(at, units, tail);
        self.current_mut(at).closed |= closes;
    }

    /// A write that failed is stored whole or not at all.
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

    /// An offset means one place, for ever, and order of offsets is order of places over all lives. In what a fork has
    /// inherited it is the source's, where no other stream was at its URL before.
    pub(crate) fn learn(&mut self, at: usize, offset: Offset, place: usize) {
        let is_one_inside = self.current(at).is_one_inside(place);
        assert!(!is_one_inside, "{offset} of {} is one byte inside of an append", PATHS[at]);
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

    /// What the offset one past that of a place means, while nothing is written; a place that only a fork's offset has means
    /// what it means in this stream. `None` where a segment ends there, whose end is the next one's beginning.
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

    /// Where a read begins; `None` if that is not there. `Some(None)` is the start, and `None` the tail.
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

    /// Holds bytes against a stream, from a place on; the place after them.
    pub(crate) fn check(&self, at: usize, place: usize, data: &[u8]) -> usize {
        let life = self.current(at);
        let shown = units(life.kind, data).expect("it is what the stream holds");
        let next = place + shown.len();
        let expected = life.units.get(place..next);
        assert_eq!(expected, Some(&shown[..]), "{place}..{next} of {}", PATHS[at]);
        next
    }
}
