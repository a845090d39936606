//! How much one read gives while answers to others wait to be taken, and how much is received at a time: an isolate has
//! 128 MB, and whoever is slow holds some of it for as long as he likes. So the more is held, the less each reader gets, and
//! all get on.

/// How much all objects of an isolate hold for their readers: answers that have not been taken, and bytes from the bucket that
/// are to become some.
pub const HELD_MAX_BYTES: usize = 48 << 20;
/// What of the room that is left one read may take, at most: an eighth, so that a few readers alone do not notice, and nobody
/// takes all of it.
const SHARE: usize = 8;
/// What each read may give, whatever is held.
pub const LEAST_BYTES: usize = 64 << 10;
/// How much all objects of an isolate receive at the same time: two of the largest appends.
pub const BODIES_MAX_BYTES: usize = 32 << 20;
/// From how many bytes on an answer or a body counts: twice the least, because JSON ends with a row.
pub const COUNTED_BYTES: usize = 2 * LEAST_BYTES;

/// How much a read may give.
pub fn chunk_bytes(max_bytes: usize, held_bytes: usize) -> usize {
    let share = HELD_MAX_BYTES.saturating_sub(held_bytes) / SHARE;
    max_bytes.min(share.max(LEAST_BYTES))
}

/// Whether so much can be fetched for an answer. For the least that is given that may be some blocks of the bucket, and the
/// ends of some of its objects.
pub fn has_room_to_fetch(bytes: u64, held_bytes: usize) -> bool {
    bytes <= 8 * LEAST_BYTES as u64 || held_bytes as u64 + bytes <= HELD_MAX_BYTES as u64
}

/// Whether so much can be held, too. Answers have messages that are larger than what a read may give, which are not cut.
pub fn has_room(bytes: usize, held_bytes: usize, max_bytes: usize) -> bool {
    bytes < COUNTED_BYTES || held_bytes + bytes <= max_bytes
}
