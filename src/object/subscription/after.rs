//! How a request to a subscription goes on, if its answer depends on what streams say.

use crate::protocol::subscription::answer::SubscriptionAnswer;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::request::WakeRequest;

/// How a request to a subscription goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Responded {
    Answer(SubscriptionAnswer),
    /// The lanes have to come to rest first, or `SETTLES_MAX` to pass; then `Object::go_on_after`.
    Settle(After),
}

/// What is answered when the lanes have come to rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    Created,
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
