//! What caches may keep, as one table (PROTOCOL.md 10). Every response has one of these: a cache in front of
//! the server would otherwise choose for itself.
//!
//! These choose a row of the table:
//! - `src/object/response_head.rs`: the end of the stream, or of the oldest segment that is read, shortens the time, and a read
//!   from `now` or the start is never kept that long;
//! - `src/object/read.rs` and `src/object/live.rs`: what reaches the tail is asked for again, and a timeout is not kept.
//!
//! These change the header afterwards, always to less:
//! - `src/cloudflare/reply.rs` (`kept_by_nobody`): a request with a token in its URL or cookie;
//! - `src/cloudflare/worker/long_poll.rs` (`uncached`): a long-poll that is answered later by a plain read;
//! - `src/cloudflare/js/collapse.js` (`keptAt`): an answer from the edge's cache has the rest of its `max-age`.
//!
//! `Vary` does not change how long, but for whom: `Reply::to` (`reply.rs`) and `Cors::header_lines` (`src/edge/cors.rs`).

use super::Millis;

/// The protocol's freshness for shared streams.
const MAX_AGE_SECONDS: u64 = 60;
/// The protocol's window for serving stale while asking again.
const STALE_SECONDS: u64 = 300;

/// Who may see a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Everybody, and the scripts of every site: there is no access control.
    Everyone,
    /// Everybody, though not the scripts of every site.
    Public,
    /// Those whose token allows it.
    Holders,
}

impl Audience {
    /// The audience of one stream's reads. A read with the reader key may be cached publicly: its URL cannot be guessed.
    pub fn of(guarded: bool, public: bool, keyed: bool) -> Audience {
        match (guarded, public || keyed) {
            (false, _) => Audience::Everyone,
            (true, true) => Audience::Public,
            (true, false) => Audience::Holders,
        }
    }
}

/// What caches may do with a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    /// Data before the tail, a live answer under its own cursor, or the end of a closed stream: none of it changes while
    /// the stream lives.
    Immutable {
        /// How long the stream still lives at least, if that is bounded.
        remaining: Option<Millis>,
    },
    /// A plain read that reached the tail: the next one may see more, so a cache must ask (the tag makes that
    /// cheap).
    Revalidate,
    Live,
    /// Writes, metadata, `now`, timeouts, refusals and failures.
    Never,
}

/// For requests with a secret in the URL or in a cookie: no cache keeps the response.
pub const SECRET: &str = "private, no-store";
/// The same for an SSE response.
pub const SECRET_EVENTS: &str = "private, no-store, no-transform";

impl CachePolicy {
    /// Whether a shared cache may serve it to many readers.
    pub fn is_shared(self, audience: Audience) -> bool {
        matches!(self, CachePolicy::Immutable { .. }) && audience != Audience::Holders
    }

    /// The value of `Cache-Control`. A response for holders of a token stays out of shared caches, and a
    /// browser revalidates it before it shows it: its next user may have another token.
    pub fn header(self, audience: Audience) -> String {
        match (self, audience) {
            (CachePolicy::Never, _) => "no-store".to_owned(),
            // What compresses a response holds events back.
            (CachePolicy::Live, Audience::Holders) => "private, no-cache, no-transform".to_owned(),
            (CachePolicy::Live, Audience::Everyone | Audience::Public) => "no-cache, no-transform".to_owned(),
            (_, Audience::Holders) => "private, no-cache".to_owned(),
            (CachePolicy::Immutable { remaining }, Audience::Everyone | Audience::Public) => {
                let remaining = remaining.map_or(u64::MAX, |left| left / 1000);
                let max_age = remaining.min(MAX_AGE_SECONDS);
                let stale = (remaining - max_age).min(STALE_SECONDS);
                // A copy that is too old must not stand in for an error: the stream may be gone.
                format!("public, max-age={max_age}, stale-while-revalidate={stale}, stale-if-error=0")
            }
            (CachePolicy::Revalidate, Audience::Everyone | Audience::Public) => "no-cache".to_owned(),
        }
    }
}
