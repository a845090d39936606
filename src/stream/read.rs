//! The start of a read (PROTOCOL.md 5.6, 8).

use super::{Stream, one_past};
use crate::protocol::offset::{Offset, ReadFrom};
use crate::protocol::refusal::Refusal;

/// The offset at which a read begins; `None` if storage must be searched for it. Refuses offsets before the first
/// retained message and after the tail.
pub fn begin(stream: &Stream, from: ReadFrom) -> Result<Option<Offset>, Refusal> {
    match from {
        ReadFrom::Start => Ok(Some(stream.start())),
        ReadFrom::Now => Ok(Some(stream.tail)),
        ReadFrom::Since(_) | ReadFrom::Last(_) => Ok(None),
        ReadFrom::At(offset) if offset < stream.start() => {
            Err(Refusal::OffsetGone { earliest: stream.start() })
        }
        ReadFrom::At(offset) if offset > stream.tail => {
            let beyond = Refusal::OffsetBeyondTail { tail: stream.tail };
            one_past::beyond_tail(stream.content_type.format(), offset, stream.tail).map(Some).ok_or(beyond)
        }
        ReadFrom::At(offset) => Ok(Some(offset)),
    }
}
