//! What the driver (`driver.rs`) has a shell do, and how that ended.

use super::links::Releasing;
use super::reports::Report;
use super::rotation::{Collection, Upload};
use super::segment_index::Delivery;
use crate::protocol::Millis;
use crate::protocol::fork::Told;
use crate::storage::Failure;

/// Something to be done outside of the object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Set the alarm, at once and in this turn: so it is stored together with what the turn has committed.
    SetAlarm(Millis),
    /// Come back in a later turn, when the requests that wait now have been answered.
    NextTurn,
    /// Put an object into the bucket.
    Put(Upload),
    /// Delete objects of the bucket, whether or not they are there.
    Delete(Collection),
    /// Have the segment index carry out all statements, or none.
    Index(Delivery),
    /// Tell a registry.
    Report(Report),
    /// Tell a source that a fork no longer needs it.
    Release(Releasing),
    /// Log it, at once.
    Log(Event),
}

/// How an effect ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Done,
    /// It was a call, and this is the answer.
    Told(Told),
    /// It failed, or nobody knows what became of it.
    Failed(Failure),
}

/// Something that happened in an object's own time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Failed(Failure),
    /// The stream had expired, and is gone.
    Reclaimed,
    /// The alarm was set for what comes next.
    Rearmed,
    Rotated {
        segment: u64,
    },
    Collected {
        through_segment: u64,
    },
    Indexed,
    Reported,
    Released,
}

impl Outcome {
    /// Whether it was done, where there is no more to know.
    pub(super) fn result(&self) -> Result<(), Failure> {
        match self {
            Outcome::Done | Outcome::Told(_) => Ok(()),
            Outcome::Failed(failure) => Err(failure.clone()),
        }
    }
}

impl From<Result<(), Failure>> for Outcome {
    fn from(done: Result<(), Failure>) -> Outcome {
        done.map_or_else(Outcome::Failed, |()| Outcome::Done)
    }
}
