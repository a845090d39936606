//! How much one read gives: the less room its client has left in the isolate's budget (`cloudflare/js/budget.js`), the less
//! it gets, and every client makes progress.

/// What of the room that is left one read may take, at most: an eighth, so that a few readers alone do not notice, and none
/// takes all of it.
const SHARE: usize = 8;
/// What a read gives although its client has no room left; without room for as much it is refused.
pub const LEAST_BYTES: usize = 64 << 10;
/// From how many bytes on an answer counts. What is smaller fits into the system's own buffer of a connection.
pub const COUNTED_BYTES: usize = 16 << 10;
/// The largest body of a declared length that is received in one piece.
pub const BODY_SMALL_MAX_BYTES: usize = 2 * LEAST_BYTES - 1;

/// How much a read may give whose client has so much room left.
pub fn chunk_bytes(max_bytes: usize, room_bytes: usize) -> usize {
    max_bytes.min((room_bytes / SHARE).max(LEAST_BYTES))
}
