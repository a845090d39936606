//! Requests that go to the object of a stream.

use super::auth::Source;
use super::collapse::Reader;
use crate::protocol::Millis;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;

/// A request to a stream's object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forward {
    pub kind: ReadKind,
    pub path: StreamPath,
    pub source: Source,
    pub reader: Reader,
    /// The end of its token's validity, which also ends a live response.
    pub until: Option<Millis>,
    /// Set for a client that may read public streams only: the refusal that it gets at other streams.
    pub stranger: Option<Refusal>,
    /// Whether to hide the reader key, because its token does not allow reads.
    pub hides_key: bool,
}

impl Forward {
    /// Whether the request and the response both pass unchanged.
    pub fn is_as_it_came(&self) -> bool {
        self.goes_as_it_came() && !self.hides_key
    }

    /// Whether the request passes unchanged.
    pub fn goes_as_it_came(&self) -> bool {
        let is_plain = self.kind == ReadKind::Plain && self.stranger.is_none();
        is_plain && matches!(self.source, Source::None | Source::Header)
    }
}

/// The kind of response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadKind {
    Plain,
    LongPoll,
    Sse,
}
