//! Producers: whether an append is fresh, a duplicate, or refused (PROTOCOL.md 5.2.1). [`fence`] decides that for open streams.
//! On a closed one the only duplicate is the request that closed it: `append.rs` and `close.rs` compare it with
//! [`Closure::ClosedBy`](super::Closure).

use crate::protocol::producer::Producer;
use crate::protocol::refusal::Refusal;

/// What storage knows of a producer.
///
/// The later state of a producer is the greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProducerState {
    pub epoch: u64,
    /// The highest sequence accepted in it.
    pub seq: u64,
}

impl ProducerState {
    /// What is known of a producer once its request is accepted.
    pub fn of(request: &Producer) -> ProducerState {
        ProducerState { epoch: request.epoch, seq: request.seq }
    }
}

/// Whether a producer's request is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fenced {
    /// New: append, and remember it.
    Fresh,
    /// Accepted before: answer again, store nothing.
    Duplicate(ProducerState),
}

/// Compares a request with the known state. An unknown producer must begin at 0, like any new epoch. Otherwise the answer is a
/// gap and not a 400, so that pipelined batches that arrive in the wrong order can be sent again.
pub fn fence(known: Option<ProducerState>, request: &Producer) -> Result<Fenced, Refusal> {
    let Producer { epoch, seq, .. } = *request;
    let gap = |expected| Err(Refusal::ProducerGap { expected, received: seq });
    let Some(state) = known else {
        return if seq == 0 { Ok(Fenced::Fresh) } else { gap(0) };
    };
    if epoch < state.epoch {
        Err(Refusal::StaleEpoch { current: state.epoch })
    } else if epoch > state.epoch {
        if seq == 0 { Ok(Fenced::Fresh) } else { Err(Refusal::EpochStartsAtZero) }
    } else if seq <= state.seq {
        Ok(Fenced::Duplicate(state))
    } else if seq == state.seq + 1 {
        Ok(Fenced::Fresh)
    } else {
        gap(state.seq + 1)
    }
}
