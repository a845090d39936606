//! `Stream-Cursor`: lets a cache collapse live readers and prevents cache loops (PROTOCOL.md 10.1).
//!
//! The cursor depends on the clock and on the time of the last write. It depends on the client only if these
//! two would not advance the client's cursor. So all readers with the same data get the same cursor, whenever
//! they connected, and request the same URL next. The protocol's random jitter would give each reader a
//! different URL, and a cache could not collapse them.

use super::Millis;

/// The interval of PROTOCOL.md 10.1: 20 s.
const INTERVAL_MS: Millis = 20_000;
/// The epoch of PROTOCOL.md 10.1: 2024-10-09T00:00:00Z.
const EPOCH_MS: Millis = 1_728_432_000_000;
/// The largest cursor: half of the largest integer that JavaScript represents exactly.
pub const CURSOR_MAX: u64 = 1 << 52;

/// Parses a client's cursor. Ignores a cursor that this server cannot have issued: clients treat cursors as
/// opaque.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The cursor of a live response, in milliseconds since the protocol's epoch. It is the later of the start of
/// the interval and the time of the last write. If neither is past the client's cursor, it is the client's plus
/// one, unless that exceeds [`CURSOR_MAX`].
pub fn next(now: Millis, written_at: Millis, client: Option<u64>) -> u64 {
    let interval = now.saturating_sub(EPOCH_MS) / INTERVAL_MS * INTERVAL_MS;
    let current = interval.max(written_at.saturating_sub(EPOCH_MS));
    match client {
        Some(cursor) if (current..CURSOR_MAX).contains(&cursor) => cursor + 1,
        _ => current,
    }
}
