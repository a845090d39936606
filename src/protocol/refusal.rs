//! Every way the protocol says no. What went wrong on our side is a `Failure` (storage) and never one of these.

use super::fork_refusal::ForkRefusal;
use super::offset::Offset;

/// A request that is answered with a 4xx, or with a 501 or 503 that is part of the contract. Its status stands
/// in `reply.rs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No part of the server has this URL.
    UnknownRoute,
    /// The stream path is malformed.
    InvalidPath {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The URL has no such method.
    MethodNotAllowed {
        /// The methods it has.
        allow: &'static str,
    },
    /// A part of the protocol that this server does not have yet.
    NotImplemented { what: &'static str },
    /// A header is malformed or contradicts another.
    InvalidHeader {
        name: &'static str,
        /// What it must be.
        why: &'static str,
    },
    /// A query parameter is malformed, missing or given twice.
    InvalidQuery {
        name: &'static str,
        /// What it must be.
        why: &'static str,
    },
    /// The stream does not exist (any more).
    NotFound,
    /// PUT on a stream that is configured otherwise (PROTOCOL.md 5.1).
    ExistsWithOtherConfig { what: &'static str },
    /// The stream was deleted, and only its forks can still be read (PROTOCOL.md 4.2).
    Gone,
    /// PUT at the URL of such a stream.
    HeldByForks,
    /// PUT of a fork that cannot be created.
    Fork(ForkRefusal),
    /// The stream is being created as a fork too many times at once.
    TooManyForks,
    /// A stream that is asked before a fork is created did not answer, or not in a way that this build knows.
    SourceUnavailable,
    /// A body that holds nothing (PROTOCOL.md 5.2).
    EmptyBody,
    /// A JSON batch that holds nothing (PROTOCOL.md 9.1.3).
    EmptyBatch,
    /// A body that is not JSON (PROTOCOL.md 9.1.4).
    InvalidJson {
        /// What the parser says.
        why: String,
    },
    /// A body that ends before it should: its sender went away.
    BrokenBody,
    /// A body whose sender makes no progress.
    BodyStalled,
    /// A body above the limit.
    BodyTooLarge { max_bytes: u64 },
    /// A body with a `Content-Encoding`.
    EncodedBody,
    /// An append without a content type.
    MissingContentType,
    /// An append of another type than the stream's.
    ContentTypeMismatch { expected: String },
    /// An append to a closed stream (PROTOCOL.md 5.2).
    Closed { tail: Offset },
    /// `Stream-Seq` did not grow (PROTOCOL.md 5.2).
    StreamSeqRegression {
        /// The tail, from which the writer goes on.
        tail: Offset,
    },
    /// The tail is not the one that `Stream-Expected-Offset` names.
    UnexpectedOffset { tail: Offset },
    /// A producer with a stale epoch (PROTOCOL.md 5.2.1).
    StaleEpoch {
        /// The current epoch of the producer.
        current: u64,
    },
    /// A new epoch that does not begin at sequence 0.
    EpochStartsAtZero,
    /// A producer's request before its predecessor.
    ProducerGap {
        /// The sequence that is next.
        expected: u64,
        /// The one that came.
        received: u64,
    },
    /// An offset that the stream has not reached.
    OffsetBeyondTail { tail: Offset },
    /// An offset of data that is no longer there: of an earlier incarnation of this URL, or older than the retention keeps.
    OffsetGone {
        /// The first offset there is.
        earliest: Offset,
    },
    /// The stream has as many live readers as it can hold.
    TooManyReaders,
    /// Data buffered for other clients leaves no room for this.
    Busy { why: &'static str },
    /// A write to a stream that the server writes itself.
    ReadOnly,
    /// No token, or none that is valid. The answer does not say whether there is a stream.
    Unauthorized {
        /// Whether there was one.
        given: bool,
    },
    /// A token that does not allow this.
    Forbidden {
        /// The scope that would allow it, in a token for this stream.
        needs: &'static str,
    },
    /// More requests than a token, or more streams than a project, may make in a while.
    TooManyRequests {
        /// When to try again, in seconds.
        after_seconds: u64,
    },
    /// The server cannot check the token at the moment.
    KeysUnavailable,
    /// Access control is not configured, or its configuration cannot be read.
    NotConfigured { why: String },
}

const ENCODED_BODY: &str = "The body has a Content-Encoding, which the server does not decode: send it unencoded, without that header.";
const GONE: &str = "The stream was deleted; only its forks can still be read.";
const HELD_BY_FORKS: &str = "The stream was deleted but has forks: use another URL until they are deleted.";
const TOO_MANY_FORKS: &str = "This fork is being created too many times at once: try again in a moment.";
const SOURCE_UNAVAILABLE: &str =
    "The stream at Stream-Forked-From did not answer, so nothing was created: send the same request again.";
const TOO_MANY_READERS: &str = "The stream has all the live readers it can hold: try again later.";
/// Why there is no room for an answer.
pub const TOO_MUCH_IS_HELD: &str =
    "Clients of this project have not read their responses yet, and there is no room for this one";
/// Why there is no room for a body.
pub const TOO_MUCH_IS_COMING: &str =
    "The server is receiving as much as it can hold, and nothing of this was stored";
/// The whole body of that refusal: official clients look for these words.
const SEQUENCE_CONFLICT: &str = "Sequence conflict";
/// The whole body of that refusal.
const EXPECTED_OFFSET_CONFLICT: &str = "Expected offset conflict";
const KEYS_UNAVAILABLE: &str = "The token's project cannot be looked up now: try again later.";

impl Refusal {
    /// A word for programs, stable between versions.
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

    /// A sentence for people: what to change.
    pub fn message(&self) -> String {
        match self {
            Refusal::UnknownRoute => "Nothing is here: streams are at /v1/stream/<path>.".into(),
            Refusal::InvalidPath { why } => format!("The stream's path cannot be used: {why}."),
            Refusal::MethodNotAllowed { allow } => format!("This URL takes {allow}."),
            Refusal::NotImplemented { what } => format!("This server does not have {what} yet."),
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
            Refusal::MissingContentType => "Send Content-Type, the same as the stream's.".into(),
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
            Refusal::OffsetGone { earliest } => {
                format!("The data at this offset is gone; the stream now begins at {earliest}.")
            }
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

fn stale_epoch(current: u64) -> String {
    format!("A newer life of this producer has epoch {current}: this one must stop.")
}

fn unauthorized(given: bool) -> &'static str {
    if given {
        "The token is not valid: it may have expired, or be signed with another key."
    } else {
        "A token is needed: send Authorization: Bearer <token>."
    }
}
