//! A naive model of one URL, written from PROTOCOL.md and not from `src`: everything is in vectors, nothing is
//! stored, nothing is fast. The simulation compares the server with it.

use std::collections::{BTreeMap, BTreeSet};

use durable_streams::protocol::Millis;

/// The division of content into messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Json,
    Text,
    Binary,
}

impl Kind {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Kind::Json => "application/json",
            Kind::Text => "text/plain",
            Kind::Binary => "image/png",
        }
    }
}

/// A stream's content: messages or bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Messages(Vec<String>),
    Bytes(Vec<u8>),
}

impl Content {
    fn empty(kind: Kind) -> Content {
        match kind {
            Kind::Json => Content::Messages(Vec::new()),
            Kind::Text | Kind::Binary => Content::Bytes(Vec::new()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Content::Messages(messages) => messages.len(),
            Content::Bytes(bytes) => bytes.len(),
        }
    }

    /// The size that counts towards a segment: bytes, or the text of the messages with commas between them.
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Content::Messages(messages) => {
                messages.iter().map(|message| message.len() + 1).sum::<usize>().saturating_sub(1)
            }
            Content::Bytes(bytes) => bytes.len(),
        };
        bytes as u64
    }

    fn extend(&mut self, more: &Content) {
        match (self, more) {
            (Content::Messages(messages), Content::Messages(more)) => messages.extend_from_slice(more),
            (Content::Bytes(bytes), Content::Bytes(more)) => bytes.extend_from_slice(more),
            (Content::Messages(_), Content::Bytes(_)) | (Content::Bytes(_), Content::Messages(_)) => {
                panic!("a stream has one kind of content")
            }
        }
    }
}

/// An incarnation, and the length of its content before this point.
pub(crate) type Place = (usize, usize);

/// A producer's id, epoch and sequence.
pub(crate) type Producer = (String, u64, u64);

/// A retention: a segment is dropped as soon as one of the limits permits it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Keeping {
    pub(crate) segments: Option<usize>,
    pub(crate) millis: Option<Millis>,
    pub(crate) bytes: Option<u64>,
}

/// The thresholds for sealing a segment, by appends or bytes, and for rotating a closed stream's last one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealing {
    pub(crate) appends: u64,
    pub(crate) bytes: u64,
    pub(crate) closed_bytes: u64,
}

/// A sealed segment.
#[derive(Clone, Debug)]
struct Sealed {
    /// The end of the segment.
    end: usize,
    bytes: u64,
    written_at: Millis,
}

/// A PUT.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) kind: Kind,
    pub(crate) ttl: Option<Millis>,
    pub(crate) keeping: Option<Keeping>,
    pub(crate) closed: bool,
    pub(crate) content: Content,
}

/// A POST.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) content_type: &'static str,
    /// The content of the body; `None` for invalid JSON in a JSON stream.
    pub(crate) content: Option<Content>,
    pub(crate) producer: Option<Producer>,
    pub(crate) stream_seq: Option<String>,
    /// The expected tail.
    pub(crate) expected: Option<Place>,
    pub(crate) closes: bool,
}

/// An incarnation of the URL.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) kind: Kind,
    pub(crate) content: Content,
    pub(crate) ttl: Option<Millis>,
    /// The stream must exist before this time.
    earliest_end: Millis,
    /// The stream must not exist from this time on.
    latest_end: Millis,
    /// Whether it is closed, and the producer's request that closed it.
    closed: Option<Option<Producer>>,
    producers: BTreeMap<String, (u64, u64)>,
    stream_seq: Option<String>,
    pub(crate) keeping: Option<Keeping>,
    sealed: Vec<Sealed>,
    /// The appends and bytes in the open segment, and the time of the last append.
    open: (u64, u64, Millis),
    /// The number of sealed segments that are dropped.
    trimmed: usize,
    /// The beginnings of appends; each MiB of an append counts as one.
    begins: BTreeSet<usize>,
}

impl Life {
    /// Whether a place is one byte inside an append.
    pub(crate) fn is_one_inside(&self, at: usize) -> bool {
        let begins = |at| self.begins.contains(&at);
        self.kind != Kind::Json && at > 0 && at < self.content.len() && begins(at - 1) && !begins(at)
    }

    /// The meaning of the offset one past that of a place. `None` for an offset that is never issued: the end
    /// of a segment, as if the next one had not begun.
    pub(crate) fn one_past(&self, at: usize) -> Option<usize> {
        let is_end = self.sealed.iter().any(|sealed| sealed.end == at + 1);
        if self.kind == Kind::Json || is_end {
            return None;
        }
        Some(if at == self.content.len() || self.is_one_inside(at + 1) { at } else { at + 1 })
    }

    /// The first retained place.
    pub(crate) fn earliest(&self) -> usize {
        self.trimmed.checked_sub(1).map_or(0, |last| self.sealed[last].end)
    }

    /// The number of sealed segments.
    pub(crate) fn sealed_count(&self) -> usize {
        self.sealed.len()
    }

    /// Drops the oldest `trimmed` segments, and checks that exactly these must be dropped, given the `arrived`
    /// ones.
    pub(crate) fn trim(&mut self, trimmed: usize, arrived: usize, defaults: Keeping, now: Millis) {
        let Keeping { segments, millis, bytes } = self.keeping.unwrap_or(defaults);
        let mut gone = self.trimmed;
        let arrived = &self.sealed[..arrived];
        while gone < arrived.len() {
            let after: u64 = arrived[gone + 1..].iter().map(|sealed| sealed.bytes).sum();
            let is_kept = segments.is_none_or(|count| arrived.len() - gone <= count)
                && millis.is_none_or(|millis| now < arrived[gone].written_at + millis)
                && bytes.is_none_or(|bytes| after < bytes);
            if is_kept {
                break;
            }
            gone += 1;
        }
        assert_eq!(
            trimmed, gone,
            "dropped segments (left) as retention demands (right), of {arrived:?} at {now}"
        );
        self.trimmed = trimmed;
    }

    fn write(&mut self, content: &Content, sealing: Option<Sealing>, now: Millis) {
        if content.len() == 0 {
            return;
        }
        let rows = (0..content.len()).step_by(1 << 20);
        self.begins.extend(rows.map(|row| self.content.len() + row));
        self.content.extend(content);
        let (appends, bytes, _) = self.open;
        self.open = (appends + 1, bytes + content.bytes(), now);
        let is_full =
            sealing.is_some_and(|sealing| self.open.0 >= sealing.appends || self.open.1 >= sealing.bytes);
        if is_full {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let (_, bytes, written_at) = std::mem::take(&mut self.open);
        self.sealed.push(Sealed { end: self.content.len(), bytes, written_at });
    }

    fn end(&mut self, closer: Option<Producer>, sealing: Option<Sealing>) {
        self.closed = Some(closer);
        if self.open.0 > 0 && sealing.is_some_and(|sealing| self.open.1 >= sealing.closed_bytes) {
            self.seal();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// The latest epoch and sequence of a producer.
    pub(crate) fn producer(&self, id: &str) -> Option<(u64, u64)> {
        self.producers.get(id).copied()
    }

    /// PROTOCOL.md 5.2.1, in its own order; `None` if the request is new.
    fn fence(&self, producer: &Producer) -> Option<u16> {
        let (id, epoch, seq) = producer;
        let Some((known_epoch, last_seq)) = self.producers.get(id) else {
            return (*seq != 0).then_some(409);
        };
        if epoch < known_epoch {
            Some(403)
        } else if epoch > known_epoch {
            (*seq != 0).then_some(400)
        } else if seq <= last_seq {
            Some(204)
        } else {
            (*seq != last_seq + 1).then_some(409)
        }
    }

    fn remember(&mut self, producer: Option<&Producer>) {
        if let Some((id, epoch, seq)) = producer {
            self.producers.insert(id.clone(), (*epoch, *seq));
        }
    }

    /// PROTOCOL.md 5.2: returns the status, and makes the change if there is one.
    fn append(&mut self, post: &Post, (tail, sealing): (Place, Option<Sealing>), now: Millis) -> u16 {
        if let Some(closer) = &self.closed {
            return if closer.is_some() && *closer == post.producer { 204 } else { 409 };
        }
        if post.content_type != self.kind.content_type() {
            return 409;
        }
        if let Some(status) = post.producer.as_ref().and_then(|producer| self.fence(producer)) {
            return status;
        }
        let Some(content) = post.content.as_ref().filter(|content| content.len() > 0) else { return 400 };
        if post.stream_seq.is_some() && self.stream_seq.is_some() && post.stream_seq <= self.stream_seq {
            return 409;
        }
        if post.expected.is_some_and(|expected| expected != tail) {
            return 409;
        }
        self.write(content, sealing, now);
        self.stream_seq = post.stream_seq.clone().or(self.stream_seq.take());
        self.remember(post.producer.as_ref());
        if post.closes {
            self.end(post.producer.clone(), sealing);
        }
        if post.producer.is_some() { 200 } else { 204 }
    }

    /// PROTOCOL.md 5.3, and 5.2.1 for producers.
    fn close(
        &mut self,
        (producer, expected): (Option<&Producer>, Option<Place>),
        (tail, sealing): (Place, Option<Sealing>),
    ) -> u16 {
        match (&self.closed, producer) {
            (Some(_), None) => 204,
            (Some(closer), Some(producer)) => {
                if closer.as_ref() == Some(producer) {
                    204
                } else {
                    409
                }
            }
            (None, _) => {
                if let Some(status) = producer.and_then(|producer| self.fence(producer)) {
                    return status;
                }
                if expected.is_some_and(|expected| expected != tail) {
                    return 409;
                }
                self.remember(producer);
                self.end(producer.cloned(), sealing);
                204
            }
        }
    }
}

/// Whether the stream exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    Present,
    Absent,
    /// The TTL has passed, but a stored lease may last up to 1/16 of it longer.
    Either,
}

/// A URL with all its incarnations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    lives: Vec<Life>,
    is_live: bool,
    /// `None` without a bucket.
    pub(crate) sealing: Option<Sealing>,
    /// The retention of streams without their own.
    pub(crate) defaults: Keeping,
}

impl Model {
    /// The number of the newest incarnation.
    pub(crate) fn newest(&self) -> usize {
        self.lives.len() - 1
    }

    pub(crate) fn life(&self, number: usize) -> &Life {
        &self.lives[number]
    }

    /// The incarnation that is not deleted; its TTL may have passed.
    pub(crate) fn current(&self) -> Option<&Life> {
        self.lives.last().filter(|_| self.is_live)
    }

    pub(crate) fn trim(&mut self, trimmed: usize, arrived: usize, now: Millis) {
        let defaults = self.defaults;
        if let Some(life) = self.current_mut() {
            life.trim(trimmed, arrived, defaults, now);
        }
    }

    fn current_mut(&mut self) -> Option<&mut Life> {
        let is_live = self.is_live;
        self.lives.last_mut().filter(|_| is_live)
    }

    pub(crate) fn presence(&self, now: Millis, live_readers: usize) -> Presence {
        match self.current() {
            None => Presence::Absent,
            Some(life) if now < life.earliest_end || live_readers > 0 => Presence::Present,
            Some(life) if now >= life.latest_end => Presence::Absent,
            Some(_) => Presence::Either,
        }
    }

    /// Ends the current incarnation.
    pub(crate) fn end(&mut self) {
        self.is_live = false;
    }

    /// A read or a write extended the TTL.
    pub(crate) fn touch(&mut self, now: Millis) {
        self.may_touch(now);
        if let Some(life) = self.current_mut() {
            life.earliest_end = life.ttl.map_or(Millis::MAX, |ttl| now + ttl);
        }
    }

    /// A request may or may not have extended the TTL.
    pub(crate) fn may_touch(&mut self, now: Millis) {
        if let Some(life) = self.current_mut() {
            let end = life.ttl.map_or(Millis::MAX, |ttl| now + ttl + ttl / 16);
            life.latest_end = life.latest_end.max(end);
        }
    }

    pub(crate) fn create(&mut self, put: &Put, now: Millis) -> u16 {
        if let Some(life) = self.current() {
            let same = life.kind == put.kind
                && life.ttl == put.ttl
                && life.keeping == put.keeping
                && life.is_closed() == put.closed;
            return if same { 200 } else { 409 };
        }
        let mut life = Life {
            kind: put.kind,
            content: Content::empty(put.kind),
            ttl: put.ttl,
            earliest_end: now,
            latest_end: now,
            closed: None,
            producers: BTreeMap::new(),
            stream_seq: None,
            keeping: put.keeping,
            sealed: Vec::new(),
            open: (0, 0, now),
            trimmed: 0,
            begins: BTreeSet::new(),
        };
        life.write(&put.content, self.sealing, now);
        if put.closed {
            life.end(None, self.sealing);
        }
        self.lives.push(life);
        self.is_live = true;
        201
    }

    pub(crate) fn append(&mut self, post: &Post, now: Millis) -> u16 {
        let (sealing, newest) = (self.sealing, self.lives.len().saturating_sub(1));
        self.current_mut().map_or(404, |life| life.append(post, ((newest, life.content.len()), sealing), now))
    }

    pub(crate) fn close(&mut self, producer: Option<&Producer>, expected: Option<Place>) -> u16 {
        let (sealing, newest) = (self.sealing, self.lives.len().saturating_sub(1));
        self.current_mut()
            .map_or(404, |life| life.close((producer, expected), ((newest, life.content.len()), sealing)))
    }

    pub(crate) fn delete(&mut self) -> u16 {
        let status = if self.is_live { 204 } else { 404 };
        self.end();
        status
    }
}
