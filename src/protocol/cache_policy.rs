//! The caching rules, as one table (PROTOCOL.md 10). Every response has a `Cache-Control`, because a cache in
//! front of the server would otherwise apply its own heuristics.
//!
//! These files choose a row of the table:
//! - `src/object/response_head.rs`: the end of the stream's lifetime, or of the oldest segment in the read,
//!   shortens `max-age`. Reads from `now` or from the start are never cached that long.
//! - `src/object/read.rs` and `src/object/live.rs`: a read that reaches the tail is revalidated, and a timeout
//!   is not cached.
//!
//! These files change the header afterwards, always to something stricter:
//! - `src/cloudflare/reply.rs` (`uncacheable`): a request with a token in its URL or cookie.
//! - `src/cloudflare/worker/long_poll.rs` (`uncached`): a long-poll that is answered later by a plain read.
//! - `src/cloudflare/js/collapse.js` (`keptAt`): an answer from the Worker's cache carries the rest of its
//!   `max-age`.
//!
//! The keys that sign webhooks and the description of the API have a policy of their own, [`PUBLISHED`].
//!
//! `Vary` decides for which requests a copy is valid, not for how long: see `Reply::to` (`reply.rs`) and
//! `Cors::header_lines` (`src/edge/cors.rs`).

use super::Millis;

/// `max-age` of shared streams (PROTOCOL.md 10.1).
const MAX_AGE_SECONDS: u64 = 60;
/// `stale-while-revalidate` (PROTOCOL.md 10.1).
const STALE_SECONDS: u64 = 300;

/// The clients that may see a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Every client, and the scripts of every site: the server has no access control.
    Everyone,
    /// Every client, but not the scripts of every site.
    Public,
    /// Clients whose token allows the read.
    Holders,
}

impl Audience {
    /// The audience of a read. A read with the reader key may be cached publicly, because its URL cannot be
    /// guessed.
    pub fn of(guarded: bool, public: bool, keyed: bool) -> Audience {
        match (guarded, public || keyed) {
            (false, _) => Audience::Everyone,
            (true, true) => Audience::Public,
            (true, false) => Audience::Holders,
        }
    }
}

/// Row of the table: how caches may treat a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    /// Data before the tail, a live answer under its own cursor, or the end of a closed stream. None of it
    /// changes during the stream's lifetime.
    Immutable {
        /// The least remaining lifetime of the stream or segment, if it is bounded.
        remaining: Option<Millis>,
    },
    /// A plain read that reached the tail: the next one may return more, so caches must revalidate. The entity
    /// tag makes that cheap.
    Revalidate,
    Live,
    /// Writes, metadata, `now`, timeouts, refusals and failures.
    Never,
}

/// `Cache-Control` for requests with a secret in the URL or in a cookie: no cache stores the response.
pub const SECRET: &str = "private, no-store";
/// The same as [`SECRET`], for SSE responses.
pub const SECRET_EVENTS: &str = "private, no-store, no-transform";

/// `Cache-Control` of the keys that sign webhooks (PROTOCOL.md 6.5), and of the description of the API.
pub const PUBLISHED: &str = "public, max-age=300";

impl CachePolicy {
    /// Whether a shared cache may serve the response to many readers.
    pub fn is_shared(self, audience: Audience) -> bool {
        matches!(self, CachePolicy::Immutable { .. }) && audience != Audience::Holders
    }

    /// The value of `Cache-Control`. A response for token holders stays out of shared caches. The browser
    /// revalidates it before each use, because its next user may have another token.
    pub fn header(self, audience: Audience) -> String {
        match (self, audience) {
            (CachePolicy::Never, _) => "no-store".to_owned(),
            // Without `no-transform`, a compressing proxy would buffer events.
            (CachePolicy::Live, Audience::Holders) => "private, no-cache, no-transform".to_owned(),
            (CachePolicy::Live, Audience::Everyone | Audience::Public) => "no-cache, no-transform".to_owned(),
            (_, Audience::Holders) => "private, no-cache".to_owned(),
            (CachePolicy::Immutable { remaining }, Audience::Everyone | Audience::Public) => {
                let remaining = remaining.map_or(u64::MAX, |left| left / 1000);
                let max_age = remaining.min(MAX_AGE_SECONDS);
                let stale = (remaining - max_age).min(STALE_SECONDS);
                // A stale copy must not replace an error: the stream may be gone.
                format!("public, max-age={max_age}, stale-while-revalidate={stale}, stale-if-error=0")
            }
            (CachePolicy::Revalidate, Audience::Everyone | Audience::Public) => "no-cache".to_owned(),
        }
    }
}
