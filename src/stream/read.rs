//! The start of a read (PROTOCOL.md 5.6, 8).

use super::{Stream, one_past};
use crate::protocol::offset::{Offset, ReadFrom};
use crate::protocol::refusal::Refusal;

/// The offset at which a read begins. Refuses offsets before the first retained message and after the tail.
pub fn begin(stream: &Stream, from: ReadFrom) -> Result<Offset, Refusal> {
    match from {
        ReadFrom::Start => Ok(stream.start()),
        ReadFrom::Now => Ok(stream.tail),
        ReadFrom::At(offset) if offset < stream.start() => {
            Err(Refusal::OffsetGone { earliest: stream.start() })
        }
        ReadFrom::At(offset) if offset > stream.tail => {
            let beyond = Refusal::OffsetBeyondTail { tail: stream.tail };
            one_past::beyond_tail(stream.content_type.format(), offset, stream.tail).ok_or(beyond)
        }
        ReadFrom::At(offset) => Ok(offset),
    }
}
