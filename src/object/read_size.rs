//! Limits the size of one read. The less room a client has left in the isolate's budget
//! (`cloudflare/js/budget.js`), the less it gets, but every client makes progress.

/// A read may take one eighth of the remaining room. So a few readers notice nothing, and none takes all of
/// it.
const SHARE: usize = 8;
/// The size of a read whose client has no room left, in bytes. Without room for that, the read is refused.
pub const LEAST_BYTES: usize = 64 << 10;
/// The size from which a response counts, in bytes. The operating system's socket buffer holds smaller ones.
pub const COUNTED_BYTES: usize = 16 << 10;
/// The largest body of declared length that is received in one piece, in bytes.
pub const BODY_SMALL_MAX_BYTES: usize = 2 * LEAST_BYTES - 1;

/// The most bytes a read may return to a client with `room_bytes` left.
pub fn chunk_bytes(max_bytes: usize, room_bytes: usize) -> usize {
    max_bytes.min((room_bytes / SHARE).max(LEAST_BYTES))
}
