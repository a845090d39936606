//! The rules of one stream: they map a state and a request to a decision. Pure: no storage, no clock, no
//! waiting.

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
pub mod seek;

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

/// A stored lease exceeds the needed expiry by the TTL divided by this. A touch in memory may be lost, and each
/// stored one is a billed row. So a TTL costs at most 16 rows, however many reads there are. A stream may
/// outlive its last read by 1/16 of its TTL, but never expires early.
const LEASE_SLACK_DIVISOR: u64 = 16;

/// The state of a URL's object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Life {
    /// No stream was ever created.
    Unborn,
    /// The stream was deleted or has expired. The record prevents the reuse of its offsets.
    Ended(Ended),
    Live(Box<Stream>),
    /// The stream was deleted or has expired, and is retained for its forks only.
    Gone(Box<Stream>),
}

/// The record of a stream that ended.
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
    pub lifetime: Lifetime,
    /// Whether clients without a token may read it.
    pub public: bool,
    /// The secret from which its reader keys are derived (`reader_key.rs`).
    pub reader_key: String,
    /// `Stream-Retention`, if the PUT had it.
    pub retention: Option<Retention>,
    pub created_at: Millis,
    /// Its first segment that is retained.
    pub first_segment: u64,
    /// The first segment in the hot log; those before it are in the bucket.
    pub hot_from: u64,
    /// The rotated bytes, counted from some segment of this incarnation.
    pub rotated_bytes: u64,
    /// The rotated messages of its own (`storage/schema.rs`, `messages_before`).
    pub rotated_messages: u64,
    pub tail: Offset,
    /// The fill level of the tail's segment.
    pub fill: Fill,
    /// The last accepted `Stream-Seq`, which applies to the whole stream.
    pub stream_seq: Option<String>,
    pub closure: Closure,
    /// The time of its last append; before the first, the time of its creation.
    pub written_at: Millis,
    /// The time of the last known read or write.
    pub touched_at: Millis,
    /// The expiry of a stream with a TTL, according to storage.
    pub lease_until: Millis,
    /// The inherited part, if it is a fork.
    pub fork: Option<Box<Fork>>,
}

/// Whether a stream is closed, and which request closed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closure {
    Open,
    /// Closed without producer headers.
    Closed,
    /// Closed by this request of a producer, which the producer may repeat.
    ClosedBy(Producer),
}

impl Closure {
    pub fn is_closed(&self) -> bool {
        !matches!(self, Closure::Open)
    }

    /// The closure that a request of this producer causes.
    pub fn by(producer: Option<&Producer>) -> Closure {
        producer.map_or(Closure::Closed, |producer| Closure::ClosedBy(producer.clone()))
    }
}

impl Life {
    /// The stream, or the refusal of any request that needs one (`NotFound` or `Gone`).
    pub fn live(&self) -> Result<&Stream, Refusal> {
        match self {
            Life::Live(stream) => Ok(stream),
            Life::Gone(_) => Err(Refusal::Gone),
            Life::Unborn | Life::Ended(_) => Err(Refusal::NotFound),
        }
    }

    /// The stream, if its data exists: for its own readers, or for its forks only.
    pub fn stored(&self) -> Option<&Stream> {
        match self {
            Life::Live(stream) | Life::Gone(stream) => Some(stream),
            Life::Unborn | Life::Ended(_) => None,
        }
    }

    /// Like [`Life::stored`], to update memory after a commit.
    pub fn stored_mut(&mut self) -> Option<&mut Stream> {
        match self {
            Life::Live(stream) | Life::Gone(stream) => Some(stream),
            Life::Unborn | Life::Ended(_) => None,
        }
    }
}

impl Stream {
    /// The cursor of a live response; `client` is the cursor that the client sent.
    pub fn cursor(&self, now: Millis, client: Option<u64>) -> u64 {
        cursor::next(now, self.written_at, client)
    }

    /// The reader key of this hour; `None` for a stream that is readable without a token.
    pub fn reader_key(&self, guarded: bool, now: Millis) -> Option<String> {
        if guarded && !self.public { reader_key::current(&self.reader_key, now) } else { None }
    }

    /// Refuses a request that expects another tail. Each point has one offset, so equal offsets are the same
    /// point.
    pub fn expect_tail(&self, expected: Option<Offset>) -> Result<(), Refusal> {
        match expected {
            Some(expected) if expected != self.tail => Err(Refusal::UnexpectedOffset { tail: self.tail }),
            Some(_) | None => Ok(()),
        }
    }

    /// The offset of its first retained message; the tail if there is none. Retention may drop even the last
    /// segment of a closed stream.
    pub fn start(&self) -> Offset {
        self.inherited().map_or(self.own_start(), |fork| fork.start)
    }

    /// Like [`Stream::start`], without inherited messages.
    pub fn own_start(&self) -> Offset {
        self.segment_start(self.first_segment).min(self.tail)
    }

    /// The first offset of a segment. A fork's first segment begins where the fork left its source.
    pub fn segment_start(&self, segment: u64) -> Offset {
        let own_start = self.fork.as_ref().map(|fork| fork.own_start);
        own_start.filter(|start| start.segment == segment).unwrap_or(Offset::segment_start(segment))
    }

    /// The inherited part, if it is retained. Retention drops it together with the first segment of the fork's
    /// own.
    pub fn inherited(&self) -> Option<&Fork> {
        self.fork.as_deref().filter(|fork| fork.own_start.segment == self.first_segment)
    }

    /// The owners of its bytes, in order and without empty parts.
    pub fn owners(&self, path: &str) -> Vec<Owner> {
        let mut owners = self.inherited().map_or_else(Vec::new, |fork| fork.owners.clone());
        if self.own_start() < self.tail {
            let Stream { incarnation, hot_from, tail, .. } = *self;
            owners.push(Owner { path: path.to_owned(), incarnation, shift: 0, until: tail, hot_from });
        }
        owners
    }

    /// The expiry of the stream if no request comes before.
    pub fn expires_at(&self) -> Option<Millis> {
        match self.lifetime {
            Lifetime::Unlimited => None,
            Lifetime::Ttl { seconds } => Some(self.touched_at + seconds * 1000),
            Lifetime::ExpiresAt { at } => Some(at),
        }
    }

    /// Extends a sliding TTL on a read or write. Returns the new lease if it must be stored.
    pub fn touch(&mut self, now: Millis) -> Option<Millis> {
        let Lifetime::Ttl { seconds } = self.lifetime else { return None };
        self.touched_at = self.touched_at.max(now);
        let ttl = seconds * 1000;
        let until = self.touched_at + ttl;
        (until > self.lease_until).then_some(until + ttl / LEASE_SLACK_DIVISOR)
    }
}
