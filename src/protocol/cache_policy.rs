//! What caches may keep, as one table (PROTOCOL.md 10). Every response has one of these: a cache in front of
//! the server would otherwise choose for itself.

use super::Millis;

/// The protocol's freshness for shared streams.
const MAX_AGE_SECONDS: u64 = 60;
/// The protocol's window for serving stale while asking again.
const STALE_SECONDS: u64 = 300;

/// The kinds of response, as far as caches are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    /// Bytes below the tail, or a live answer under its own cursor: they never change while the stream lives.
    Immutable {
        /// How long the stream still lives at least, if that is bounded.
        remaining: Option<Millis>,
    },
    /// A plain read that reached the tail: the next one may see more, so a cache must ask (the tag makes that
    /// cheap).
    Revalidate,
    /// An SSE response.
    Live,
    /// Writes, metadata, `now`, timeouts, refusals and failures.
    Never,
}

impl CachePolicy {
    /// The value of `Cache-Control`.
    pub fn header(self) -> String {
        match self {
            CachePolicy::Immutable { remaining } => {
                let remaining = remaining.map_or(u64::MAX, |left| left / 1000);
                let max_age = remaining.min(MAX_AGE_SECONDS);
                let stale = (remaining - max_age).min(STALE_SECONDS);
                format!("public, max-age={max_age}, stale-while-revalidate={stale}")
            }
            CachePolicy::Revalidate | CachePolicy::Live => "no-cache".to_owned(),
            CachePolicy::Never => "no-store".to_owned(),
        }
    }
}
