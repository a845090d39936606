//! The end of a stream: DELETE (PROTOCOL.md 5.4) and expiry (5.1).

use super::{Ended, Stream};

/// The record that remains after a deletion or expiry.
pub fn delete(stream: &Stream) -> Ended {
    Ended { incarnation: stream.incarnation, next_segment: stream.tail.segment + 1 }
}
