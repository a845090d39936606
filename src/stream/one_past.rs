//! The offset one past another, in streams of bytes. `YjsServer` of the official client takes an offset from a
//! response, adds one to its position, and expects the data that the original offset would have returned.
//!
//! Therefore, an offset one byte inside a message means the beginning of that message. No response ends there,
//! so that it has no other meaning. All other offsets keep their meaning: the end of a one-byte message, and
//! the point where a fork leaves its source, may also be one past another offset. A message is one stored row:
//! an append, each MiB of a larger append, and for the last append before a fork only the part that the fork
//! has.

use crate::protocol::content_type::Format;
use crate::protocol::offset::Offset;

/// The start of a read from beyond the tail: the tail, if the offset is one past it; otherwise `None`.
pub fn beyond_tail(format: Format, offset: Offset, tail: Offset) -> Option<Offset> {
    let one_past = Offset { position: tail.position + 1, ..tail };
    (format != Format::Json && offset == one_past).then_some(tail)
}

/// The byte of a message at which a read begins that requests `position`; `begins` is the message's position.
pub fn begin_in_message(position: u64, begins: u64, message_bytes: usize) -> usize {
    let inside = usize::try_from(position.saturating_sub(begins)).unwrap_or(usize::MAX);
    if may_end_in_message(inside, message_bytes) { inside } else { 0 }
}

/// Whether a response may end after `inside` bytes of a message.
pub fn may_end_in_message(inside: usize, message_bytes: usize) -> bool {
    inside != 1 || message_bytes <= 1
}
