//! The rules of one stream: state and request in, decision out. Pure: no storage, no clock, no waiting.

pub mod append;
pub mod close;
pub mod content;
pub mod create;
pub mod delete;
pub mod fill;
pub mod fork;
pub mod one_past;
pub mod producer;
pub mod read;
pub mod reader_key;
pub mod retain;
pub mod rotate;

use crate::protocol::content_type::ContentType;
use crate::protocol::fork::Owner;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::offset::Offset;
use crate::protocol::producer::Producer;
use crate::protocol::refusal::Refusal;
use crate::protocol::retention::Retention;
use crate::protocol::{Millis, cursor};
use fill::Fill;
use fork::Fork;

/// A touch that is only in memory may be lost, and each stored one is a billed row. So a stored touch extends the lease by
/// this fraction of the TTL more than the read asks for: at most 16 rows for each TTL, however many reads there are. A
/// stream may outlive its last read by 1/16 of its TTL, but never expires early.
const LEASE_SLACK_DIVISOR: u64 = 16;

/// The state of a URL's object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Life {
    /// Nothing was ever stored.
    Unborn,
    /// The stream was deleted or expired. What is left keeps its offsets from being used again.
    Ended(Ended),
    /// The stream is there.
    Live(Box<Stream>),
    /// The stream was deleted or expired, and is only kept for its forks.
    Gone(Box<Stream>),
}

/// What is left of a stream that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The incarnation that ended.
    pub incarnation: u64,
    /// The first segment of the next incarnation.
    pub next_segment: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Counts the streams that this URL has had, from 1.
    pub incarnation: u64,
    pub content_type: ContentType,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Whether everybody may read it.
    pub public: bool,
    /// The secret of which its reader keys are made (`reader_key.rs`).
    pub reader_key: String,
    /// Its own retention, if it has one.
    pub retention: Option<Retention>,
    /// When it was created.
    pub created_at: Millis,
    /// Its first segment that is still there.
    pub first_segment: u64,
    /// The first segment that is still in the hot log; those before it are in the bucket.
    pub hot_from: u64,
    /// How many bytes have gone to the bucket, counted from some segment of this incarnation on.
    pub rotated_bytes: u64,
    /// How many messages of its own have gone to the bucket (`storage/schema.rs`, `messages_before`).
    pub rotated_messages: u64,
    /// The offset after its last message.
    pub tail: Offset,
    /// How full the tail's segment is.
    pub fill: Fill,
    /// The last `Stream-Seq` accepted, for the whole stream.
    pub stream_seq: Option<String>,
    /// Whether it is closed.
    pub closure: Closure,
    /// When its last message was written; before the first one, when it was created.
    pub written_at: Millis,
    /// The last read or write, as far as it is known.
    pub touched_at: Millis,
    /// Until when a stream with a TTL lives, as far as storage knows.
    pub lease_until: Millis,
    /// What it has inherited, if it is a fork.
    pub fork: Option<Box<Fork>>,
}

/// Open, or closed and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closure {
    Open,
    /// Closed without producer headers.
    Closed,
    /// Closed by this request of a producer, which may be repeated.
    ClosedBy(Producer),
}

impl Closure {
    /// Whether the stream is closed.
    pub fn is_closed(&self) -> bool {
        !matches!(self, Closure::Open)
    }

    /// The closure that a request causes.
    pub fn by(producer: Option<&Producer>) -> Closure {
        producer.map_or(Closure::Closed, |producer| Closure::ClosedBy(producer.clone()))
    }
}

impl Life {
    /// The stream, if it is there.
    pub fn live(&self) -> Result<&Stream, Refusal> {
        match self {
            Life::Live(stream) => Ok(stream),
            Life::Gone(_) => Err(Refusal::Gone),
            Life::Unborn | Life::Ended(_) => Err(Refusal::NotFound),
        }
    }

    /// The stream, if it can be read: itself, or as a part of its forks.
    pub fn stored(&self) -> Option<&Stream> {
        match self {
            Life::Live(stream) | Life::Gone(stream) => Some(stream),
            Life::Unborn | Life::Ended(_) => None,
        }
    }

    /// The same, to let memory follow storage.
    pub fn stored_mut(&mut self) -> Option<&mut Stream> {
        match self {
            Life::Live(stream) | Life::Gone(stream) => Some(stream),
            Life::Unborn | Life::Ended(_) => None,
        }
    }
}

impl Stream {
    /// The cursor of a live response, given the one that the client sent.
    pub fn cursor(&self, now: Millis, client: Option<u64>) -> u64 {
        cursor::next(now, self.written_at, client)
    }

    /// The reader key of this hour; `None` for a stream that everybody may read.
    pub fn reader_key(&self, guarded: bool, now: Millis) -> Option<String> {
        if guarded && !self.public { reader_key::current(&self.reader_key, now) } else { None }
    }

    /// Compares the tail that a client expects. Each place has one offset, so equal offsets are the same place.
    pub fn expect_tail(&self, expected: Option<Offset>) -> Result<(), Refusal> {
        match expected {
            Some(expected) if expected != self.tail => Err(Refusal::UnexpectedOffset { tail: self.tail }),
            Some(_) | None => Ok(()),
        }
    }

    /// The offset of its first message that is still there; the tail, if nothing is (also a closed stream's last segment may be
    /// dropped).
    pub fn start(&self) -> Offset {
        self.inherited().map_or(self.own_start(), |fork| fork.start)
    }

    /// The same of the messages that are its own, and not inherited.
    pub fn own_start(&self) -> Offset {
        self.segment_start(self.first_segment).min(self.tail)
    }

    /// The first offset of a segment: that of a fork's first is where it left its source.
    pub fn segment_start(&self, segment: u64) -> Offset {
        let own_start = self.fork.as_ref().map(|fork| fork.own_start);
        own_start.filter(|start| start.segment == segment).unwrap_or(Offset::segment_start(segment))
    }

    /// What it has inherited and still has: retention drops that with the first segment of its own.
    pub fn inherited(&self) -> Option<&Fork> {
        self.fork.as_deref().filter(|fork| fork.own_start.segment == self.first_segment)
    }

    /// The owners of its bytes, in order; empty parts are left out.
    pub fn owners(&self, path: &str) -> Vec<Owner> {
        let mut owners = self.inherited().map_or_else(Vec::new, |fork| fork.owners.clone());
        if self.own_start() < self.tail {
            let Stream { incarnation, hot_from, tail, .. } = *self;
            owners.push(Owner { path: path.to_owned(), incarnation, shift: 0, until: tail, hot_from });
        }
        owners
    }

    /// When it expires if no request comes before.
    pub fn expires_at(&self) -> Option<Millis> {
        match self.lifetime {
            Lifetime::Unlimited => None,
            Lifetime::Ttl { seconds } => Some(self.touched_at + seconds * 1000),
            Lifetime::ExpiresAt { at } => Some(at),
        }
    }

    /// Slides the TTL on a read or write. Returns the new lease if it has to be stored.
    pub fn touch(&mut self, now: Millis) -> Option<Millis> {
        let Lifetime::Ttl { seconds } = self.lifetime else { return None };
        self.touched_at = self.touched_at.max(now);
        let ttl = seconds * 1000;
        let until = self.touched_at + ttl;
        (until > self.lease_until).then_some(until + ttl / LEASE_SLACK_DIVISOR)
    }
}
