//! PROTOCOL.md 12.7 and the shape of every response: one table of all refusals, and one of all replies.

use std::collections::BTreeSet;

use durable_streams::protocol::cache_policy::{Audience, CachePolicy};
use durable_streams::protocol::command::STREAM_METHODS;
use durable_streams::protocol::content_type::ContentType;
use durable_streams::protocol::fork_refusal::ForkRefusal;
use durable_streams::protocol::lifetime::Lifetime;
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::producer::Producer;
use durable_streams::protocol::read_head::ReadHead;
use durable_streams::protocol::refusal::Refusal;
use durable_streams::protocol::reply::Reply;
use durable_streams::protocol::retention::Retention;
use durable_streams::protocol::subscription::refusal::SubscriptionRefusal;

use crate::support::sql::Fault;
use crate::support::{Response, World, check};

use super::{HELLO, TEXT};

const TAIL: Offset = Offset { segment: 1, position: 5 };

/// The refusals of appends that conflict with the stream's state.
fn conflicts() -> [(Refusal, &'static str); 3] {
    [
        (
            Refusal::Closed { tail: TAIL },
            "409 | stream-closed: true | stream-next-offset: @1_5 | error: stream_closed",
        ),
        (
            Refusal::StreamSeqRegression { tail: TAIL },
            "409 | content-type: text/plain | stream-next-offset: @1_5 | !stream-closed << Sequence conflict",
        ),
        (
            Refusal::UnexpectedOffset { tail: TAIL },
            "409 | content-type: text/plain | stream-next-offset: @1_5 | !stream-closed << Expected offset conflict",
        ),
    ]
}

/// Every variant with the response that the protocol requires. A new variant does not compile until [`index_of`]
/// lists it.
fn refusals() -> Vec<(Refusal, &'static str)> {
    let (name, why, what, expected) = ("X", "it must be y", "z", "text/plain".to_owned());
    vec![
        (Refusal::UnknownRoute, "404 | error: unknown_route"),
        (Refusal::InvalidPath { why }, "400 | error: invalid_path"),
        (
            Refusal::MethodNotAllowed { allow: STREAM_METHODS },
            "405 | allow: GET, HEAD, PUT, POST, DELETE, OPTIONS | error: method_not_allowed",
        ),
        (Refusal::NotImplemented { what }, "501 | error: not_implemented"),
        (Refusal::InvalidHeader { name, why }, "400 | error: invalid_header"),
        (Refusal::InvalidQuery { name, why }, "400 | error: invalid_query"),
        (Refusal::NotFound, "404 | error: stream_not_found"),
        (Refusal::ExistsWithOtherConfig { what }, "409 | error: stream_exists | !stream-closed"),
        (Refusal::EmptyBody, "400 | error: empty_body"),
        (Refusal::EmptyBatch, "400 | error: empty_batch"),
        (Refusal::InvalidJson { why: "x".to_owned() }, "400 | error: invalid_json"),
        (Refusal::BodyTooLarge { max_bytes: 9 }, "413 | error: body_too_large"),
        (Refusal::MissingContentType, "400 | error: missing_content_type"),
        (Refusal::ContentTypeMismatch { expected }, "409 | error: content_type_mismatch"),
        (Refusal::StaleEpoch { current: 4 }, "403 | producer-epoch: 4 | error: stale_epoch"),
        (Refusal::EpochStartsAtZero, "400 | error: epoch_starts_at_zero"),
        (
            Refusal::ProducerGap { expected: 2, received: 4 },
            "409 | producer-expected-seq: 2 | producer-received-seq: 4 | error: producer_gap | !stream-closed",
        ),
        (Refusal::OffsetBeyondTail { tail: TAIL }, "400 | error: offset_beyond_tail"),
        (Refusal::OffsetGone { earliest: TAIL }, "410 | stream-next-offset: @1_5 | error: offset_gone"),
        (Refusal::TooManyReaders, "503 | retry-after: 5 | error: too_many_readers"),
        (Refusal::BrokenBody, "400 | error: broken_body"),
        (
            Refusal::Unauthorized { given: false },
            "401 | www-authenticate: Bearer realm=\"durable-streams\" | error: unauthorized",
        ),
        (
            Refusal::Forbidden { needs: "write" },
            "403 | error: forbidden | www-authenticate: Bearer realm=\"durable-streams\", \
             error=\"insufficient_scope\", scope=\"write\"",
        ),
        (Refusal::TooManyRequests { after_seconds: 60 }, "429 | retry-after: 60 | error: too_many_requests"),
        (Refusal::KeysUnavailable, "503 | retry-after: 5 | error: keys_unavailable"),
        (Refusal::NotConfigured { why: "x".to_owned() }, "503 | error: not_configured"),
        (Refusal::Gone, "410 | error: stream_gone"),
        (Refusal::HeldByForks, "409 | error: held_by_forks"),
        (Refusal::TooManyForks, "503 | retry-after: 5 | error: too_many_forks"),
        (Refusal::Fork(ForkRefusal::SourceNotFound), "404 | error: source_not_found"),
        (Refusal::ReadOnly, "403 | error: read_only | !www-authenticate"),
        (Refusal::Busy { why: "Because" }, "503 | retry-after: 5 | error: busy"),
        (Refusal::BodyStalled, "408 | error: body_stalled"),
        (Refusal::EncodedBody, "415 | accept-encoding: identity | error: encoded_body"),
        (Refusal::SourceUnavailable, "503 | retry-after: 5 | error: source_unavailable"),
    ]
}

fn index_of(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::UnknownRoute => 0,
        Refusal::InvalidPath { .. } => 1,
        Refusal::MethodNotAllowed { .. } => 2,
        Refusal::NotImplemented { .. } => 3,
        Refusal::InvalidHeader { .. } => 4,
        Refusal::InvalidQuery { .. } => 5,
        Refusal::NotFound => 6,
        Refusal::ExistsWithOtherConfig { .. } => 7,
        Refusal::EmptyBody => 8,
        Refusal::EmptyBatch => 9,
        Refusal::InvalidJson { .. } => 10,
        Refusal::BodyTooLarge { .. } => 11,
        Refusal::MissingContentType => 12,
        Refusal::ContentTypeMismatch { .. } => 13,
        Refusal::StaleEpoch { .. } => 14,
        Refusal::EpochStartsAtZero => 15,
        Refusal::ProducerGap { .. } => 16,
        Refusal::OffsetBeyondTail { .. } => 17,
        Refusal::OffsetGone { .. } => 18,
        Refusal::TooManyReaders => 19,
        Refusal::BrokenBody => 20,
        Refusal::Unauthorized { .. } => 21,
        Refusal::Forbidden { .. } => 22,
        Refusal::TooManyRequests { .. } => 23,
        Refusal::KeysUnavailable => 24,
        Refusal::NotConfigured { .. } => 25,
        Refusal::Gone => 26,
        Refusal::HeldByForks => 27,
        Refusal::TooManyForks => 28,
        Refusal::Fork(_) => 29,
        Refusal::ReadOnly => 30,
        Refusal::Busy { .. } => 31,
        Refusal::BodyStalled => 32,
        Refusal::EncodedBody => 33,
        Refusal::SourceUnavailable => 34,
        Refusal::Closed { .. } => 35,
        Refusal::StreamSeqRegression { .. } => 36,
        Refusal::UnexpectedOffset { .. } => 37,
        Refusal::Subscription(_) => 38,
    }
}

#[test]
fn every_refusal_has_its_status_and_code() {
    let mut codes = Vec::new();
    let of_subscription = (Refusal::Subscription(SubscriptionRefusal::Fenced), "409 | error: FENCED");
    let all = refusals().into_iter().chain(conflicts()).chain([of_subscription]);
    for (index, (refusal, expected)) in all.enumerate() {
        assert_eq!(index_of(&refusal), index);
        let response = Response::of_reply(Reply::refused(&refusal));
        response.assert_is(expected);
        codes.push(refusal.code());
    }
    assert_eq!(codes.len(), 39, "the table is as long as index_of");
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), 39, "every refusal has its own code");
}

/// Every refusal of a fork (PROTOCOL.md 4.2, fork creation errors). A variant that is missing here fails to compile in
/// [`is_listed_for_forks`].
fn fork_refusals() -> [(ForkRefusal, &'static str); 7] {
    [
        (ForkRefusal::SourceNotFound, "404 | error: source_not_found"),
        (ForkRefusal::SourceGone, "409 | error: source_gone"),
        (ForkRefusal::OffsetBeyond { tail: TAIL }, "400 | error: fork_offset_beyond_tail"),
        (ForkRefusal::OffsetBefore { start: TAIL }, "400 | error: fork_offset_gone"),
        (ForkRefusal::SubOffsetBeyond { max: 3 }, "400 | error: fork_sub_offset_beyond_tail"),
        (ForkRefusal::ContentType { expected: "a/b".to_owned() }, "409 | error: content_type_mismatch"),
        (ForkRefusal::TooDeep, "400 | error: fork_too_deep"),
    ]
}

fn is_listed_for_forks(refusal: &ForkRefusal) -> usize {
    match refusal {
        ForkRefusal::SourceNotFound => 0,
        ForkRefusal::SourceGone => 1,
        ForkRefusal::OffsetBeyond { .. } => 2,
        ForkRefusal::OffsetBefore { .. } => 3,
        ForkRefusal::SubOffsetBeyond { .. } => 4,
        ForkRefusal::ContentType { .. } => 5,
        ForkRefusal::TooDeep => 6,
    }
}

#[test]
fn every_fork_refusal_has_its_status_and_code() {
    for (index, (refusal, expected)) in fork_refusals().into_iter().enumerate() {
        assert_eq!(is_listed_for_forks(&refusal), index);
        Response::of_reply(Reply::refused(&Refusal::Fork(refusal))).assert_is(expected);
    }
}

/// Every refusal of the subscription API (PROTOCOL.md 6 and 7). A variant that is missing here fails to compile in
/// [`is_listed_for_subscriptions`].
fn subscription_refusals() -> [(SubscriptionRefusal, &'static str); 15] {
    let (why, path, current_holder) = ("x".to_owned(), "a/b".to_owned(), "worker-1".to_owned());
    [
        (SubscriptionRefusal::InvalidRequest { why: why.clone() }, "400 | error: INVALID_REQUEST"),
        (SubscriptionRefusal::WebhookUrlRejected { why: why.clone() }, "400 | error: WEBHOOK_URL_REJECTED"),
        (SubscriptionRefusal::TokenInvalid, "401 | error: TOKEN_INVALID"),
        (SubscriptionRefusal::TokenExpired, "401 | error: TOKEN_EXPIRED"),
        (SubscriptionRefusal::NotFound, "404 | error: SUBSCRIPTION_NOT_FOUND"),
        (SubscriptionRefusal::AlreadyExists, "409 | error: SUBSCRIPTION_ALREADY_EXISTS"),
        (SubscriptionRefusal::Fenced, "409 | error: FENCED"),
        (
            SubscriptionRefusal::AlreadyClaimed { current_holder, generation: 3 },
            "409 | error: ALREADY_CLAIMED",
        ),
        (SubscriptionRefusal::NoPendingWork, "409 | error: NO_PENDING_WORK"),
        (SubscriptionRefusal::InvalidOffset { why }, "409 | error: INVALID_OFFSET"),
        (SubscriptionRefusal::TooManyWatchers { path }, "409 | error: LIMIT_EXCEEDED"),
        (SubscriptionRefusal::TooManyPatterns, "409 | error: LIMIT_EXCEEDED"),
        (SubscriptionRefusal::TooManyStreams, "409 | error: LIMIT_EXCEEDED"),
        (SubscriptionRefusal::NoRegistry, "400 | error: INVALID_REQUEST"),
        (SubscriptionRefusal::StreamsTooLong, "409 | error: LIMIT_EXCEEDED"),
    ]
}

fn is_listed_for_subscriptions(refusal: &SubscriptionRefusal) -> usize {
    match refusal {
        SubscriptionRefusal::InvalidRequest { .. } => 0,
        SubscriptionRefusal::WebhookUrlRejected { .. } => 1,
        SubscriptionRefusal::TokenInvalid => 2,
        SubscriptionRefusal::TokenExpired => 3,
        SubscriptionRefusal::NotFound => 4,
        SubscriptionRefusal::AlreadyExists => 5,
        SubscriptionRefusal::Fenced => 6,
        SubscriptionRefusal::AlreadyClaimed { .. } => 7,
        SubscriptionRefusal::NoPendingWork => 8,
        SubscriptionRefusal::InvalidOffset { .. } => 9,
        SubscriptionRefusal::TooManyWatchers { .. } => 10,
        SubscriptionRefusal::TooManyPatterns => 11,
        SubscriptionRefusal::TooManyStreams => 12,
        SubscriptionRefusal::NoRegistry => 13,
        SubscriptionRefusal::StreamsTooLong => 14,
    }
}

#[test]
fn every_subscription_refusal_has_its_status_and_code() {
    for (index, (refusal, expected)) in subscription_refusals().into_iter().enumerate() {
        assert_eq!(is_listed_for_subscriptions(&refusal), index);
        Response::of_reply(Reply::refused(&Refusal::Subscription(refusal))).assert_is(expected);
    }
}

/// Status and code of every error: all refusals and both failures.
pub(crate) fn every_error() -> BTreeSet<(u16, String)> {
    let refusals = refusals().into_iter().chain(conflicts()).map(|(refusal, _)| refusal);
    let of_forks = fork_refusals().into_iter().map(|(refusal, _)| Refusal::Fork(refusal));
    let of_subscriptions =
        subscription_refusals().into_iter().map(|(refusal, _)| Refusal::Subscription(refusal));
    let refused = refusals
        .chain(of_forks)
        .chain(of_subscriptions)
        .map(|refusal| (Reply::refused(&refusal).status.as_u16(), refusal.code().to_owned()));
    let failed = [Reply::failed(), Reply::unavailable()].into_iter().map(|reply| {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        (reply.status.as_u16(), body["error"]["code"].as_str().unwrap().to_owned())
    });
    refused.chain(failed).collect()
}

/// `Response::of_reply` also checks each reply against 12.7.
#[test]
fn every_reply_has_its_status_and_headers() {
    let producer = Producer { id: "p".to_owned(), epoch: 1, seq: 2 };
    let text = ContentType::parse("text/plain").unwrap();
    let head = |closed, cursor| ReadHead {
        content_type: text.clone(),
        next: TAIL,
        up_to_date: closed,
        closed,
        cursor,
        etag: Some("\"x\"".to_owned()),
        cache: CachePolicy::Revalidate,
        audience: Audience::Everyone,
    };
    let table = [
        (
            Reply::created("https://x/y", &text, TAIL, true)
                .with_retention(Some(Retention::Bytes { bytes: 7 })),
            "201 | location: https://x/y | stream-closed: true | stream-retention: bytes=7",
        ),
        (
            Reply::exists(&text, TAIL, false),
            "200 | content-type: text/plain | !content-disposition | stream-next-offset: @1_5 | !stream-retention",
        ),
        (Reply::appended(TAIL, false, None), "204 | stream-next-offset: @1_5"),
        (
            Reply::appended(TAIL, true, Some(&producer)),
            "200 | producer-epoch: 1 | producer-seq: 2 | stream-closed: true",
        ),
        (Reply::closed(TAIL, None), "204 | stream-closed: true"),
        (Reply::closed(TAIL, Some(&producer)), "204 | producer-epoch: 1 | producer-seq: 2"),
        (Reply::duplicate(TAIL, false, 3, 4), "204 | producer-epoch: 3 | producer-seq: 4"),
        (Reply::deleted(), "204"),
        (
            Reply::metadata(&text, TAIL, false, true, Lifetime::Ttl { seconds: 9 })
                .with_retention(Some(Retention::Seconds { seconds: 8 })),
            "200 | stream-ttl: 9 | stream-public: true | stream-retention: 8",
        ),
        (Reply::read(head(false, Some(7)), b"x".to_vec()), "200 | stream-cursor: 7 | !stream-closed << x"),
        (Reply::read(head(true, Some(7)), Vec::new()), "200 | !stream-cursor | stream-closed: true <<"),
        (Reply::not_modified(head(false, None)), "304 | etag: \"x\" | !content-type <<"),
        (
            Reply::nothing_new(Audience::Everyone, TAIL, CachePolicy::Never, Some(7)),
            "204 | stream-cursor: 7 | stream-up-to-date: true",
        ),
        (
            Reply::nothing_new(Audience::Everyone, TAIL, CachePolicy::Never, None),
            "204 | !stream-cursor | stream-closed: true | stream-up-to-date: true",
        ),
        (
            Reply::events(Audience::Everyone, TAIL, true, false, b"x".to_vec()),
            "200 | content-type: text/event-stream | stream-sse-data-encoding: base64",
        ),
        (Reply::preflight(None), "204 | access-control-allow-methods"),
        (Reply::health("open"), "200 | content-type: application/json"),
        (Reply::failed(), "500 | error: internal"),
        (Reply::unavailable(), "503 | error: unavailable | retry-after"),
    ];
    for (reply, expected) in table {
        Response::of_reply(reply).assert_is(expected);
    }
}

/// An internal failure is a 500 that does not reveal its cause. It is never a refusal.
#[test]
fn internal_failure_is_a_500_without_its_cause() {
    for request in
        ["GET", "HEAD", HELLO, "POST | stream-closed: true", "DELETE", TEXT, "GET ?offset=now&live=sse"]
    {
        let mut world = World::after(&[TEXT, HELLO, "RESTART"]);
        world.sql.arm(Fault::Statement(0));
        let response = world.ask(request);
        response.assert_is("500 | error: internal | !stream-next-offset");
        assert!(!response.text().contains("injected"), "{}", response.text());
    }
    check(&[TEXT, HELLO], "GET", "200 << hello");
}
