//! What the driver (`driver.rs`) has a shell do, and how that ended.

use super::reports::{Report, ToReport};
use super::rotation::{Collection, Upload};
use super::segment_index::Delivery;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::fork::Release;
use crate::storage::Failure;
use crate::storage::forks::Link;

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
    Call(Calling),
    /// Log it, at once.
    Log(LogEvent),
}

/// A call that nobody waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calling {
    /// The path of the one who is called.
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

/// What a call is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum About {
    /// A registry is told of the stream's lives.
    Report(Report),
    /// A source is told that a fork no longer needs it.
    Release(Link),
}

/// How an effect ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Done,
    /// It was a call.
    Answered(Answered),
    /// It failed, or nobody knows what became of it.
    Failed(Failure),
}

/// Something that happened in an object's own time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEvent {
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
