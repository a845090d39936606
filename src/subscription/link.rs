//! Links of a subscription to streams: one cursor for each (PROTOCOL.md 6.1).

use serde::{Deserialize, Serialize};

use crate::protocol::subscription::watch::Progress;

/// A link. Where both kinds hold, it is shown as explicit.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StreamLink {
    /// `streams` names the stream.
    pub explicit: bool,
    /// The pattern matches the stream.
    pub glob: bool,
    /// The cursor; `None` until the stream has answered where it begins.
    pub acked: Option<Progress>,
    /// The tail of the stream, as far as it is known.
    pub tail: Option<Progress>,
    /// The stream has answered that its tail is the cursor, and notifies the subscription of the next append.
    pub settled: bool,
    /// The link was removed, and the stream has yet to be called for that.
    #[serde(default)]
    pub removed: bool,
}

impl StreamLink {
    /// A link whose stream has yet to be called.
    pub fn explicit() -> StreamLink {
        StreamLink { explicit: true, ..StreamLink::default() }
    }

    /// A link that a pattern has found, from `start` on.
    pub fn glob(start: Progress) -> StreamLink {
        StreamLink { glob: true, acked: Some(start), ..StreamLink::default() }
    }

    /// Whether there is something after the cursor.
    pub fn is_pending(&self) -> bool {
        !self.removed && self.acked.is_some_and(|acked| self.tail.is_some_and(|tail| tail > acked))
    }

    /// Whether the stream has to be called: for the cursor, or because there may be something after the cursor.
    pub fn owes_watch(&self) -> bool {
        self.removed || !self.settled && !self.is_pending()
    }

    /// The stream goes at least so far.
    pub fn reaches(&mut self, tail: Progress) {
        self.tail = self.tail.max(Some(tail));
        if self.is_pending() {
            self.settled = false;
        }
    }

    /// Moves the cursor; it never moves back.
    pub fn ack(&mut self, acked: Progress) {
        if self.acked.is_some_and(|cursor| acked > cursor) {
            self.acked = Some(acked);
        }
        // There may be more by now.
        self.settled = false;
    }

    /// How it is shown.
    pub fn kind(&self) -> &'static str {
        if self.explicit { "explicit" } else { "glob" }
    }
}
