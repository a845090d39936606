//! Builds the head of a response, including what caches may do with it.

use crate::protocol::bridge::Place;
use crate::protocol::cache_policy::{Audience, CachePolicy};
use crate::protocol::offset::Offset;
use crate::protocol::read_head::ReadHead;
use crate::protocol::reply::Reply;
use crate::protocol::{Millis, etag};
use crate::storage::chunk::Chunk;
use crate::stream::Stream;

/// The audience and time of a read.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) stream: &'s Stream,
    pub(super) audience: Audience,
    pub(super) now: Millis,
    /// When retention drops the first of the data, if that is known.
    pub(super) kept_until: Option<Millis>,
}

impl Seen<'_> {
    /// The head of a response with the bytes from `start`. It is cacheable unless the caller overrides that.
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

    /// The response to a long-poll at the end of a closed stream. It never changes, so it is cacheable:
    /// otherwise a cache that collapses long-polls would send them to the Worker one after another.
    pub(super) fn nothing_more(self, place: Place) -> Reply {
        let cache = policy(place, self.while_it_lives());
        Reply::nothing_new(self.audience, self.stream.tail, cache, None)
    }

    fn while_it_lives(self) -> CachePolicy {
        let gone_at = [self.stream.expires_at(), self.kept_until].into_iter().flatten().min();
        CachePolicy::Immutable { remaining: gone_at.map(|at| at.saturating_sub(self.now)) }
    }
}

/// The cache policy by where the read begins. `now` is another offset for each request, and the start is
/// another one for each incarnation. So a cached response to either is not valid for the next request.
pub(super) fn policy(place: Place, otherwise: CachePolicy) -> CachePolicy {
    match place {
        Place::Now => CachePolicy::Never,
        Place::Start => CachePolicy::Revalidate,
        Place::Offset => otherwise,
    }
}
