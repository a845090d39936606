//! The second step of a request to a subscription whose answer depends on its streams.

use crate::protocol::subscription::answer::SubscriptionAnswer;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::request::WakeRequest;

/// The result of the first step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Responded {
    Answer(SubscriptionAnswer),
    /// `Object::go_on_after` completes the request once the lanes are idle, or after `SETTLES_MAX`.
    Settle(After),
}

/// The request to complete once the lanes are idle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    Created,
    Confirmed,
    StreamsAdded,
    Claim { holder: String },
    Ack(WakeRequest),
    NextWake,
}

impl From<SubscriptionAnswer> for Responded {
    fn from(answer: SubscriptionAnswer) -> Responded {
        Responded::Answer(answer)
    }
}

impl From<SubscriptionRefusal> for Responded {
    fn from(refusal: SubscriptionRefusal) -> Responded {
        Responded::Answer(SubscriptionAnswer::Refused(refusal))
    }
}
