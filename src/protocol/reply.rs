//! Replies: the only file that writes status codes. Every reply has the browser security headers (PROTOCOL.md
//! 12.7) and a `Cache-Control`, because no other code can build one.

use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::browser::{COMMON, SAVED};
use super::cache_policy::{Audience, CachePolicy, KEY_SET};
use super::content_type::ContentType;
use super::cors::{EXPOSED, PREFLIGHT, allowed_headers};
use super::fork_refusal::ForkRefusal;
use super::lifetime::{Lifetime, rfc3339};
use super::names::{TRUE, header};
use super::offset::Offset;
use super::producer::Producer;
use super::read_head::ReadHead;
use super::refusal::Refusal;
use super::retention::Retention;
use super::subscription::answer::SubscriptionAnswer;
use super::subscription::keys::{PublicKey, key_set};
use super::subscription::refusal::SubscriptionRefusal;

/// `Retry-After` of a 503, in seconds.
pub(super) const RETRY_AFTER_SECONDS: &str = "5";

/// A response, independent of the platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    pub status: StatusCode,
    /// Lower-case names with their values, each name once.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty where the status has none.
    pub body: Vec<u8>,
}

impl Reply {
    /// The headers: names and values in turn, each followed by a line feed, which no header can contain.
    pub fn header_lines(&self) -> String {
        let mut lines = String::with_capacity(1024);
        for (name, value) in &self.headers {
            lines.push_str(name);
            lines.push('\n');
            lines.push_str(value);
            lines.push('\n');
        }
        lines
    }

    /// The status of a response that carries a socket.
    pub const SWITCHING: StatusCode = StatusCode::SWITCHING_PROTOCOLS;
    /// The status of an SSE response.
    pub const EVENTS: StatusCode = StatusCode::OK;
    /// The status that an object gives to a client without access.
    pub const UNKNOWN: StatusCode = StatusCode::UNAUTHORIZED;
    /// Whether the status is a 4xx.
    pub fn is_refusal(status: u16) -> bool {
        StatusCode::from_u16(status).is_ok_and(|status| status.is_client_error())
    }

    /// The status of an answer for which there is no memory or no object: retry later.
    pub const LATER: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    /// The status of an object's answer to a call, with bytes.
    pub const ANSWERED: StatusCode = StatusCode::OK;
    /// The status of a read with its bytes.
    pub const BYTES: StatusCode = StatusCode::OK;
    /// The status of a long-poll that timed out.
    pub const NOTHING_NEW: StatusCode = StatusCode::NO_CONTENT;

    /// A reply with `no-store`.
    pub(super) fn new(status: StatusCode) -> Reply {
        Reply::made(status, CachePolicy::Never.header(Audience::Everyone))
    }

    /// A read. Caches may serve it to other clients, so its CORS headers must not depend on the request.
    fn to(audience: Audience, status: StatusCode, cache: CachePolicy) -> Reply {
        let reply = Reply::made(status, cache.header(audience));
        match audience {
            Audience::Everyone => reply.with_any_origin(),
            Audience::Public | Audience::Holders => reply.with(header::VARY, "Origin"),
        }
    }

    pub(super) fn made(status: StatusCode, cache_control: String) -> Reply {
        let mut headers = Vec::with_capacity(16);
        headers.extend(COMMON.map(|(name, value)| (name, value.to_owned())));
        headers.push((header::CACHE_CONTROL, cache_control));
        Reply { status, headers, body: Vec::new() }
    }

    /// Lets scripts of every site read the reply.
    pub fn with_any_origin(self) -> Reply {
        if self.header(header::ALLOW_ORIGIN).is_some() {
            return self;
        }
        self.with(header::ALLOW_ORIGIN, "*").with(header::EXPOSE_HEADERS, EXPOSED)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    fn with_some(self, name: &'static str, value: Option<impl Into<String>>) -> Reply {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn with_content_type(self, content_type: &ContentType) -> Reply {
        let saved = (!content_type.is_inert()).then_some(SAVED);
        self.with(header::CONTENT_TYPE, content_type.as_str()).with_some(header::CONTENT_DISPOSITION, saved)
    }

    /// Adds the stream's reader key, for clients that may read it.
    pub fn with_reader_key(self, reader_key: Option<String>) -> Reply {
        self.with_some(header::STREAM_READER_KEY, reader_key)
    }

    /// Adds the stream's own retention.
    pub fn with_retention(self, retention: Option<Retention>) -> Reply {
        self.with_some(header::STREAM_RETENTION, retention.map(|retention| retention.to_string()))
    }

    fn with_flag(self, name: &'static str, set: bool) -> Reply {
        if set { self.with(name, TRUE) } else { self }
    }

    pub(super) fn with_tail(self, tail: Offset, closed: bool) -> Reply {
        self.with(header::STREAM_NEXT_OFFSET, tail.to_string()).with_flag(header::STREAM_CLOSED, closed)
    }

    fn with_producer(self, epoch: u64, seq: u64) -> Reply {
        self.with(header::PRODUCER_EPOCH, epoch.to_string()).with(header::PRODUCER_SEQ, seq.to_string())
    }

    /// Whether the reply is a read with its bytes.
    pub fn has_bytes(&self) -> bool {
        self.status == Reply::BYTES
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }

    /// 201: PUT created the stream.
    pub fn created(location: &str, content_type: &ContentType, tail: Offset, closed: bool) -> Reply {
        Reply::new(StatusCode::CREATED)
            .with(header::LOCATION, location)
            .with_content_type(content_type)
            .with_tail(tail, closed)
    }

    /// 200: PUT found the stream with the same configuration.
    pub fn exists(content_type: &ContentType, tail: Offset, closed: bool) -> Reply {
        Reply::new(StatusCode::OK).with_content_type(content_type).with_tail(tail, closed)
    }

    /// 204, or 200 for a producer: POST appended (PROTOCOL.md 5.2).
    pub fn appended(tail: Offset, closed: bool, producer: Option<&Producer>) -> Reply {
        match producer {
            None => Reply::new(StatusCode::NO_CONTENT).with_tail(tail, closed),
            Some(producer) => {
                Reply::new(StatusCode::OK).with_tail(tail, closed).with_producer(producer.epoch, producer.seq)
            }
        }
    }

    /// 204: POST closed the stream, or found it closed.
    pub fn closed(tail: Offset, producer: Option<&Producer>) -> Reply {
        let reply = Reply::new(StatusCode::NO_CONTENT).with_tail(tail, true);
        match producer {
            None => reply,
            Some(producer) => reply.with_producer(producer.epoch, producer.seq),
        }
    }

    /// 204: the producer's request is a duplicate; `seq` is the highest accepted.
    pub fn duplicate(tail: Offset, closed: bool, epoch: u64, seq: u64) -> Reply {
        Reply::new(StatusCode::NO_CONTENT).with_tail(tail, closed).with_producer(epoch, seq)
    }

    /// 204: DELETE ended the stream (PROTOCOL.md 5.4).
    pub fn deleted() -> Reply {
        Reply::new(StatusCode::NO_CONTENT)
    }

    /// 200: HEAD (PROTOCOL.md 5.5).
    pub fn metadata(
        content_type: &ContentType,
        tail: Offset,
        closed: bool,
        public: bool,
        lifetime: Lifetime,
    ) -> Reply {
        let reply = Reply::new(StatusCode::OK)
            .with_content_type(content_type)
            .with_tail(tail, closed)
            .with_flag(header::STREAM_PUBLIC, public);
        match lifetime {
            Lifetime::Unlimited => reply,
            Lifetime::Ttl { seconds } => reply.with(header::STREAM_TTL, seconds.to_string()),
            Lifetime::ExpiresAt { at } => reply.with(header::STREAM_EXPIRES_AT, rfc3339(at)),
        }
    }

    /// 200: a read with its bytes.
    pub fn read(head: ReadHead, body: Vec<u8>) -> Reply {
        let content_type = head.content_type.clone();
        let mut reply = Reply::of_read(StatusCode::OK, head).with_content_type(&content_type);
        reply.body = body;
        reply
    }

    /// 304: the reader's copy has the same bytes.
    pub fn not_modified(head: ReadHead) -> Reply {
        Reply::of_read(StatusCode::NOT_MODIFIED, head)
    }

    /// 204: a long-poll that timed out or, without a cursor, reached the end of a closed stream.
    pub fn nothing_new(audience: Audience, tail: Offset, cache: CachePolicy, cursor: Option<u64>) -> Reply {
        Reply::to(audience, Reply::NOTHING_NEW, cache)
            .with_tail(tail, cursor.is_none())
            .with(header::STREAM_UP_TO_DATE, TRUE)
            .with_some(header::STREAM_CURSOR, cursor.map(|cursor| cursor.to_string()))
    }

    /// 200: an SSE response, or the next catch-up part of one.
    pub fn events(audience: Audience, next: Offset, base64: bool, closed: bool, events: Vec<u8>) -> Reply {
        let mut reply = Reply::to(audience, Reply::EVENTS, CachePolicy::Live)
            // No `charset`: the official suite compares the whole value, and SSE is always UTF-8.
            .with(header::CONTENT_TYPE, "text/event-stream")
            .with(header::X_ACCEL_BUFFERING, "no")
            .with_tail(next, closed)
            .with_flag(header::STREAM_UP_TO_DATE, closed);
        if base64 {
            reply = reply.with(header::STREAM_SSE_DATA_ENCODING, "base64");
        }
        reply.body = events;
        reply
    }

    fn of_read(status: StatusCode, head: ReadHead) -> Reply {
        let shared = if head.cache.is_shared(head.audience) { "MISS" } else { "BYPASS" };
        let cursor = head.cursor.filter(|_| !head.closed);
        Reply::to(head.audience, status, head.cache)
            .with(header::X_CACHE, shared)
            .with_tail(head.next, head.closed)
            .with_flag(header::STREAM_UP_TO_DATE, head.up_to_date)
            .with_some(header::STREAM_CURSOR, cursor.map(|cursor| cursor.to_string()))
            .with_some(header::ETAG, head.etag)
    }

    /// 204: a preflight; `requested` is its `Access-Control-Request-Headers`.
    pub fn preflight(requested: Option<String>) -> Reply {
        PREFLIGHT
            .iter()
            .fold(Reply::new(StatusCode::NO_CONTENT), |reply, (name, value)| reply.with(name, *value))
            .with(header::ALLOW_HEADERS, allowed_headers(requested.as_deref()))
    }

    /// 200: the server is running in this access mode.
    pub fn health(mode: &str) -> Reply {
        let body = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION"), "mode": mode });
        Reply::new(StatusCode::OK).with_json(&body)
    }

    /// 200: a page of a listing, or another JSON object.
    pub fn page(page: &impl Serialize) -> Reply {
        Reply::new(StatusCode::OK).with_json(&json!(page))
    }

    /// 500: the server failed; nothing was written.
    pub fn failed() -> Reply {
        let message = "The server failed; nothing was stored. Sending the same request again is safe.";
        Reply::new(StatusCode::INTERNAL_SERVER_ERROR).with_error("internal", message)
    }

    /// 503: the object did not answer, so a write may or may not be stored.
    pub fn unavailable() -> Reply {
        let message = "The stream did not answer. Reads, PUT, DELETE and producers' appends can be sent again as they \
                       are; an append without producer headers may have been stored.";
        Reply::unavailable_as(message)
    }

    fn unavailable_as(message: &str) -> Reply {
        Reply::new(StatusCode::SERVICE_UNAVAILABLE)
            .with_error("unavailable", message)
            .with(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// A subscription's answer (PROTOCOL.md 6 and 7).
    pub fn of_subscription(answer: &SubscriptionAnswer) -> Reply {
        match answer {
            SubscriptionAnswer::Created(shown) => Reply::new(StatusCode::CREATED).with_json(&json!(shown)),
            SubscriptionAnswer::Confirmed(shown) | SubscriptionAnswer::Shown(shown) => Reply::page(shown),
            SubscriptionAnswer::Done => Reply::new(StatusCode::NO_CONTENT),
            SubscriptionAnswer::Acked { next_wake } => {
                Reply::page(&json!({ "ok": true, "next_wake": next_wake }))
            }
            SubscriptionAnswer::Claimed(claimed) => Reply::page(claimed),
            SubscriptionAnswer::Refused(refusal) => Reply::refused(&Refusal::Subscription(refusal.clone())),
        }
    }

    /// 200: the keys that verify webhooks (PROTOCOL.md 6.5).
    pub fn keys(keys: &[PublicKey]) -> Reply {
        let reply = Reply::made(StatusCode::OK, KEY_SET.to_owned()).with(header::VARY, "Origin");
        let body = key_set(keys).to_string().into_bytes();
        Reply { body, ..reply }.with(header::CONTENT_TYPE, "application/jwk-set+json")
    }

    /// 503: the object of a subscription or its registry did not answer.
    pub fn subscription_unavailable() -> Reply {
        Reply::unavailable_as("The subscription did not answer: send the same request again.")
    }

    pub(super) fn with_error(self, code: &str, message: &str) -> Reply {
        self.with_json(&json!({ "error": { "code": code, "message": message } }))
    }

    pub(super) fn with_text(mut self, text: &str) -> Reply {
        self.body = text.as_bytes().to_vec();
        self.with(header::CONTENT_TYPE, "text/plain")
    }

    pub(super) fn with_json(mut self, body: &serde_json::Value) -> Reply {
        self.body = body.to_string().into_bytes();
        self.with(header::CONTENT_TYPE, "application/json")
    }
}

pub(super) fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::InvalidPath { .. }
        | Refusal::InvalidHeader { .. }
        | Refusal::InvalidQuery { .. }
        | Refusal::EmptyBody
        | Refusal::EmptyBatch
        | Refusal::InvalidJson { .. }
        | Refusal::BrokenBody
        | Refusal::MissingContentType
        | Refusal::EpochStartsAtZero
        | Refusal::OffsetBeyondTail { .. }
        | Refusal::Fork(
            ForkRefusal::OffsetBeyond { .. }
            | ForkRefusal::OffsetBefore { .. }
            | ForkRefusal::SubOffsetBeyond { .. }
            | ForkRefusal::TooDeep,
        ) => StatusCode::BAD_REQUEST,
        Refusal::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
        Refusal::StaleEpoch { .. } | Refusal::ReadOnly | Refusal::Forbidden { .. } => StatusCode::FORBIDDEN,
        Refusal::UnknownRoute | Refusal::NotFound | Refusal::Fork(ForkRefusal::SourceNotFound) => {
            StatusCode::NOT_FOUND
        }
        Refusal::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::BodyStalled => StatusCode::REQUEST_TIMEOUT,
        Refusal::ExistsWithOtherConfig { .. }
        | Refusal::HeldByForks
        | Refusal::Fork(ForkRefusal::SourceGone | ForkRefusal::ContentType { .. })
        | Refusal::ContentTypeMismatch { .. }
        | Refusal::Closed { .. }
        | Refusal::StreamSeqRegression { .. }
        | Refusal::UnexpectedOffset { .. }
        | Refusal::ProducerGap { .. } => StatusCode::CONFLICT,
        Refusal::OffsetGone { .. } | Refusal::Gone => StatusCode::GONE,
        Refusal::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::EncodedBody => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::NotImplemented { .. } => StatusCode::NOT_IMPLEMENTED,
        Refusal::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::TooManyReaders
        | Refusal::Busy { .. }
        | Refusal::TooManyForks
        | Refusal::SourceUnavailable
        | Refusal::KeysUnavailable
        | Refusal::NotConfigured { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Subscription(refusal) => status_of_subscription(refusal),
    }
}

fn status_of_subscription(refusal: &SubscriptionRefusal) -> StatusCode {
    match refusal {
        SubscriptionRefusal::InvalidRequest { .. }
        | SubscriptionRefusal::WebhookUrlRejected { .. }
        | SubscriptionRefusal::NoRegistry => StatusCode::BAD_REQUEST,
        SubscriptionRefusal::TokenInvalid | SubscriptionRefusal::TokenExpired => StatusCode::UNAUTHORIZED,
        SubscriptionRefusal::NotFound => StatusCode::NOT_FOUND,
        SubscriptionRefusal::AlreadyExists
        | SubscriptionRefusal::Fenced
        | SubscriptionRefusal::AlreadyClaimed { .. }
        | SubscriptionRefusal::NoPendingWork
        | SubscriptionRefusal::InvalidOffset { .. }
        | SubscriptionRefusal::TooManyWatchers { .. }
        | SubscriptionRefusal::TooManyPatterns
        | SubscriptionRefusal::TooManyStreams => StatusCode::CONFLICT,
    }
}
