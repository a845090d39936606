//! Producers: whether an append is fresh, a duplicate, or refused (PROTOCOL.md 5.2.1). [`fence`] decides this
//! for open streams. On a closed stream, the only duplicate is the request that closed it: `append.rs` and
//! `close.rs` compare the request with [`Closure::ClosedBy`](super::Closure).

use crate::protocol::producer::Producer;
use crate::protocol::refusal::Refusal;

/// The stored state of a producer. Later states compare as greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProducerState {
    pub epoch: u64,
    /// The highest sequence accepted in the epoch.
    pub seq: u64,
}

impl ProducerState {
    /// The state after the request is accepted.
    pub fn of(request: &Producer) -> ProducerState {
        ProducerState { epoch: request.epoch, seq: request.seq }
    }
}

/// The result of fencing a producer's request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fenced {
    /// New: append, and store the producer's state.
    Fresh,
    /// Already accepted: repeat the answer, store nothing.
    Duplicate(ProducerState),
}

/// Compares a request with the stored state. An unknown producer must begin at sequence 0, like a new epoch. If
/// it does not, the refusal is a gap and not a 400, so that a client can retry pipelined batches that arrive
/// out of order.
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
