//! The effects that the driver (`driver.rs`) requests from a shell, and their outcomes.

use super::reports::{Report, ToReport};
use super::rotation::{Collection, Upload};
use super::segment_index::Delivery;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::fork::Release;
use crate::storage::Failure;
use crate::storage::forks::Link;

/// Work outside the object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Set the alarm at once in this turn, so that it is stored together with the turn's commits.
    SetAlarm(Millis),
    /// Continue in a later turn, after the requests that wait now are answered.
    NextTurn,
    /// Upload an object to the bucket.
    Put(Upload),
    /// Delete objects from the bucket. A missing object is no failure.
    Delete(Collection),
    /// Run all statements in the segment index, or none.
    Index(Delivery),
    Call(Calling),
    /// Log the event at once.
    Log(LogEvent),
}

/// A call whose answer no request waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calling {
    /// The path of the stream to call.
    pub to: String,
    pub call: Call,
    pub about: About,
}

impl Calling {
    pub(super) fn report(ToReport { registry, record, report }: ToReport) -> Calling {
        Calling { to: registry, call: Call::Record(record), about: About::Report(report) }
    }

    pub(super) fn release(link: Link) -> Calling {
        let release = Release { link: link.id.clone(), valid_until: link.valid_until };
        Calling { to: link.source.clone(), call: Call::Release(release), about: About::Release(link) }
    }
}

/// The purpose of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum About {
    /// Report the stream's incarnations to the registry.
    Report(Report),
    /// Notify a source that a fork no longer needs it.
    Release(Link),
}

/// The outcome of an effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Done,
    /// The effect was a call.
    Answered(Answered),
    /// The effect failed, or its outcome is unknown.
    Failed(Failure),
}

/// An event in the background that is logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEvent {
    Failed(Failure),
    /// The stream has expired and was ended.
    Reclaimed,
    /// The alarm was set for the next work.
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
    /// Whether the effect succeeded, for effects without an answer.
    pub(super) fn result(&self) -> Result<(), Failure> {
        match self {
            Outcome::Done | Outcome::Answered(_) => Ok(()),
            Outcome::Failed(failure) => Err(failure.clone()),
        }
    }
}

impl From<Result<(), Failure>> for Outcome {
    fn from(done: Result<(), Failure>) -> Outcome {
        done.map_or_else(Outcome::Failed, |()| Outcome::Done)
    }
}
