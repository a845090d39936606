//! `Stream-Cursor`: lets a cache collapse live readers and keeps them out of cache cycles (PROTOCOL.md 10.1).
//!
//! It depends on the clock and on the last write, and on the client only where these two would not lead it on. So all
//! readers that have read the same get the same cursor, whenever they connected, and request the same URL next. The
//! protocol's random jitter would give each reader a URL of its own, and a cache in front of the server could not collapse
//! them.

use super::Millis;

/// The protocol's interval, 20 s.
const INTERVAL_MS: Millis = 20_000;
/// The protocol's epoch, 2024-10-09T00:00:00Z.
const EPOCH_MS: Millis = 1_728_432_000_000;
/// The largest cursor: half of what JavaScript counts exactly.
pub const CURSOR_MAX: u64 = 1 << 52;

/// The cursor that a client sends. One that this server cannot have made is ignored: to clients, cursors are opaque.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The cursor for a live response, in milliseconds since the protocol's epoch: when the interval began or, if that is
/// later, when the last message was written; just past the client's where neither is, unless that would be too large.
pub fn next(now: Millis, written_at: Millis, client: Option<u64>) -> u64 {
    let interval = now.saturating_sub(EPOCH_MS) / INTERVAL_MS * INTERVAL_MS;
    let current = interval.max(written_at.saturating_sub(EPOCH_MS));
    match client {
        Some(cursor) if (current..CURSOR_MAX).contains(&cursor) => cursor + 1,
        _ => current,
    }
}
