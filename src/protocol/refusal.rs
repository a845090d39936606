//! All refusals: the answers that the protocol gives to requests it does not accept. An error of the server
//! itself is a `Failure` (storage) and never a refusal.

use super::fork_refusal::ForkRefusal;
use super::offset::Offset;

/// A request that the server answers with a 4xx, or with a 501 or 503 that the protocol defines. `reply.rs`
/// maps each variant to its status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The URL belongs to no part of the server.
    UnknownRoute,
    /// The stream path is malformed.
    InvalidPath { why: &'static str },
    /// The URL does not support the method.
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: &'static str,
    },
    /// A part of the server that is missing or turned off.
    NotImplemented { what: &'static str },
    /// A header is malformed or contradicts another.
    InvalidHeader {
        name: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A query parameter is malformed, missing or given twice.
    InvalidQuery {
        name: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The stream does not exist, or no longer exists.
    NotFound,
    /// PUT on a stream with another configuration (PROTOCOL.md 5.1).
    ExistsWithOtherConfig { what: &'static str },
    /// The stream was deleted, and only its forks can be read (PROTOCOL.md 4.2).
    Gone,
    /// PUT at the URL of a deleted stream that still has forks.
    HeldByForks,
    /// PUT of a fork that cannot be created.
    Fork(ForkRefusal),
    /// Too many concurrent requests create this stream as a fork.
    TooManyForks,
    /// The source or an owner did not answer the creation of a fork, or answered in a way that this build does
    /// not know.
    SourceUnavailable,
    /// An empty body (PROTOCOL.md 5.2).
    EmptyBody,
    /// An empty JSON batch (PROTOCOL.md 9.1.3).
    EmptyBatch,
    /// A body that is not JSON (PROTOCOL.md 9.1.4).
    InvalidJson {
        /// The message of the JSON parser.
        why: String,
    },
    /// A body that ended early because its sender disconnected.
    BrokenBody,
    /// A body that made no progress for too long.
    BodyStalled,
    /// A body larger than `max_bytes`.
    BodyTooLarge { max_bytes: u64 },
    /// A body with a `Content-Encoding`.
    EncodedBody,
    /// An append without `Content-Type`.
    MissingContentType,
    /// An append of another type than the stream's.
    ContentTypeMismatch { expected: String },
    /// An append to a closed stream (PROTOCOL.md 5.2).
    Closed { tail: Offset },
    /// `Stream-Seq` did not grow (PROTOCOL.md 5.2).
    StreamSeqRegression {
        /// The tail, from which the writer can continue.
        tail: Offset,
    },
    /// The tail differs from `Stream-Expected-Offset`.
    UnexpectedOffset { tail: Offset },
    /// A producer with a stale epoch (PROTOCOL.md 5.2.1).
    StaleEpoch {
        /// The producer's current epoch.
        current: u64,
    },
    /// A new epoch whose first sequence is not 0 (PROTOCOL.md 5.2.1).
    EpochStartsAtZero,
    /// A producer's request that skips a sequence (PROTOCOL.md 5.2.1).
    ProducerGap {
        /// The next sequence that the server accepts.
        expected: u64,
        /// The sequence in the request.
        received: u64,
    },
    /// An offset after the tail.
    OffsetBeyondTail { tail: Offset },
    /// An offset of data that no longer exists: it belongs to an earlier incarnation, or retention dropped it.
    OffsetGone {
        /// The first offset that still has data.
        earliest: Offset,
    },
    /// The stream has its maximum of live readers.
    TooManyReaders,
    /// Data buffered for other clients leaves no memory for this request or its response.
    Busy { why: &'static str },
    /// A write to a registry, which only the server writes.
    ReadOnly,
    /// No valid token. The answer does not reveal whether the stream exists.
    Unauthorized {
        /// Whether the request has a token.
        given: bool,
    },
    /// A valid token that does not allow the request.
    Forbidden {
        /// The scope that is missing for this stream.
        needs: &'static str,
    },
    /// A token or an address makes more requests, or a project creates more streams, than its rate limit
    /// allows.
    TooManyRequests {
        /// Seconds until a retry can succeed.
        after_seconds: u64,
    },
    /// The server cannot verify the token at the moment.
    KeysUnavailable,
    /// Access control is not configured, or its configuration cannot be read.
    NotConfigured { why: String },
}

const ENCODED_BODY: &str = "The body has a Content-Encoding, which the server does not decode: send it unencoded, without that header.";
const GONE: &str = "The stream was deleted and only its forks remain: read one of them, or use another URL.";
const HELD_BY_FORKS: &str = "The stream was deleted but has forks: use another URL until they are deleted.";
const TOO_MANY_FORKS: &str = "Too many concurrent requests create this fork: try again in a moment.";
const SOURCE_UNAVAILABLE: &str =
    "The stream at Stream-Forked-From did not answer, so nothing was created: send the same request again.";
const TOO_MANY_READERS: &str = "The stream has all the live readers it can hold: try again later.";
/// Busy: unread responses leave no memory for another one.
pub const TOO_MUCH_IS_HELD: &str =
    "Clients of this project have not read their responses yet, and there is no room for this one";
/// Busy: bodies that are being received leave no memory for another one.
pub const TOO_MUCH_IS_COMING: &str =
    "The server has no memory for another request body, and nothing of this one was stored";
/// The whole body of a `Stream-Seq` conflict: official clients look for these words.
const SEQUENCE_CONFLICT: &str = "Sequence conflict";
/// The whole body of a `Stream-Expected-Offset` conflict.
const EXPECTED_OFFSET_CONFLICT: &str = "Expected offset conflict";
const KEYS_UNAVAILABLE: &str = "The keys that verify the token cannot be looked up now: try again later.";

impl Refusal {
    /// A stable error code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::UnknownRoute => "unknown_route",
            Refusal::InvalidPath { .. } => "invalid_path",
            Refusal::MethodNotAllowed { .. } => "method_not_allowed",
            Refusal::NotImplemented { .. } => "not_implemented",
            Refusal::InvalidHeader { .. } => "invalid_header",
            Refusal::InvalidQuery { .. } => "invalid_query",
            Refusal::NotFound => "stream_not_found",
            Refusal::ExistsWithOtherConfig { .. } => "stream_exists",
            Refusal::Gone => "stream_gone",
            Refusal::HeldByForks => "held_by_forks",
            Refusal::Fork(refusal) => refusal.code(),
            Refusal::TooManyForks => "too_many_forks",
            Refusal::SourceUnavailable => "source_unavailable",
            Refusal::EmptyBody => "empty_body",
            Refusal::EmptyBatch => "empty_batch",
            Refusal::InvalidJson { .. } => "invalid_json",
            Refusal::BrokenBody => "broken_body",
            Refusal::BodyStalled => "body_stalled",
            Refusal::BodyTooLarge { .. } => "body_too_large",
            Refusal::EncodedBody => "encoded_body",
            Refusal::MissingContentType => "missing_content_type",
            Refusal::ContentTypeMismatch { .. } => "content_type_mismatch",
            Refusal::Closed { .. } => "stream_closed",
            Refusal::StreamSeqRegression { .. } => "stream_seq_regression",
            Refusal::UnexpectedOffset { .. } => "unexpected_offset",
            Refusal::StaleEpoch { .. } => "stale_epoch",
            Refusal::EpochStartsAtZero => "epoch_starts_at_zero",
            Refusal::ProducerGap { .. } => "producer_gap",
            Refusal::OffsetBeyondTail { .. } => "offset_beyond_tail",
            Refusal::OffsetGone { .. } => "offset_gone",
            Refusal::TooManyReaders => "too_many_readers",
            Refusal::Busy { .. } => "busy",
            Refusal::ReadOnly => "read_only",
            Refusal::Unauthorized { .. } => "unauthorized",
            Refusal::Forbidden { .. } => "forbidden",
            Refusal::TooManyRequests { .. } => "too_many_requests",
            Refusal::KeysUnavailable => "keys_unavailable",
            Refusal::NotConfigured { .. } => "not_configured",
        }
    }

    /// A sentence that says what was wrong and what to change.
    pub fn message(&self) -> String {
        match self {
            Refusal::UnknownRoute => "Nothing is here: streams are at /v1/stream/<path>.".into(),
            Refusal::InvalidPath { why } => format!("The stream's path cannot be used: {why}."),
            Refusal::MethodNotAllowed { allow } => format!("This URL allows only {allow}."),
            Refusal::NotImplemented { what } => format!("This server does not have {what}."),
            Refusal::InvalidHeader { name, why } => format!("The header {name} cannot be used: {why}."),
            Refusal::InvalidQuery { name, why } => {
                format!("The query parameter {name} cannot be used: {why}.")
            }
            Refusal::NotFound => "There is no stream at this URL: create it with PUT.".into(),
            Refusal::ExistsWithOtherConfig { what } => {
                format!("The stream exists with another {what}: use that, or another URL.")
            }
            Refusal::Gone => GONE.into(),
            Refusal::HeldByForks => HELD_BY_FORKS.into(),
            Refusal::Fork(refusal) => refusal.message(),
            Refusal::TooManyForks => TOO_MANY_FORKS.into(),
            Refusal::SourceUnavailable => SOURCE_UNAVAILABLE.into(),
            Refusal::EmptyBody => "The body is empty: send data, or Stream-Closed: true to close.".into(),
            Refusal::EmptyBatch => "The batch is empty: send an array with at least one message.".into(),
            Refusal::InvalidJson { why } => format!("The body must be JSON: {why}."),
            Refusal::BrokenBody => "The body ended too early: send the whole of it again.".into(),
            Refusal::BodyStalled => "The body made no progress: send the whole of it again.".into(),
            Refusal::BodyTooLarge { max_bytes } => {
                format!("The body must be at most {max_bytes} bytes: send it in parts.")
            }
            Refusal::EncodedBody => ENCODED_BODY.into(),
            Refusal::MissingContentType => "Content-Type is missing: send the stream's type.".into(),
            Refusal::ContentTypeMismatch { expected } => {
                format!("The stream's Content-Type is {expected}: send that.")
            }
            Refusal::Closed { .. } => "The stream is closed: nothing can be appended any more.".into(),
            Refusal::StreamSeqRegression { .. } => SEQUENCE_CONFLICT.into(),
            Refusal::UnexpectedOffset { .. } => EXPECTED_OFFSET_CONFLICT.into(),
            Refusal::StaleEpoch { current } => stale_epoch(*current),
            Refusal::EpochStartsAtZero => "A new Producer-Epoch must begin with Producer-Seq: 0.".into(),
            Refusal::ProducerGap { expected, received } => {
                format!(
                    "Producer-Seq {received} came before {expected}: send {expected} first, then this again."
                )
            }
            Refusal::OffsetBeyondTail { tail } => {
                format!("The offset is beyond the stream's tail, {tail}: use one that a response gave.")
            }
            Refusal::OffsetGone { earliest } => offset_gone(*earliest),
            Refusal::TooManyReaders => TOO_MANY_READERS.into(),
            Refusal::Busy { why } => format!("{why}: try again later."),
            Refusal::ReadOnly => "The server writes this stream itself: it can only be read.".into(),
            Refusal::Unauthorized { given } => unauthorized(*given).into(),
            Refusal::Forbidden { needs } => {
                format!("The token does not allow this: it needs the scope {needs} for this stream.")
            }
            Refusal::TooManyRequests { after_seconds } => {
                format!("That is too often: try again in {after_seconds} seconds.")
            }
            Refusal::KeysUnavailable => KEYS_UNAVAILABLE.into(),
            Refusal::NotConfigured { why } => format!("This server is locked: {why}."),
        }
    }
}

fn offset_gone(earliest: Offset) -> String {
    format!("The data at this offset no longer exists: read on from Stream-Next-Offset, {earliest}.")
}

fn stale_epoch(current: u64) -> String {
    format!("Producer-Epoch is stale, because the producer now has epoch {current}: stop this instance.")
}

fn unauthorized(given: bool) -> &'static str {
    if given {
        "The token is not valid, has expired or is signed with an unknown key: get a new one."
    } else {
        "A token is needed: send Authorization: Bearer <token>."
    }
}
