//! The offset one past another, in streams of bytes: `YjsServer` of the official client takes an offset that a response gave,
//! adds one to its position, and expects to read what that offset would have read.
//!
//! An offset one byte inside a message therefore means the message's beginning. So that it means nothing else, no response
//! ends there. Everything else an offset may be is unchanged: the end of a message of one byte, and the point where a fork
//! leaves its source, are one past another offset and mean what they say. A message is what is stored as one, as far as the
//! stream has it: an append, of a larger one each MiB, and of the last one before a fork only what the fork has.

use crate::protocol::content_type::Format;
use crate::protocol::offset::Offset;

/// Where a read begins that asks for an offset beyond the tail: one past it is the tail, and nothing else is anywhere.
pub fn beyond_tail(format: Format, offset: Offset, tail: Offset) -> Option<Offset> {
    let one_past = Offset { position: tail.position + 1, ..tail };
    (format != Format::Json && offset == one_past).then_some(tail)
}

/// Which byte of a message a read begins with that asks for a position at or after the message's beginning.
pub fn begin_in_message(position: u64, begins: u64, message_bytes: usize) -> usize {
    let inside = usize::try_from(position.saturating_sub(begins)).unwrap_or(usize::MAX);
    if may_end_in_message(inside, message_bytes) { inside } else { 0 }
}

/// Whether a response may end after so many bytes of a message.
pub fn may_end_in_message(inside: usize, message_bytes: usize) -> bool {
    inside != 1 || message_bytes <= 1
}
