//! Close: POST without a body (PROTOCOL.md 5.3, and 5.2.1 for producers).

use super::producer::{Fenced, ProducerState, fence};
use super::{Closure, Stream};
use crate::protocol::command::Close;
use crate::protocol::refusal::Refusal;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    Close,
    /// The stream is already closed, which satisfies the request.
    AlreadyClosed,
    /// Already accepted: repeat the answer, store nothing.
    Duplicate(ProducerState),
}

pub fn close(stream: &Stream, known: Option<ProducerState>, request: &Close) -> Result<Closing, Refusal> {
    match (&stream.closure, &request.producer) {
        (Closure::Open, producer) => {
            if let Some(producer) = producer
                && let Fenced::Duplicate(state) = fence(known, producer)?
            {
                return Ok(Closing::Duplicate(state));
            }
            stream.expect_tail(request.expected_offset)?;
            Ok(Closing::Close)
        }
        (Closure::Closed | Closure::ClosedBy(_), None) => Ok(Closing::AlreadyClosed),
        (Closure::ClosedBy(closer), Some(producer)) if closer == producer => {
            Ok(Closing::Duplicate(ProducerState { epoch: producer.epoch, seq: producer.seq }))
        }
        (Closure::Closed | Closure::ClosedBy(_), Some(_)) => Err(Refusal::Closed { tail: stream.tail }),
    }
}
