//! Delete: DELETE, and expiry (PROTOCOL.md 5.4, 5.1).

use super::{Ended, Stream};

/// What is left of a stream that was deleted or has expired.
pub fn delete(stream: &Stream) -> Ended {
    Ended { incarnation: stream.incarnation, next_segment: stream.tail.segment + 1 }
}
