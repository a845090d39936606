//! The ports and settings of an object.

use super::producers::ProducerLimits;
use crate::protocol::Millis;
use crate::protocol::registry::Registries;
use crate::storage::Sql;
use crate::stream::retain::RetentionDefaults;
use crate::stream::rotate::SegmentLimits;

/// The object's access to its storage and its sockets.
pub struct Ports<'p, S> {
    pub sql: &'p dyn Sql,
    pub sockets: &'p S,
}

/// Settings that a deployment chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long a long-poll waits, in milliseconds.
    pub long_poll_timeout: Millis,
    /// About how many bytes one read returns (see `storage::messages::read`).
    pub chunk_max_bytes: usize,
    /// The limits of a segment; `None` without a bucket.
    pub segments: Option<SegmentLimits>,
    /// Whether reads need a token. If so, private streams stay out of shared caches.
    pub guarded: bool,
    /// Whether public streams are served as private ones.
    pub hides_public: bool,
    /// Whether there is a segment index.
    pub has_index: bool,
    /// Which registry the stream reports its creation and end to.
    pub registries: Registries,
    /// How many producers are recorded in message rows instead of the table.
    pub producers: ProducerLimits,
    /// The retention of streams that do not set one.
    pub retention: RetentionDefaults,
    /// How long deliveries of a subscription may fail before it is parked, in milliseconds.
    pub webhooks_give_up_after: Millis,
    /// Whether subscriptions send summaries to their registry, for `GET /metrics`.
    pub measures: bool,
}
