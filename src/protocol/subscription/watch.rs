//! What a subscription, the streams that it watches, and the registry say to each other.
//!
//! A stream notifies a watcher once, and then not again until the subscription has sent [`Watch`] with its new cursor. The
//! answer to [`Notify`] says who remembers: after [`Noted::Taken`] the subscription has stored that the stream is pending.

use serde::{Deserialize, Serialize};

use crate::protocol::Millis;
use crate::protocol::offset::Offset;

/// The most watchers of one stream.
pub const WATCHERS_MAX: usize = 64;
/// The most patterns in one registry.
pub const PATTERNS_MAX: u64 = 1_000;

/// A stream: to notify a subscription of messages after its cursor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watch {
    /// The name of the subscription's object.
    pub subscription: String,
    pub incarnation: u64,
    /// Whether only a pattern links the stream: such a link ends with the stream.
    pub glob: bool,
    pub from: WatchFrom,
}

/// Where the cursor is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WatchFrom {
    /// The link is new: the cursor begins at the tail.
    Tail,
    /// The link is new, but should have begun at this time: the cursor begins before all that was written since.
    Since(Millis),
    /// All up to there is processed.
    Acked(Progress),
}

/// How far a stream has been processed, or how far it goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Progress {
    pub offset: Offset,
    /// Whether that includes the closure of the stream.
    pub closed: bool,
}

/// The answer to [`Watch`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WatchAnswer {
    /// The cursor, and where the stream ends. If the two are equal, the next append notifies the subscription.
    From { acked: Progress, tail: Progress },
    /// The stream has [`WATCHERS_MAX`] others.
    TooMany,
}

/// A stream: to notify a subscription no longer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unwatch {
    pub subscription: String,
    pub incarnation: u64,
    /// The subscription was deleted. Otherwise it may have linked the stream again, if this comes late.
    #[serde(default)]
    pub has_ended: bool,
}

/// A subscription: a stream that it watches has messages after its cursor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notify {
    pub incarnation: u64,
    pub path: String,
    /// Where the link begins if the subscription does not have it yet, because its pattern has found the stream.
    pub start: Progress,
    pub tail: Progress,
    /// The stream has ended: a link that only a pattern has made ends, too. Then `tail` is where the next stream at its URL
    /// begins; a cursor there belongs to that one.
    #[serde(default)]
    pub has_ended: bool,
}

/// The answer to [`Notify`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Noted {
    /// The subscription has stored that it is pending.
    Taken,
    /// The cursor is there already.
    Acked(Progress),
    /// There is no such subscription any more, or it does not link the stream.
    Gone,
}

/// A subscription that a stream notifies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watcher {
    pub subscription: String,
    pub incarnation: u64,
}

/// A registry: to answer reports of new streams with this subscription if its pattern matches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enlist {
    pub watcher: Watcher,
    /// Over whole paths; `None` removes it.
    pub pattern: Option<String>,
}

/// A stream: to append an event of a pull-wake subscription, once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WakeAppend {
    /// The name of the subscription's object, which is the producer of its events.
    pub producer: String,
    /// The producer's epoch: each generation is one.
    pub generation: u64,
    pub message: String,
}

/// The answer to [`WakeAppend`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WakeAppended {
    Done,
    /// The stream does not take it, for this reason.
    Refused(String),
}

/// The answer to [`Enlist`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Enlisted {
    Done,
    /// The registry has [`PATTERNS_MAX`] others.
    TooMany,
}
