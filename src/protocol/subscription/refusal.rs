//! Every refusal of the subscription API (PROTOCOL.md 6 and 7). Refusals cross from the subscription's object to the
//! Worker, so variants are never removed or renamed.

use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SubscriptionRefusal {
    /// The body or the path is malformed.
    InvalidRequest {
        why: String,
    },
    /// The webhook's URL is not allowed (PROTOCOL.md 6.2).
    WebhookUrlRejected {
        why: String,
    },
    /// The wake token is missing, invalid, or of another subscription.
    TokenInvalid,
    /// The wake token has expired.
    TokenExpired,
    NotFound,
    /// A PUT with a different configuration (PROTOCOL.md 6.2).
    AlreadyExists,
    /// The wake has ended or never existed (PROTOCOL.md 7.3).
    Fenced,
    /// Another claim holds the lease (PROTOCOL.md 7.2).
    AlreadyClaimed {
        current_holder: String,
        generation: u64,
    },
    /// A claim found no linked stream with pending messages.
    NoPendingWork,
    /// An ack before the cursor, beyond the tail, or of a stream that is not linked.
    InvalidOffset {
        why: String,
    },
    /// A stream has the maximum number of watchers.
    TooManyWatchers {
        path: String,
    },
    /// The registry has the maximum number of patterns.
    TooManyPatterns,
    /// The subscription has the maximum number of explicit streams.
    TooManyStreams,
    /// The paths of the explicit streams have too many bytes together.
    StreamsTooLong,
    /// A pattern needs a registry, and the server has none.
    NoRegistry,
}

impl SubscriptionRefusal {
    pub fn invalid(why: impl Into<String>) -> SubscriptionRefusal {
        SubscriptionRefusal::InvalidRequest { why: why.into() }
    }

    /// The stable code in the error body. Clients compare it.
    pub fn code(&self) -> &'static str {
        match self {
            SubscriptionRefusal::InvalidRequest { .. } | SubscriptionRefusal::NoRegistry => "INVALID_REQUEST",
            SubscriptionRefusal::WebhookUrlRejected { .. } => "WEBHOOK_URL_REJECTED",
            SubscriptionRefusal::TokenInvalid => "TOKEN_INVALID",
            SubscriptionRefusal::TokenExpired => "TOKEN_EXPIRED",
            SubscriptionRefusal::NotFound => "SUBSCRIPTION_NOT_FOUND",
            SubscriptionRefusal::AlreadyExists => "SUBSCRIPTION_ALREADY_EXISTS",
            SubscriptionRefusal::Fenced => "FENCED",
            SubscriptionRefusal::AlreadyClaimed { .. } => "ALREADY_CLAIMED",
            SubscriptionRefusal::NoPendingWork => "NO_PENDING_WORK",
            SubscriptionRefusal::InvalidOffset { .. } => "INVALID_OFFSET",
            SubscriptionRefusal::TooManyWatchers { .. }
            | SubscriptionRefusal::TooManyPatterns
            | SubscriptionRefusal::TooManyStreams
            | SubscriptionRefusal::StreamsTooLong => "LIMIT_EXCEEDED",
        }
    }

    /// The error message: the mistake and its correction.
    pub fn message(&self) -> String {
        match self {
            SubscriptionRefusal::InvalidRequest { why } => format!("The request is invalid: {why}."),
            SubscriptionRefusal::WebhookUrlRejected { why } => {
                format!("The webhook's URL is not allowed: {why}.")
            }
            SubscriptionRefusal::TokenInvalid => {
                "Authorization must have the token of this wake: Bearer <token>.".to_owned()
            }
            SubscriptionRefusal::TokenExpired => "The token has expired: wait for the next wake.".to_owned(),
            SubscriptionRefusal::NotFound => "There is no such subscription.".to_owned(),
            SubscriptionRefusal::AlreadyExists => {
                "The subscription exists with another configuration: change it with \
                 PATCH, or delete it first."
                    .to_owned()
            }
            SubscriptionRefusal::Fenced => {
                "This wake is over: its wake_id, generation or token is not the current one.".to_owned()
            }
            SubscriptionRefusal::AlreadyClaimed { .. } => {
                "Another worker holds the lease: wait for the next wake event.".to_owned()
            }
            SubscriptionRefusal::NoPendingWork => {
                "No linked stream has messages after its cursor.".to_owned()
            }
            SubscriptionRefusal::InvalidOffset { why } => {
                format!("An ack is invalid, and none was applied: {why}.")
            }
            SubscriptionRefusal::TooManyWatchers { path } => {
                format!("The stream {path} has 64 subscriptions, which is the most it can have.")
            }
            SubscriptionRefusal::TooManyPatterns => {
                "There are 1,000 subscriptions with patterns, which is the most there can be.".to_owned()
            }
            SubscriptionRefusal::TooManyStreams => {
                "A subscription has 10,000 explicit streams at most: use a pattern.".to_owned()
            }
            SubscriptionRefusal::StreamsTooLong => {
                "The paths in streams have more than 524,288 bytes together: add some of them with \
                 POST .../streams, or use a pattern."
                    .to_owned()
            }
            SubscriptionRefusal::NoRegistry => {
                "The server has no registry (REGISTRY_STREAM is off), so it cannot \
                 find streams by a pattern: name them in streams."
                    .to_owned()
            }
        }
    }
}
