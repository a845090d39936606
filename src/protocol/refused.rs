//! Turns a refusal into a reply: its body and its additional headers. Its status comes from `reply.rs`.

use serde_json::json;

use super::names::header;
use super::refusal::Refusal;
use super::reply::{RETRY_AFTER_SECONDS, Reply, status};
use super::subscription::refusal::SubscriptionRefusal;

/// The authentication challenge (RFC 6750, 3).
const CHALLENGE: &str = "Bearer realm=\"durable-streams\"";

impl Reply {
    /// 401: the application that decides about access (docs/library.md) did not allow the request.
    pub fn not_allowed() -> Reply {
        let refusal = Refusal::Unauthorized { given: false };
        let message =
            "The application does not allow this request: log in to it, or check its rules for this path.";
        Reply::new(status(&refusal)).with_error(refusal.code(), message)
    }

    /// The reply to a refused request.
    pub fn refused(refusal: &Refusal) -> Reply {
        let reply = with_body(refusal);
        match refusal {
            Refusal::MethodNotAllowed { allow } => reply.with(header::ALLOW, *allow),
            Refusal::Closed { tail } => reply.with_tail(*tail, true),
            Refusal::StreamSeqRegression { tail } | Refusal::UnexpectedOffset { tail } => {
                reply.with_tail(*tail, false)
            }
            Refusal::OffsetGone { earliest } => reply.with(header::STREAM_NEXT_OFFSET, earliest.to_string()),
            Refusal::StaleEpoch { current } => reply.with(header::PRODUCER_EPOCH, current.to_string()),
            Refusal::ProducerGap { expected, received } => reply
                .with(header::PRODUCER_EXPECTED_SEQ, expected.to_string())
                .with(header::PRODUCER_RECEIVED_SEQ, received.to_string()),
            Refusal::EncodedBody => reply.with(header::ACCEPT_ENCODING, "identity"),
            Refusal::TooManyReaders
            | Refusal::Busy { .. }
            | Refusal::TooManyForks
            | Refusal::SourceUnavailable
            | Refusal::KeysUnavailable => reply.with(header::RETRY_AFTER, RETRY_AFTER_SECONDS),
            Refusal::TooManyRequests { after_seconds } => {
                reply.with(header::RETRY_AFTER, after_seconds.to_string())
            }
            Refusal::Unauthorized { given: false } => reply.with(header::WWW_AUTHENTICATE, CHALLENGE),
            Refusal::Unauthorized { given: true }
            | Refusal::Subscription(SubscriptionRefusal::TokenInvalid | SubscriptionRefusal::TokenExpired) => {
                reply.with(header::WWW_AUTHENTICATE, format!("{CHALLENGE}, error=\"invalid_token\""))
            }
            Refusal::Forbidden { needs } => reply.with(
                header::WWW_AUTHENTICATE,
                format!("{CHALLENGE}, error=\"insufficient_scope\", scope=\"{needs}\""),
            ),
            Refusal::UnknownRoute
            | Refusal::InvalidPath { .. }
            | Refusal::NotImplemented { .. }
            | Refusal::InvalidHeader { .. }
            | Refusal::InvalidQuery { .. }
            | Refusal::NotFound
            | Refusal::ExistsWithOtherConfig { .. }
            | Refusal::Gone
            | Refusal::HeldByForks
            | Refusal::Fork(_)
            | Refusal::EmptyBody
            | Refusal::EmptyBatch
            | Refusal::InvalidJson { .. }
            | Refusal::BrokenBody
            | Refusal::BodyStalled
            | Refusal::BodyTooLarge { .. }
            | Refusal::MissingContentType
            | Refusal::ContentTypeMismatch { .. }
            | Refusal::EpochStartsAtZero
            | Refusal::ReadOnly
            | Refusal::NotConfigured { .. }
            | Refusal::Subscription(_)
            | Refusal::OffsetBeyondTail { .. } => reply,
        }
    }
}

/// The status and the body. Official clients read the texts of two conflicts.
fn with_body(refusal: &Refusal) -> Reply {
    let (reply, code, message) = (Reply::new(status(refusal)), refusal.code(), refusal.message());
    if matches!(refusal, Refusal::StreamSeqRegression { .. } | Refusal::UnexpectedOffset { .. }) {
        return reply.with_text(&message);
    }
    let Refusal::Subscription(SubscriptionRefusal::AlreadyClaimed { current_holder, generation }) = refusal
    else {
        return reply.with_error(code, &message);
    };
    let error = json!({ "code": code, "message": message, "current_holder": current_holder, "generation": generation });
    reply.with_json(&json!({ "error": error }))
}
