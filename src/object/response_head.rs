//! What a response says of the bytes that it carries, and what caches may do with them.

use crate::protocol::bridge::Place;
use crate::protocol::cache_policy::{Audience, CachePolicy};
use crate::protocol::offset::Offset;
use crate::protocol::read_head::ReadHead;
use crate::protocol::reply::Reply;
use crate::protocol::{Millis, etag};
use crate::storage::chunk::Chunk;
use crate::stream::Stream;

/// Who reads a stream, and when.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) stream: &'s Stream,
    pub(super) audience: Audience,
    pub(super) now: Millis,
    /// When the first of what is read is dropped, if that is known.
    pub(super) kept_until: Option<Millis>,
}

impl Seen<'_> {
    /// The head of a response with the bytes from `start`; it may be kept, unless the caller knows better.
    pub(super) fn head(self, start: Offset, chunk: &Chunk) -> ReadHead {
        let Seen { stream, audience, .. } = self;
        let up_to_date = chunk.next == stream.tail;
        let closed = up_to_date && stream.closure.is_closed();
        ReadHead {
            content_type: stream.content_type.clone(),
            next: chunk.next,
            up_to_date,
            closed,
            cursor: None,
            etag: Some(etag::of_range(stream.incarnation, start, chunk.next, closed)),
            cache: self.while_it_lives(),
            audience,
        }
    }

    /// What a long-poll at the end of a closed stream gets. It stays true, and may be kept: of many who wait for one
    /// answer, a cache would otherwise send one after the other to ask.
    pub(super) fn nothing_more(self, place: Place) -> Reply {
        let cache = policy(place, self.while_it_lives());
        Reply::nothing_new(self.audience, self.stream.tail, cache, None)
    }

    fn while_it_lives(self) -> CachePolicy {
        let gone_at = [self.stream.expires_at(), self.kept_until].into_iter().flatten().min();
        CachePolicy::Immutable { remaining: gone_at.map(|at| at.saturating_sub(self.now)) }
    }
}

/// What caches may do, given where the reader asked to begin. `now` is another place for each request, and the start
/// is another for each life of the URL: neither may be answered with what another request was given.
pub(super) fn policy(place: Place, otherwise: CachePolicy) -> CachePolicy {
    match place {
        Place::Now => CachePolicy::Never,
        Place::Start => CachePolicy::Revalidate,
        Place::Offset => otherwise,
    }
}
