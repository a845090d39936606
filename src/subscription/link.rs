//! Links from a subscription to streams, each with its own cursor (PROTOCOL.md 6.1).

use serde::{Deserialize, Serialize};

use crate::protocol::Millis;
use crate::protocol::offset::Offset;
use crate::protocol::subscription::watch::Progress;

/// A link. A link of both kinds is shown as explicit.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StreamLink {
    /// `streams` names the stream.
    pub explicit: bool,
    /// The pattern matches the stream.
    pub glob: bool,
    /// The cursor; `None` until the stream has answered with its start.
    pub acked: Option<Progress>,
    /// The last known tail of the stream.
    pub tail: Option<Progress>,
    /// The stream has answered that its tail equals the cursor, and will notify the subscription of the next append.
    pub settled: bool,
    /// The link was removed, but its stream has not been called yet.
    #[serde(default)]
    pub removed: bool,
    /// When a request added the link, if that was after the PUT and the stream has not answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<Millis>,
    /// The time of the first of the calls to the stream that have failed in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Millis>,
}

impl StreamLink {
    /// An explicit link whose stream has not been called yet.
    pub fn explicit() -> StreamLink {
        StreamLink { explicit: true, ..StreamLink::default() }
    }

    /// An explicit link to a stream that the pattern matches, but that the registry has not reported yet. It begins where
    /// the pattern's link would begin: before everything written since the subscription was created.
    pub fn found_before_its_report() -> StreamLink {
        let tail = Some(Progress { offset: Offset::segment_start(0), closed: false });
        StreamLink { glob: true, tail, ..StreamLink::explicit() }
    }

    /// Whether the stream has anything after the cursor.
    pub fn is_pending(&self) -> bool {
        !self.removed && self.acked.is_some_and(|acked| self.tail.is_some_and(|tail| tail > acked))
    }

    /// Whether the subscription must call the stream, to send its cursor or to learn the tail.
    pub fn owes_watch(&self) -> bool {
        self.removed || !self.settled && !self.is_pending()
    }

    /// Notes that the stream's tail is at least this.
    pub fn reaches(&mut self, tail: Progress) {
        self.tail = self.tail.max(Some(tail));
        if self.is_pending() {
            self.settled = false;
        }
    }

    /// Moves the cursor forward; it never moves back. Returns whether it has moved.
    pub fn ack(&mut self, acked: Progress) -> bool {
        let moves = self.acked.is_some_and(|cursor| acked > cursor);
        if moves {
            // The stream has to be told, and may have grown meanwhile.
            (self.acked, self.settled) = (Some(acked), false);
        }
        moves
    }

    /// The kind of link as clients see it.
    pub fn kind(&self) -> &'static str {
        if self.explicit { "explicit" } else { "glob" }
    }
}
