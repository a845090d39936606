//! What an object is given: its way to the world, and the bounds that a deployment chooses.

use super::producers::ProducerLimits;
use crate::protocol::Millis;
use crate::protocol::registry::Registries;
use crate::storage::Sql;
use crate::stream::retain::RetentionDefaults;
use crate::stream::rotate::SegmentLimits;

/// What the object reaches the world through.
pub struct Ports<'p, S> {
    pub sql: &'p dyn Sql,
    pub sockets: &'p S,
}

/// Bounds that a deployment chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long a long-poll waits.
    pub long_poll_timeout: Millis,
    /// How many bytes one read gives, about (see `storage::messages::read`).
    pub chunk_max_bytes: usize,
    /// How large segments get; `None` where there is no bucket for them.
    pub segments: Option<SegmentLimits>,
    /// Whether reading takes a token, so that what is not public stays out of caches.
    pub guarded: bool,
    /// Whether streams that were created as public are served as private ones.
    pub hides_public: bool,
    /// Whether there is a segment index, to be told of them.
    pub has_index: bool,
    /// Who is told that the stream is there, and that it is no more.
    pub registries: Registries,
    /// How many of its producers are remembered by rows of messages.
    pub producers: ProducerLimits,
    /// What is kept of streams that do not say themselves.
    pub retention: RetentionDefaults,
}
