//! The effects that the driver (`driver.rs`) requests from a shell, and their outcomes.

use super::reports::{Report, ToReport};
use super::rotation::{Collection, Upload};
use super::segment_index::Delivery;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::fork::Release;
use crate::storage::Failure;
use crate::storage::forks::Link;
use crate::subscription::delivery::Delivered;

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
    /// Call several objects at the same time.
    Calls(Calls),
    /// Call the URL of a webhook.
    Post(Post),
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
    /// Change a subscription's pattern in the registry.
    Enlist { incarnation: u64, adds: bool },
    /// Report events of a subscription to the registry, up to this number.
    Events { through: u64 },
    /// Send the summary of a subscription to the registry.
    Summary,
    /// List streams that a new subscription may link.
    Page { incarnation: u64 },
    /// Append the wake event of a generation to the wake stream.
    WakeEvent { generation: u64 },
    /// Notify the subscriptions that watch the stream.
    Watchers,
    /// Exchange cursors and tails with the streams of a subscription.
    Watches,
}

/// Calls to several objects, each with the path of the object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calls {
    pub calls: Vec<(String, Call)>,
    pub about: About,
}

/// The answer to one of several calls.
pub type CallResult = Result<Answered, Failure>;

/// A delivery to a webhook (PROTOCOL.md 7.1). The shell signs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post {
    pub url: String,
    /// The URL of the control root that the creating client used, which names a host of this server.
    pub base: String,
    pub body: String,
    pub generation: u64,
    /// The registry whose key signs it.
    pub registry: String,
    /// How long the answer may take.
    pub time_max: Millis,
}

/// The outcome of an effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Done,
    /// The effect was a call.
    Answered(Answered),
    /// The effect was several calls; a result for each, in their order.
    AllAnswered(Vec<CallResult>),
    /// The effect was a delivery to a webhook.
    Delivered(Delivered),
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
    /// Subscriptions that watch the stream were notified.
    Notified,
    /// A wake was delivered to its webhook or its wake stream.
    Woken {
        generation: u64,
    },
    /// A subscription has made progress with its links or in the registry.
    Linked,
}

impl Outcome {
    /// Whether the effect succeeded, for effects without an answer.
    pub(super) fn result(&self) -> Result<(), Failure> {
        match self {
            Outcome::Done | Outcome::Answered(_) | Outcome::AllAnswered(_) | Outcome::Delivered(_) => Ok(()),
            Outcome::Failed(failure) => Err(failure.clone()),
        }
    }
}

impl Outcome {
    /// The answer to a call.
    pub(super) fn answer(&self, operation: &'static str) -> Result<&Answered, Failure> {
        match self {
            Outcome::Answered(answered) => Ok(answered),
            Outcome::Failed(failure) => Err(Failure::new(operation, &failure.cause)),
            Outcome::Done | Outcome::AllAnswered(_) | Outcome::Delivered(_) => {
                Err(Failure::new(operation, "the outcome does not match the call"))
            }
        }
    }

    /// The results of several calls.
    pub(super) fn results(&self) -> Result<&[CallResult], Failure> {
        match self {
            Outcome::AllAnswered(results) => Ok(results),
            Outcome::Failed(failure) => Err(failure.clone()),
            Outcome::Done | Outcome::Answered(_) | Outcome::Delivered(_) => {
                Err(Failure::new("call objects", "the outcome does not match the calls"))
            }
        }
    }
}

/// The answer does not match the call.
pub(super) fn mismatch(operation: &'static str) -> Failure {
    Failure::new(operation, "the answer does not match the call")
}

impl From<Result<(), Failure>> for Outcome {
    fn from(done: Result<(), Failure>) -> Outcome {
        done.map_or_else(Outcome::Failed, |()| Outcome::Done)
    }
}
