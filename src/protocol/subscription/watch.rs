//! Calls between a subscription, the streams that it watches, and the registry.
//!
//! A stream notifies a watcher once, and not again until the subscription sends [`Watch`] with its new cursor. The
//! answer [`Noted::Taken`] means that the subscription has stored the stream as pending.

use serde::{Deserialize, Serialize};

use crate::protocol::Millis;
use crate::protocol::offset::Offset;

/// The most watchers of one stream.
pub const WATCHERS_MAX: usize = 64;
/// The most patterns in one registry.
pub const PATTERNS_MAX: u64 = 1_000;

/// Linking that takes longer counts as late. The cursor then begins before everything written since the link was added.
const LINKED_LATE_AFTER: Millis = 5_000;
/// How much the clocks of two objects may differ.
pub const CLOCKS_DIFFER_MAX: Millis = 5_000;

/// Call to a stream: notify a subscription of messages after its cursor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watch {
    /// The name of the subscription's object.
    pub subscription: String,
    pub incarnation: u64,
    /// Whether only a pattern links the stream. Such a link ends with the stream.
    pub glob: bool,
    pub from: WatchFrom,
    /// When a new link was added. The call may arrive after the reply to the request that added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<Millis>,
}

impl Watch {
    /// The cursor, at the time when the call arrives.
    pub fn begins(&self, now: Millis) -> WatchFrom {
        match (&self.from, self.added_at) {
            (WatchFrom::Tail, Some(added_at)) => WatchFrom::added(added_at, now),
            (from, _) => from.clone(),
        }
    }
}

/// The cursor of a watch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WatchFrom {
    /// The link is new: the cursor begins at the tail.
    Tail,
    /// The link is new but should have begun at this time. The cursor begins before everything written since.
    Since(Millis),
    /// The subscription has processed everything up to this point.
    Acked(Progress),
}

impl WatchFrom {
    /// The cursor of a link that was added at this time. The reply to that request may have been sent long ago.
    pub fn added(added_at: Millis, now: Millis) -> WatchFrom {
        if now > added_at + LINKED_LATE_AFTER { WatchFrom::since(added_at) } else { WatchFrom::Tail }
    }

    /// The cursor before everything written since this time, by the clock of another object.
    pub fn since(at: Millis) -> WatchFrom {
        WatchFrom::Since(at.saturating_sub(CLOCKS_DIFFER_MAX))
    }
}

/// A point in a stream: the cursor of a link, or the tail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Progress {
    pub offset: Offset,
    /// Whether the point includes the closure of the stream.
    pub closed: bool,
}

/// The answer to [`Watch`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WatchAnswer {
    /// The cursor, and the tail of the stream. If the two are equal, the stream notifies the subscription of the next
    /// append.
    From { acked: Progress, tail: Progress },
    /// The stream already has [`WATCHERS_MAX`] other watchers.
    TooMany,
}

/// Call to a stream: stop notifying a subscription.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unwatch {
    pub subscription: String,
    pub incarnation: u64,
    /// The subscription was deleted. If false, this call may be late and the subscription may have linked the stream
    /// again.
    #[serde(default)]
    pub has_ended: bool,
}

/// Call to a subscription: a watched stream has messages after the subscription's cursor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notify {
    pub incarnation: u64,
    pub path: String,
    /// The beginning of a link that the subscription does not have yet, because its pattern has just found the stream.
    pub start: Progress,
    pub tail: Progress,
    /// The stream has ended, so a link made only by a pattern ends too. `tail` is then the beginning of the next stream
    /// at this URL; a cursor there belongs to that stream.
    #[serde(default)]
    pub has_ended: bool,
    /// The creation of the stream. If the stream is older than the subscription, messages after `start` may be too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Millis>,
}

/// The answer to [`Notify`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Noted {
    /// The subscription has stored the stream as pending.
    Taken,
    /// The subscription's cursor is already here.
    Acked(Progress),
    /// The subscription no longer exists, or does not link the stream.
    Gone,
}

/// A subscription as the target of notifications.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watcher {
    pub subscription: String,
    pub incarnation: u64,
}

/// Call to a registry: return this subscription in answers to reports of new streams that match its pattern.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enlist {
    pub watcher: Watcher,
    /// A pattern over whole paths; `None` removes it.
    pub pattern: Option<String>,
}

/// Call to a stream: append an event of a pull-wake subscription, once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WakeAppend {
    /// The name of the subscription's object. It is the producer of the events.
    pub producer: String,
    /// The producer's epoch, which is the generation of the wake.
    pub generation: u64,
    pub message: String,
}

/// The answer to [`WakeAppend`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WakeAppended {
    Done,
    /// The stream refuses the event for this reason.
    Refused(String),
}

/// The answer to [`Enlist`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Enlisted {
    Done,
    /// The registry already has [`PATTERNS_MAX`] other patterns.
    TooMany,
}
