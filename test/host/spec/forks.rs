//! PROTOCOL.md 4.2: forks.

use durable_streams::object::links::FORKS_ASKED_MAX;
use durable_streams::protocol::fork::OWNERS_MAX;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;

use crate::support::family::Begun;
use crate::support::objects::Fate;
use crate::support::world::START;
use crate::support::{Family, Outcome, Request, Response};

const A: &str = "PUT /v1/stream/a | content-type: text/plain << hello";
const JSON: &str = "PUT /v1/stream/a | content-type: application/json << [1,2,3]";
const MORE: &str = "POST /v1/stream/a | content-type: text/plain << world";
const CLOSE: &str = "POST /v1/stream/a | stream-closed: true";
const DELETE: &str = "DELETE /v1/stream/a";
const FORK: &str = "PUT /v1/stream/b | stream-forked-from: /v1/stream/a";
const FORK_OF_FORK: &str = "PUT /v1/stream/c | stream-forked-from: /v1/stream/b";

/// Runs the steps, sends the request and checks the response, once with memory intact and once after a restart.
/// Afterwards, every reference at a source must belong to a fork that exists.
#[track_caller]
fn check(state: &[&str], request: &str, expected: &str) {
    for crashes in [false, true] {
        let mut family = after(state);
        if crashes {
            crash_all(&mut family);
        }
        family.ask(request).assert_is(expected);
        family.let_alarms_ring();
        family.assert_edges_are_true();
    }
}

#[track_caller]
fn after(state: &[&str]) -> Family {
    let mut family = Family::new(0);
    family.run(state);
    family
}

/// The same, with each append in a segment of its own in the bucket.
#[track_caller]
fn rotated(state: &[&str]) -> Family {
    let mut family = with_segments(1, RetentionDefaults::default());
    family.run(state);
    family
}

fn with_segments(appends_max: u64, retention: RetentionDefaults) -> Family {
    let segments = SegmentLimits { appends_max, bytes_max: 1 << 20, closed_bytes_min: 1 };
    Family::with(0, 1 << 20, Some(segments), retention)
}

fn crash_all(family: &mut Family) {
    for path in family.members.keys().cloned().collect::<Vec<_>>() {
        family.crash(&path, false);
    }
}

/// Begins a request that has to wait for another object.
#[track_caller]
fn begin(family: &mut Family, request: &str) -> u64 {
    match family.begin(&Request::parse(request)) {
        Begun::Waits(id) => id,
        Begun::Done(outcome) => panic!("{request} ended at once: {outcome:?}"),
    }
}

#[track_caller]
fn finish(family: &mut Family, id: u64) -> Response {
    match family.finish(id) {
        Outcome::Answered(response) => response,
        Outcome::Parked(_, head) => panic!("the request was parked: {head:?}"),
    }
}

// Fork creation headers.

#[test]
fn fork_inherits_the_data_of_its_source() {
    check(
        &[A],
        FORK,
        "201 | location: https://streams.test/v1/stream/b | content-type: text/plain | stream-next-offset: @0_5 | \
         !stream-closed | cache-control: no-store <<",
    );
    check(
        &[A, FORK],
        "GET /v1/stream/b",
        "200 | stream-next-offset: @0_5 | stream-up-to-date: true << hello",
    );
    check(&[A, FORK, MORE], "GET /v1/stream/b", "200 | stream-next-offset: @0_5 << hello");
    check(&[A, FORK], "GET /v1/stream/b?offset=@0_2", "200 << llo");
    check(&[A, FORK], "HEAD /v1/stream/b", "200 | content-type: text/plain | stream-next-offset: @0_5");
    let own = "POST /v1/stream/b | content-type: text/plain << !";
    check(&[A, FORK], own, "204 | stream-next-offset: @0_6");
    check(&[A, FORK, MORE, own], "GET /v1/stream/b", "200 | stream-next-offset: @0_6 << hello!");
    check(&[A, FORK, MORE, own], "GET /v1/stream/a", "200 | stream-next-offset: @0_10 << helloworld");
    check(&[A, FORK, own], "GET /v1/stream/b?offset=@0_4", "200 | stream-next-offset: @0_6 << o!");
    check(&[A, FORK, own], "GET /v1/stream/b?offset=@0_5", "200 | stream-next-offset: @0_6 << !");
    check(&[A, &format!("{FORK} << initial")], "GET /v1/stream/b", "200 << helloinitial");
    check(&[A], &format!("{FORK} | stream-closed: true << !"), "201 | stream-closed: true");
    check(&[A, &format!("{FORK} | stream-closed: true")], own, "409 | error: stream_closed");
    let spaced = "PUT /v1/stream/x%20y | content-type: text/plain << hi";
    check(&[spaced], "PUT /v1/stream/b | stream-forked-from: /v1/stream/x%20y", "201");
    check(&["PUT /v1/stream/a", FORK], "GET /v1/stream/b", "200 | stream-next-offset: @0_0 <<");
}

#[test]
fn source_may_be_named_by_each_url_form() {
    for source in ["/v1/stream/a", "/v1/streams/a", "/streams/a", "/streams/%61"] {
        let fork = format!("PUT /v1/stream/b | stream-forked-from: {source}");
        check(&[A, &fork], "GET /v1/stream/b", "200 << hello");
        check(&[A, &fork], FORK, "200");
    }
}

#[test]
fn fork_offset_and_sub_offset_set_the_fork_point() {
    for (headers, next, body) in [
        ("stream-fork-offset: @0_0", "@0_0", ""),
        ("stream-fork-offset: @0_2", "@0_2", "he"),
        ("stream-fork-offset: @0_5", "@0_5", "hello"),
        ("stream-fork-offset: @0_1 | stream-fork-sub-offset: 3", "@0_4", "hell"),
        ("stream-fork-offset: @0_1 | stream-fork-sub-offset: 0", "@0_1", "h"),
        ("stream-fork-offset: @0_0 | stream-fork-sub-offset: 5", "@0_5", "hello"),
        ("stream-fork-sub-offset: 0", "@0_5", "hello"),
    ] {
        let fork = format!("{FORK} | {headers}");
        check(&[A], &fork, &format!("201 | stream-next-offset: {next}"));
        check(&[A, &fork], "GET /v1/stream/b", &format!("200 | stream-up-to-date: true << {body}"));
        check(&[A, &fork], "GET /v1/stream/b?offset=now", &format!("200 | stream-next-offset: {next} <<"));
    }
    let fork = format!("{FORK} | stream-fork-offset: @0_1 | stream-fork-sub-offset: 1");
    check(&[JSON], &fork, "201 | stream-next-offset: @0_2");
    check(&[JSON, &fork], "GET /v1/stream/b", "200 | content-type: application/json << [1,2]");
    let own = "POST /v1/stream/b | content-type: application/json << [4,5]";
    check(&[JSON, &fork, own], "GET /v1/stream/b", "200 | stream-next-offset: @0_4 << [1,2,4,5]");
    check(&[JSON, &fork, own], "GET /v1/stream/b?offset=@0_1", "200 << [2,4,5]");
    check(&[JSON, &format!("{FORK} << [9]")], "GET /v1/stream/b", "200 << [1,2,3,9]");
    check(&[JSON, &format!("{FORK} << []")], "GET /v1/stream/b", "200 << [1,2,3]");
}

/// The protocol's table "Fork gets": the source's lifetime against the one that the fork requests.
#[test]
fn fork_inherits_or_overrides_the_lifetime() {
    let (ttl, at) = ("stream-ttl: 60", "stream-expires-at: 2031-01-01T00:00:00Z");
    let (own_ttl, own_at) = ("stream-ttl: 90", "stream-expires-at: 2032-01-01T00:00:00Z");
    let none = "!stream-ttl | !stream-expires-at";
    for (source, fork, gets) in [
        ("", "", none),
        ("", own_ttl, "stream-ttl: 90 | !stream-expires-at"),
        ("", own_at, "stream-expires-at: 2032-01-01T00:00:00Z | !stream-ttl"),
        (ttl, "", "stream-ttl: 60 | !stream-expires-at"),
        (ttl, own_ttl, "stream-ttl: 90 | !stream-expires-at"),
        (ttl, own_at, "stream-expires-at: 2032-01-01T00:00:00Z | !stream-ttl"),
        (at, "", "stream-expires-at: 2031-01-01T00:00:00Z | !stream-ttl"),
        (at, own_ttl, "stream-ttl: 90 | !stream-expires-at"),
        (at, own_at, "stream-expires-at: 2032-01-01T00:00:00Z | !stream-ttl"),
    ] {
        let with = |request: &str, header: &str| match header {
            "" => request.to_owned(),
            header => format!("{request} | {header}"),
        };
        let (source, fork) = (with("PUT /v1/stream/a", source), with(FORK, fork));
        check(&[&source, &fork], "HEAD /v1/stream/b", &format!("200 | {gets}"));
        check(&[&source, &fork], &fork, "200");
    }
    // The TTL is equal, but each stream has its own countdown.
    let state = ["PUT /v1/stream/a | stream-ttl: 60", "WAIT 50s", FORK, "WAIT 20s"];
    check(&state, "HEAD /v1/stream/b", "200");
    check(&state, "HEAD /v1/stream/a", "410");
}

// Fork creation errors.

#[test]
fn invalid_fork_requests_are_refused() {
    let short_lived = "PUT /v1/stream/a | stream-ttl: 5";
    let of_itself = "PUT /v1/stream/a | stream-forked-from: /v1/stream/a";
    let of_gone = "PUT /v1/stream/c | stream-forked-from: /v1/stream/a";
    let of_earlier_incarnation = format!("{FORK} | stream-fork-offset: @0_2");
    let broken = format!("{FORK} << {{");
    let broken_early = format!("{FORK} | content-type: application/json << {{");
    let table: [(&[&str], &str, &str); 10] = [
        (&[], FORK, "404 | error: source_not_found"),
        (&[A, DELETE], FORK, "404 | error: source_not_found"),
        (&[short_lived, "WAIT 5s"], FORK, "404 | error: source_not_found"),
        (&[], of_itself, "404 | error: source_not_found"),
        (&[A, DELETE], of_itself, "404 | error: source_not_found"),
        (&[A, FORK, DELETE], of_gone, "409 | error: source_gone"),
        (&[A, DELETE, A], &of_earlier_incarnation, "400 | error: fork_offset_gone"),
        (&[JSON], &broken, "400 | error: invalid_json"),
        (&[JSON], &broken_early, "400 | error: invalid_json"),
        (&[A, "PUT /v1/stream/b"], FORK, "409 | error: stream_exists"),
    ];
    for (state, request, expected) in table {
        check(state, request, expected);
    }
    let (offset, sub_offset) = ("stream-fork-offset", "stream-fork-sub-offset");
    for (headers, expected) in [
        (format!("{offset}: @0_6"), "400 | error: fork_offset_beyond_tail"),
        (format!("{offset}: @1_0"), "400 | error: fork_offset_beyond_tail"),
        (format!("{sub_offset}: 1"), "400 | error: fork_sub_offset_beyond_tail"),
        (format!("{offset}: @0_3 | {sub_offset}: 3"), "400 | error: fork_sub_offset_beyond_tail"),
        ("content-type: text/html".to_owned(), "409 | error: content_type_mismatch"),
        ("content-type: TEXT/plain;charset=utf-8".to_owned(), "201"),
        (format!("{offset}: @0_0 | {sub_offset}: 5"), "201"),
    ] {
        check(&[A], &format!("{FORK} | {headers}"), expected);
    }
}

/// The edge refuses these without a call to any stream.
#[test]
fn invalid_fork_headers_are_refused() {
    let from = "PUT /v1/stream/b | stream-forked-from:";
    for request in [
        format!("{FORK} | stream-fork-offset: 5"),
        format!("{FORK} | stream-fork-offset: -1"),
        format!("{FORK} | stream-fork-offset: now"),
        format!("{FORK} | stream-fork-sub-offset: -1"),
        format!("{FORK} | stream-fork-sub-offset: 1.5"),
        format!("{FORK} | stream-fork-sub-offset: 01"),
        format!("{FORK} | stream-fork-sub-offset: x"),
        format!("{FORK} | stream-fork-sub-offset: 99999999999999999999"),
        "PUT /v1/stream/b | stream-fork-offset: @0_3".to_owned(),
        "PUT /v1/stream/b | stream-fork-sub-offset: 0".to_owned(),
        format!("{from} https://streams.test/v1/stream/a"),
        format!("{from} /v1/stream/"),
        format!("{from} a"),
        format!("{from} /v1/stream/%2e%2e/a"),
        format!("{from} /streams/"),
        format!("{from} /v1/streams"),
        format!("{from} /stream/a"),
        format!("{from} /streams/../v1/stream/a"),
        format!("{from} /v1/stream/__ds/a"),
        format!("{from} /v1/stream/p/__ds"),
        format!("{from} /streams/p/__ds/a"),
    ] {
        check(&[A], &request, "400 | error: invalid_header");
    }
}

/// A refused creation leaves no reference, even if its call to the source arrives a second time later.
#[test]
fn refused_fork_leaves_no_reference() {
    for (state, fork) in [
        (&[][..], FORK.to_owned()),
        (&[A], format!("{FORK} | content-type: text/html")),
        (&[A], format!("{FORK} | stream-fork-offset: @0_6")),
    ] {
        let mut family = after(state);
        let id = begin(&mut family, &fork);
        family.advance(id, Fate::Twice);
        assert!(finish(&mut family, id).status >= 400);
        family.settle();
        if state.is_empty() {
            family.run(&[A]);
        } else {
            family.run(&["POST /v1/stream/a | content-type: text/plain << more"]);
        }
        // By now, the source could accept the call.
        family.deliver(0);
        family.settle();
        family.let_alarms_ring();
        family.assert_edges_are_true();
        family.ask(DELETE).assert_is("204");
        family.ask("HEAD /v1/stream/a").assert_is("404");
    }
}

// Idempotent fork creation.

#[test]
fn repeated_fork_creation_is_idempotent() {
    let anchored = format!("{FORK} | stream-fork-offset: @0_2");
    let refined = format!("{anchored} | stream-fork-sub-offset: 1");
    check(&[A, FORK], FORK, "200 | content-type: text/plain | stream-next-offset: @0_5 | !location");
    // Without an offset, the repeated PUT accepts the existing one.
    check(&[A, FORK, MORE], FORK, "200 | stream-next-offset: @0_5");
    check(&[A, FORK, MORE], &format!("{FORK} | stream-fork-offset: @0_5"), "200");
    check(&[A, &anchored], &anchored, "200 | stream-next-offset: @0_2");
    check(&[A, &anchored], FORK, "200");
    check(&[A, &refined], &refined, "200 | stream-next-offset: @0_3");
    check(&[A, FORK], &format!("{FORK} << ignored"), "200 | stream-next-offset: @0_5");
    // The source may be deleted by then.
    check(&[A, FORK, DELETE], FORK, "200");
    let other = "409 | error: stream_exists";
    for again in [
        &anchored,
        "PUT /v1/stream/b",
        "PUT /v1/stream/b | content-type: text/plain",
        "PUT /v1/stream/b | stream-forked-from: /v1/stream/c",
        &format!("{FORK} | content-type: text/html"),
        &format!("{FORK} | stream-ttl: 9"),
        &format!("{FORK} | stream-closed: true"),
        &format!("{FORK} | stream-fork-sub-offset: 1"),
    ] {
        check(&[A, FORK], again, other);
    }
    check(&[A, &refined], &anchored, other);
    check(&[A, &refined], &format!("{FORK} | stream-fork-offset: @0_3"), other);
    let with_own_ttl = format!("{FORK} | stream-ttl: 9");
    check(&[A, &with_own_ttl], FORK, other);
    check(&[A, &with_own_ttl], &with_own_ttl, "200");
}

/// Concurrent PUTs create one stream: one is answered 201, equal ones 200, others 409.
#[test]
fn concurrent_fork_creations_create_one_stream() {
    let mut family = after(&[A]);
    let ids: Vec<u64> = (0..3).map(|_| begin(&mut family, FORK)).collect();
    let other = begin(&mut family, &format!("{FORK} | stream-fork-offset: @0_1"));
    let mut statuses: Vec<u16> = ids.iter().rev().map(|id| finish(&mut family, *id).status).collect();
    statuses.push(finish(&mut family, other).status);
    assert_eq!(statuses, [201, 200, 200, 409]);
    family.settle();
    family.assert_edges_are_true();
    assert_eq!(family.member("a").sql.holders().len(), 1);
    // A plain PUT created the stream in the meantime, so the fork is refused.
    let mut family = after(&[A]);
    let id = begin(&mut family, FORK);
    family.begin(&Request::parse("PUT /v1/stream/b"));
    finish_and_settle(&mut family, id, "409 | error: stream_exists");
}

#[track_caller]
fn finish_and_settle(family: &mut Family, id: u64, expected: &str) {
    finish(family, id).assert_is(expected);
    family.settle();
    assert!(family.tasks.is_empty());
    family.assert_edges_are_true();
}

/// Each waiting creation uses memory, so their number is limited.
#[test]
fn concurrent_fork_creations_are_limited() {
    let mut family = after(&[A]);
    let ids: Vec<u64> = (0..FORKS_ASKED_MAX).map(|_| begin(&mut family, FORK)).collect();
    let Begun::Done(Outcome::Answered(response)) = family.begin(&Request::parse(FORK)) else {
        panic!("a creation beyond the limit must be refused")
    };
    response.assert_is("503 | error: too_many_forks | retry-after");
    assert_eq!(family.member("b").sql.links().len(), FORKS_ASKED_MAX);
    for id in ids {
        assert!(finish(&mut family, id).status < 300);
    }
    family.settle();
    family.assert_edges_are_true();
    family.ask(FORK).assert_is("200");
}

// Closed stream forking.

#[test]
fn closure_is_not_inherited() {
    check(&[A, CLOSE], FORK, "201 | !stream-closed | stream-next-offset: @0_5");
    let own = "POST /v1/stream/b | content-type: text/plain << !";
    check(&[A, CLOSE, FORK], own, "204 | stream-next-offset: @0_6");
    check(&[A, CLOSE, FORK], "GET /v1/stream/b", "200 | stream-up-to-date: true | !stream-closed << hello");
    check(&[A, CLOSE, FORK, own], "GET /v1/stream/a", "200 | stream-closed: true << hello");
    check(&[A, FORK, CLOSE], own, "204 | !stream-closed");
    check(&[A, FORK, "POST /v1/stream/b | stream-closed: true"], MORE, "204 | !stream-closed");
    check(
        &[A, FORK, "POST /v1/stream/b | stream-closed: true"],
        "GET /v1/stream/b",
        "200 | stream-closed: true << hello",
    );
}

// Producer state and fork boundaries.

#[test]
fn producers_and_stream_seq_are_not_inherited() {
    let produced = |path: &str, epoch: u64, seq: u64| {
        format!(
            "POST /v1/stream/{path} | content-type: text/plain | producer-id: p | producer-epoch: {epoch} | \
             producer-seq: {seq} << x"
        )
    };
    let state = [A, &produced("a", 3, 0), &produced("a", 3, 1), FORK];
    check(&state, &produced("b", 3, 1), "409 | error: producer_gap | producer-expected-seq: 0");
    check(&state, &produced("b", 0, 0), "200 | stream-next-offset: @0_8");
    check(&state, &produced("a", 3, 1), "204");
    check(&state, &produced("a", 2, 0), "403");
    let sequenced = |path: &str, seq: &str| {
        format!("POST /v1/stream/{path} | content-type: text/plain | stream-seq: {seq} << x")
    };
    let state = [A, &sequenced("a", "m"), FORK];
    check(&state, &sequenced("b", "a"), "204");
    check(&state, &sequenced("a", "a"), "409");
    // `Stream-Expected-Offset` is compared with the fork's tail, wherever the source's tail is.
    let expecting = |offset: &str| {
        format!("POST /v1/stream/b | content-type: text/plain | stream-expected-offset: {offset} << x")
    };
    check(&[A, FORK, MORE], &expecting("@0_5"), "204 | stream-next-offset: @0_6");
    check(&[A, FORK, MORE], &expecting("@0_8"), "409 | stream-next-offset: @0_5 << Expected offset conflict");
    // The same where the fork point is inside a batch.
    let batch = "POST /v1/stream/a | content-type: application/json | producer-id: p | producer-epoch: 0 | \
                 producer-seq: 0 << [4,5,6]";
    let fork = format!("{FORK} | stream-fork-offset: @0_3 | stream-fork-sub-offset: 1");
    check(&[JSON, batch, &fork], "GET /v1/stream/b", "200 << [1,2,3,4]");
    check(&[JSON, batch, &fork], &batch.replace("/a", "/b"), "200 | stream-next-offset: @0_7");
}

// Soft-delete and lifecycle.

#[test]
fn deleted_source_is_gone_until_its_last_fork_is_deleted() {
    check(&[A, FORK], DELETE, "204");
    let gone = "410 | error: stream_gone | !stream-next-offset";
    for request in [
        "GET /v1/stream/a",
        "GET /v1/stream/a?offset=@0_2",
        "GET /v1/stream/a?offset=now&live=long-poll",
        "GET /v1/stream/a?offset=-1&live=sse",
        "HEAD /v1/stream/a",
        MORE,
        CLOSE,
        DELETE,
    ] {
        check(&[A, FORK, DELETE], request, gone);
    }
    for request in [A, "PUT /v1/stream/a", "PUT /v1/stream/a | stream-forked-from: /v1/stream/b"] {
        check(&[A, FORK, DELETE], request, "409 | error: held_by_forks");
    }
    check(&[A, FORK, DELETE], "GET /v1/stream/b", "200 << hello");
    check(&[A, FORK, DELETE], "POST /v1/stream/b | content-type: text/plain << !", "204");
    check(&[A, FORK, DELETE, "DELETE /v1/stream/b"], "HEAD /v1/stream/a", "404");
    check(&[A, FORK, DELETE, "DELETE /v1/stream/b"], A, "201 | stream-next-offset: @1_5");
    check(&[A, FORK, "DELETE /v1/stream/b"], "GET /v1/stream/a", "200 << hello");
    check(&[A, FORK, "DELETE /v1/stream/b", DELETE], "HEAD /v1/stream/a", "404");
    let twice =
        [A, FORK, "PUT /v1/stream/c | stream-forked-from: /v1/stream/a", DELETE, "DELETE /v1/stream/b"];
    check(&twice, "HEAD /v1/stream/a", "410");
    check(&twice, "GET /v1/stream/c", "200 << hello");
}

/// Expiry has the same effect as deletion.
#[test]
fn expired_source_is_gone_while_it_has_forks() {
    let ttl = "PUT /v1/stream/a | content-type: text/plain | stream-ttl: 5 << hello";
    let fork = format!("{FORK} | stream-ttl: 1000");
    check(&[ttl, &fork, "WAIT 5s"], "GET /v1/stream/a", "410 | error: stream_gone");
    check(&[ttl, &fork, "WAIT 5s"], "GET /v1/stream/b", "200 << hello");
    check(&[ttl, &fork, "WAIT 5s", "RING a"], "GET /v1/stream/b", "200 << hello");
    check(&[ttl, &fork, "WAIT 5s"], ttl, "409 | error: held_by_forks");
    // No request arrives: the alarms alone end the streams one after another.
    let mut family = after(&[ttl, &format!("{FORK} | stream-ttl: 20")]);
    crash_all(&mut family);
    family.let_alarms_ring();
    family.assert_edges_are_true();
    family.ask("HEAD /v1/stream/a").assert_is("404");
    family.ask("HEAD /v1/stream/b").assert_is("404");
}

/// Deleting the last fork deletes every soft-deleted source up the chain, up to the first that is not deleted.
#[test]
fn deleting_the_last_fork_deletes_soft_deleted_sources() {
    let mut family = after(&[
        A,
        FORK,
        FORK_OF_FORK,
        "PUT /v1/stream/d | stream-forked-from: /v1/stream/c",
        DELETE,
        "DELETE /v1/stream/b",
        "DELETE /v1/stream/c",
    ]);
    for path in ["a", "b", "c"] {
        family.ask(&format!("HEAD /v1/stream/{path}")).assert_is("410");
    }
    family.ask("GET /v1/stream/d").assert_is("200 << hello");
    family.ask("DELETE /v1/stream/d").assert_is("204");
    family.assert_edges_are_true();
    for path in ["a", "b", "c", "d"] {
        family.ask(&format!("HEAD /v1/stream/{path}")).assert_is("404");
    }
    check(
        &[A, FORK, FORK_OF_FORK, "DELETE /v1/stream/b", "DELETE /v1/stream/c"],
        "GET /v1/stream/a",
        "200 << hello",
    );
}

/// A live reader of a soft-deleted source is sent 410.
#[test]
fn live_readers_of_a_deleted_source_are_ended() {
    let mut family = after(&[A, FORK]);
    let Outcome::Parked(poll, _) = family.send("GET /v1/stream/a?offset=now&live=long-poll") else {
        panic!("the request did not wait")
    };
    let Outcome::Parked(events, _) = family.send("GET /v1/stream/a?offset=now&live=sse") else {
        panic!("the request did not wait")
    };
    family.run(&[DELETE]);
    let sockets = &family.member("a").sockets;
    Response::of_frame(&sockets.frame_at(poll, 0).unwrap()).assert_is("410 | error: stream_gone");
    assert!(sockets.close_code(poll).is_some() && sockets.close_code(events).is_some());
    // Readers of the fork get no notice of that, and receive the fork's own appends.
    let mut family = after(&[A, FORK]);
    let Outcome::Parked(poll, _) = family.send("GET /v1/stream/b?offset=@0_5&live=long-poll") else {
        panic!("the request did not wait")
    };
    family.run(&[DELETE]);
    assert_eq!(family.member("b").sockets.frame_at(poll, 0), None);
    family.run(&["POST /v1/stream/b | content-type: text/plain << !"]);
    let answer = Response::of_frame(&family.member("b").sockets.frame_at(poll, 0).unwrap());
    answer.assert_is("200 | stream-next-offset: @0_6 << !");
}

/// Long-polls and SSE return inherited data, from the hot log and from the bucket.
#[test]
fn live_readers_of_a_fork_receive_inherited_data() {
    for mut family in [after(&[A, FORK]), rotated(&[A, FORK])] {
        family.ask("GET /v1/stream/b?offset=-1&live=long-poll").assert_is("200 << hello");
        family.ask("GET /v1/stream/b?offset=@0_3&live=long-poll").assert_is("200 << lo");
        let Outcome::Parked(events, head) = family.send("GET /v1/stream/b?offset=@0_2&live=sse") else {
            panic!("the SSE response ended at once")
        };
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let frame = family.member("b").sockets.frame_at(events, 0).unwrap();
        assert!(String::from_utf8_lossy(&frame).contains("data:llo\n"));
    }
}

// Faults and concurrent requests.

#[test]
fn source_deleted_during_fork_creation_is_missing_or_soft_deleted() {
    // Deleted before the call arrives: the source does not exist.
    let mut family = after(&[A]);
    let id = begin(&mut family, FORK);
    family.begin(&Request::parse(DELETE));
    finish(&mut family, id).assert_is("404 | error: source_not_found");
    family.settle();
    family.let_alarms_ring();
    family.assert_edges_are_true();
    // Deleted after the call: the source is soft-deleted.
    let mut family = after(&[A]);
    let id = begin(&mut family, FORK);
    family.advance(id, Fate::Arrives);
    family.begin(&Request::parse(DELETE));
    family.begin(&Request::parse("HEAD /v1/stream/a"));
    finish_and_settle(&mut family, id, "201");
    family.ask("HEAD /v1/stream/a").assert_is("410");
    family.ask("GET /v1/stream/b").assert_is("200 << hello");
    // If the answer is lost, the source ends as soon as the fork releases it.
    let mut family = after(&[A]);
    let id = begin(&mut family, FORK);
    family.advance(id, Fate::Unanswered);
    family.begin(&Request::parse(DELETE));
    finish_and_settle(&mut family, id, "503 | retry-after: 5 | error: source_unavailable");
    family.ask("HEAD /v1/stream/a").assert_is("404");
    family.ask(A).assert_is("201 | stream-next-offset: @1_5");
}

/// If the object dies during a creation, its link remains. The alarm releases it without a request.
#[test]
fn alarm_releases_the_link_of_an_interrupted_creation() {
    for (has_arrived, arrives_late) in [(false, false), (false, true), (true, false)] {
        let mut family = after(&[A]);
        let id = begin(&mut family, FORK);
        if has_arrived {
            family.advance(id, Fate::Arrives);
        }
        assert!(family.crash("b", arrives_late).contains(&id));
        assert_eq!(family.member("b").sql.links().len(), 1);
        let at = family.member("b").shell.alarm_at.expect("the alarm was set with the intent");
        family.now = at;
        family.run(&["RING b"]);
        while !family.late.is_empty() {
            family.deliver(0);
        }
        family.settle();
        family.assert_edges_are_true();
        family.ask(FORK).assert_is("201");
    }
}

/// The source refuses a reference that arrives after its release, however early the release was.
#[test]
fn reference_that_arrives_after_its_release_is_refused() {
    let mut family = after(&[A]);
    begin(&mut family, FORK);
    family.crash("b", true);
    family.ask("HEAD /v1/stream/b").assert_is("404");
    assert!(family.member("b").sql.links().is_empty(), "the link was released");
    family.now += 1;
    family.deliver(0);
    assert!(family.member("a").sql.holders().is_empty());
    // The source also refuses an expired reference, and stores nothing for that.
    begin(&mut family, FORK);
    family.crash("b", true);
    family.now += 30_001;
    family.deliver(0);
    assert!(family.member("a").sql.holders().is_empty());
    family.ask("HEAD /v1/stream/b").assert_is("404");
    let remembered = |family: &mut Family| {
        let connection = family.member("a").sql.raw();
        connection.query_row("SELECT COUNT(*) FROM forks", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(remembered(&mut family), 1);
    // The next release deletes expired rows.
    family.run(&[FORK, "WAIT 31s", "DELETE /v1/stream/b"]);
    assert_eq!(remembered(&mut family), 0);
}

/// A creation that waits too long is given up and its link released. If the answer arrives anyway, even during the
/// release, no fork is created and the source is released.
#[test]
fn late_answer_creates_no_unreferenced_fork() {
    for steps in 0..4 {
        let mut family = after(&[A]);
        let id = begin(&mut family, FORK);
        family.advance(id, Fate::Arrives);
        while let Some(at) = family.member("b").shell.alarm_at.filter(|_| family.now < START + 61_000) {
            family.now = at + 1_000;
            family.ring("b");
        }
        for _ in 0..steps {
            let other = family.tasks.iter().find(|task| task.id != id).map(|task| task.id);
            other.map(|other| family.advance(other, Fate::Arrives));
        }
        let response = finish(&mut family, id);
        family.settle();
        family.let_alarms_ring();
        family.assert_edges_are_true();
        let is_there = family.ask("HEAD /v1/stream/b").status == 200;
        assert_eq!(response.status == 201, is_there, "after {steps} steps: {response:?}");
        family.run(&[DELETE]);
        if is_there {
            family.ask("GET /v1/stream/b").assert_is("200 << hello");
        }
    }
}

/// A reference that arrives twice counts once, and still covers the data from the original fork point.
#[test]
fn repeated_reference_counts_once() {
    let mut family = with_segments(1, RetentionDefaults { segments: Some(1), seconds: None });
    family.run(&[A]);
    let id = begin(&mut family, FORK);
    family.advance(id, Fate::Twice);
    finish(&mut family, id).assert_is("201");
    family.run(&[MORE, MORE]);
    family.ask("GET /v1/stream/a?offset=@0_0").assert_is("410 | error: offset_gone");
    family.deliver(0);
    // The source rotates again after that.
    family.run(&[MORE]);
    crash_all(&mut family);
    family.run(&[MORE]);
    assert_eq!(family.member("a").sql.holders().len(), 1);
    family.ask("GET /v1/stream/b").assert_is("200 << hello");
    family.run(&["DELETE /v1/stream/b"]);
    family.assert_edges_are_true();
    family.assert_bucket_is_tidy();
}

/// The fork's alarm retries a release that failed.
#[test]
fn failed_release_is_retried_by_the_alarm() {
    for fate in [Fate::Lost, Fate::Unanswered, Fate::Late, Fate::Twice] {
        let mut family = after(&[A, FORK, DELETE]);
        family.begin(&Request::parse("DELETE /v1/stream/b"));
        family.step(0, Fate::Arrives);
        family.step(0, fate);
        family.settle();
        family.ask("HEAD /v1/stream/b").assert_is("404");
        if !matches!(fate, Fate::Twice) {
            assert_eq!(family.member("b").sql.links().len(), 1, "{fate:?}");
        }
        family.crash("b", false);
        family.now = family.member("b").shell.alarm_at.expect("an alarm is set for the release");
        family.run(&["RING b"]);
        while !family.late.is_empty() {
            family.deliver(0);
            family.settle();
        }
        family.assert_edges_are_true();
        family.ask("HEAD /v1/stream/a").assert_is("404");
    }
}

/// A fork is deleted and created again before its source has processed the first release.
#[test]
fn next_incarnation_of_a_fork_has_its_own_reference() {
    let mut family = after(&[A, FORK]);
    family.begin(&Request::parse("DELETE /v1/stream/b"));
    let id = begin(&mut family, FORK);
    finish(&mut family, id).assert_is("201");
    assert_eq!(family.member("a").sql.holders().len(), 2);
    family.settle();
    family.assert_edges_are_true();
    family.ask("GET /v1/stream/b").assert_is("200 << hello");
    family.ask(DELETE).assert_is("204");
    family.ask("HEAD /v1/stream/a").assert_is("410");
}

// Where the data is.

#[test]
fn fork_of_a_fork_reads_through_all_its_sources() {
    let b = "POST /v1/stream/b | content-type: text/plain << BB";
    let c = "POST /v1/stream/c | content-type: text/plain << CC";
    let d = "PUT /v1/stream/d | stream-forked-from: /v1/stream/c";
    let state = [A, &format!("{FORK} | stream-fork-offset: @0_4"), b, FORK_OF_FORK, c];
    for (headers, next, body) in [
        ("", "@0_8", "hellBBCC"),
        ("| stream-fork-offset: @0_7", "@0_7", "hellBBC"),
        ("| stream-fork-offset: @0_5", "@0_5", "hellB"),
        ("| stream-fork-offset: @0_2", "@0_2", "he"),
        ("| stream-fork-offset: @0_0", "@0_0", ""),
        ("| stream-fork-offset: @0_1 | stream-fork-sub-offset: 1", "@0_2", "he"),
        ("| stream-fork-offset: @0_1 | stream-fork-sub-offset: 3", "@0_4", "hell"),
        ("| stream-fork-offset: @0_1 | stream-fork-sub-offset: 4", "@0_5", "hellB"),
        ("| stream-fork-offset: @0_0 | stream-fork-sub-offset: 8", "@0_8", "hellBBCC"),
        ("| stream-fork-offset: @0_5 | stream-fork-sub-offset: 2", "@0_7", "hellBBC"),
    ] {
        let fork = format!("{d} {headers}");
        check(&state, fork.trim(), &format!("201 | stream-next-offset: {next}"));
        let state = [&state[..], &[fork.trim()]].concat();
        check(&state, "GET /v1/stream/d", &format!("200 | stream-next-offset: {next} << {body}"));
    }
    let beyond = format!("{d} | stream-fork-offset: @0_0 | stream-fork-sub-offset: 9");
    check(&state, &beyond, "400 | error: fork_sub_offset_beyond_tail");
    // It stays readable after all of its sources are deleted.
    let mut family =
        after(&[&state[..], &[d, DELETE, "DELETE /v1/stream/b", "DELETE /v1/stream/c"]].concat());
    family.ask("GET /v1/stream/d").assert_is("200 << hellBBCC");
    family.ask("GET /v1/stream/d?offset=@0_6").assert_is("200 << CC");
}

/// Each append is a segment in the bucket. The fork reads inherited segments there, without a call to its source.
#[test]
fn fork_reads_inherited_segments_from_the_bucket() {
    let state = [A, MORE, "POST /v1/stream/a | content-type: text/plain << 12345"];
    for (headers, next, body) in [
        ("", "@3_0", "helloworld12345"),
        ("| stream-fork-offset: @2_0", "@2_0", "helloworld"),
        ("| stream-fork-offset: @1_3", "@1_3", "hellowor"),
        ("| stream-fork-offset: @0_2", "@0_2", "he"),
        ("| stream-fork-offset: @0_3 | stream-fork-sub-offset: 2", "@1_0", "hello"),
        ("| stream-fork-offset: @0_3 | stream-fork-sub-offset: 3", "@1_1", "hellow"),
        ("| stream-fork-offset: @0_0 | stream-fork-sub-offset: 12", "@2_2", "helloworld12"),
        ("| stream-fork-offset: @0_0 | stream-fork-sub-offset: 15", "@3_0", "helloworld12345"),
    ] {
        let fork = format!("{FORK} {headers}");
        let mut family = rotated(&[&state[..], &[fork.trim()]].concat());
        assert_eq!(family.bucket.objects.len(), 3);
        family.ask("HEAD /v1/stream/b").assert_is(&format!("200 | stream-next-offset: {next}"));
        family.ask("GET /v1/stream/b").assert_is(&format!("200 | stream-next-offset: {next} << {body}"));
        family.run(&["POST /v1/stream/b | content-type: text/plain << own", DELETE]);
        crash_all(&mut family);
        family.ask("GET /v1/stream/b").assert_is(&format!("200 << {body}own"));
        family.run(&["DELETE /v1/stream/b"]);
        family.assert_edges_are_true();
        family.assert_bucket_is_tidy();
        assert!(family.bucket.objects.is_empty());
    }
    let mut family = rotated(&state);
    let beyond = format!("{FORK} | stream-fork-offset: @0_0 | stream-fork-sub-offset: 16");
    family.ask(&beyond).assert_is("400 | error: fork_sub_offset_beyond_tail");
}

/// The source uploads inherited data after the fork was created. The fork stores that segment's row once.
#[test]
fn fork_stores_a_segment_row_once_when_its_source_rotates() {
    let mut family = with_segments(3, RetentionDefaults::default());
    family.run(&[A, MORE, FORK]);
    family.ask("GET /v1/stream/b").assert_is("200 << helloworld");
    family.member("b").sql.take_rows_written();
    family.run(&[MORE]);
    assert_eq!(family.bucket.objects.len(), 1);
    for restarts in [false, true] {
        if restarts {
            crash_all(&mut family);
        }
        family.ask("GET /v1/stream/b").assert_is("200 | stream-next-offset: @0_10 << helloworld");
        family.ask("GET /v1/stream/b?offset=@0_7").assert_is("200 << rld");
    }
    assert_eq!(family.member("b").sql.take_rows_written(), 1, "one row for the segment, none for the reads");
}

/// Offsets between the first and the tail that no response contained.
#[test]
fn fork_offset_need_not_come_from_a_response() {
    // The end of a full segment is the start of the next.
    let mut family = rotated(&[A, MORE]);
    family.ask(&format!("{FORK} | stream-fork-offset: @0_5")).assert_is("201");
    family.ask("GET /v1/stream/b").assert_is("200 | stream-up-to-date: true << hello");
    family.run(&["POST /v1/stream/b | content-type: text/plain << own"]);
    family.ask("GET /v1/stream/b").assert_is("200 | stream-up-to-date: true << helloown");
    let beyond = "PUT /v1/stream/c | stream-forked-from: /v1/stream/a | stream-fork-offset: @0_6";
    family.ask(beyond).assert_is("400 | error: fork_offset_beyond_tail");
    // Only the source that owns inherited data knows where it ends.
    for beyond in ["@0_9", "@0_9999999999999999", "@1_6"] {
        let mut family = rotated(&[A, MORE, FORK]);
        let inside = format!("{FORK_OF_FORK} | stream-fork-offset: {beyond}");
        family.ask(&inside).assert_is("400 | error: fork_offset_beyond_tail");
        family.let_alarms_ring();
        family.assert_edges_are_true();
        family.ask("GET /v1/stream/c").assert_is("404");
    }
    let mut family = rotated(&[A, MORE, FORK]);
    family.ask(&format!("{FORK_OF_FORK} | stream-fork-offset: @0_3")).assert_is("201");
    family.ask("GET /v1/stream/c").assert_is("200 | stream-up-to-date: true << hel");
}

/// A response may exceed its size limit for one large message, but not for one message of each source.
#[test]
fn response_holds_at_most_one_oversized_message() {
    let mut family = Family::new(0);
    let large = |n: usize| format!("\"{}\"", n.to_string().repeat(if n == 0 { 1 } else { 3 << 20 }));
    let json = |line: &str, n| Request::parse(line).header("content-type", "application/json").body(large(n));
    family.send_answered(&json("PUT /v1/stream/s0", 0)).assert_is("201");
    for n in 1..5 {
        family.run(&[&format!("PUT /v1/stream/s{n} | stream-forked-from: /v1/stream/s{}", n - 1)]);
        family.send_answered(&json(&format!("POST /v1/stream/s{n}"), n)).assert_is("204");
    }
    let mut offset = "-1".to_owned();
    for n in 0..5 {
        let response = family.ask(&format!("GET /v1/stream/s4?offset={offset}"));
        assert_eq!(response.body, format!("[{}]", large(n)).into_bytes(), "message {n}");
        assert_eq!(response.header("stream-up-to-date").is_some(), n == 4);
        offset = response.next().to_owned();
    }
}

#[test]
fn chunked_reads_cross_from_inherited_to_own_data() {
    let segments = SegmentLimits { appends_max: 2, bytes_max: 1 << 20, closed_bytes_min: 1 };
    let mut family = Family::with(0, 4, Some(segments), RetentionDefaults::default());
    let own = "POST /v1/stream/b | content-type: text/plain << 0123456789";
    family.run(&[A, MORE, MORE, FORK, own, own, own]);
    let (mut text, mut offset) = (String::new(), "-1".to_owned());
    loop {
        let response = family.ask(&format!("GET /v1/stream/b?offset={offset}"));
        text.push_str(&response.text());
        offset = response.next().to_owned();
        if response.header("stream-up-to-date").is_some() {
            break;
        }
        assert!(!response.body.is_empty(), "a read makes progress");
    }
    assert_eq!(text, format!("helloworldworld{}", "0123456789".repeat(3)));
}

/// The offsets of a fork differ from those of every earlier stream at its URL.
#[test]
fn fork_at_a_reused_url_has_new_offsets() {
    let b = "PUT /v1/stream/b | content-type: text/plain << old";
    check(&[A, b, "DELETE /v1/stream/b"], FORK, "201 | stream-next-offset: @1_5");
    let state = [A, b, "DELETE /v1/stream/b", FORK];
    check(&state, "GET /v1/stream/b", "200 | stream-next-offset: @1_5 << hello");
    check(&state, "GET /v1/stream/b?offset=@1_2", "200 << llo");
    check(&state, "GET /v1/stream/b?offset=@0_2", "410 | error: offset_gone | stream-next-offset: @1_0");
    let own = "POST /v1/stream/b | content-type: text/plain << !";
    check(
        &[&state[..], &[own]].concat(),
        "GET /v1/stream/b?offset=@1_4",
        "200 | stream-next-offset: @1_6 << o!",
    );
    // The same for a fork of that fork.
    check(&[&state[..], &[own]].concat(), FORK_OF_FORK, "201 | stream-next-offset: @1_6");
    check(&[&state[..], &[own, FORK_OF_FORK]].concat(), "GET /v1/stream/c?offset=@1_4", "200 << o!");
    let walked = format!("{FORK_OF_FORK} | stream-fork-offset: @1_1 | stream-fork-sub-offset: 2");
    check(&[&state[..], &[own]].concat(), &walked, "201 | stream-next-offset: @1_3");
    check(&[&state[..], &[own, &walked]].concat(), "GET /v1/stream/c", "200 << hel");
    // The same for segments in the bucket.
    let mut family = rotated(&[A, MORE, b, "DELETE /v1/stream/b", FORK]);
    family.ask("GET /v1/stream/b").assert_is("200 | stream-next-offset: @4_0 << helloworld");
    family.ask("GET /v1/stream/b?offset=@3_2").assert_is("200 << rld");
    // The source's segment numbers are already higher, so the fork's need no increment.
    let mut family = rotated(&[A, MORE, MORE, DELETE, A, MORE, b, "DELETE /v1/stream/b", FORK]);
    family.ask("GET /v1/stream/b").assert_is("200 | stream-next-offset: @6_0 << helloworld");
}

/// Retention of a source trims data for its own readers only. Its forks keep what they inherited.
#[test]
fn retention_of_a_source_keeps_inherited_data() {
    let mut family = with_segments(1, RetentionDefaults { segments: Some(1), seconds: None });
    family.run(&[A, FORK, MORE, MORE, MORE]);
    family.ask("GET /v1/stream/a").assert_is("200 << world");
    family.ask("GET /v1/stream/b").assert_is("200 << hello");
    assert_eq!(family.bucket.objects.len(), 4, "segments from the oldest that a fork needs are retained");
    let gone = "PUT /v1/stream/c | stream-forked-from: /v1/stream/a | stream-fork-offset: @0_0";
    family.ask(gone).assert_is("400 | error: fork_offset_gone");
    family.run(&["PUT /v1/stream/c | stream-forked-from: /v1/stream/a"]);
    family.ask("GET /v1/stream/c").assert_is("200 | stream-next-offset: @4_0 << world");
    family
        .ask("GET /v1/stream/c?offset=@0_0")
        .assert_is("410 | error: offset_gone | stream-next-offset: @3_0");
    family.run(&["DELETE /v1/stream/b"]);
    assert_eq!(family.bucket.objects.len(), 1);
    family.assert_bucket_is_tidy();
    family.ask("GET /v1/stream/c").assert_is("200 << world");
}

/// A closed stream may have trimmed all its data. A fork of it is empty, and begins at its tail.
#[test]
fn fork_of_a_fully_trimmed_stream_is_empty() {
    let mut family = with_segments(1_000, RetentionDefaults { segments: None, seconds: Some(5) });
    family.run(&[A, CLOSE, "WAIT 5s"]);
    family.ask("GET /v1/stream/a").assert_is("200 | stream-closed: true | stream-next-offset: @0_5 <<");
    assert!(family.bucket.objects.is_empty());
    let beyond = format!("{FORK} | stream-fork-sub-offset: 1");
    family.ask(&beyond).assert_is("400 | error: fork_sub_offset_beyond_tail");
    let before = format!("{FORK} | stream-fork-offset: @0_4");
    family.ask(&before).assert_is("400 | error: fork_offset_gone");
    family.ask(&format!("{FORK} << own")).assert_is("201 | stream-next-offset: @0_8");
    crash_all(&mut family);
    family.ask("GET /v1/stream/b").assert_is("200 << own");
    family.run(&[FORK_OF_FORK]);
    family.ask("GET /v1/stream/c?offset=@0_5").assert_is("200 << own");
}

/// A fork trims its oldest data first, which is what it inherited.
#[test]
fn retention_of_a_fork_trims_inherited_data_first() {
    let mut family = with_segments(1, RetentionDefaults::default());
    let fork = format!("{FORK} | stream-retention: bytes=5");
    let own = |text: &str| format!("POST /v1/stream/b | content-type: text/plain << {text}");
    family.run(&[A, MORE, &fork, &own("11111")]);
    family.ask("GET /v1/stream/b").assert_is("200 << helloworld11111");
    family.run(&[&own("22222")]);
    family.ask("GET /v1/stream/b").assert_is("200 | stream-next-offset: @4_0 << 22222");
    family.ask("GET /v1/stream/b?offset=@0_0").assert_is("410 | stream-next-offset: @3_0");
    crash_all(&mut family);
    family.ask("GET /v1/stream/b").assert_is("200 << 22222");
    family.run(&[FORK_OF_FORK]);
    family.ask("GET /v1/stream/c").assert_is("200 << 22222");
    family.run(&[DELETE, "DELETE /v1/stream/b", "DELETE /v1/stream/c"]);
    family.assert_edges_are_true();
    assert!(family.bucket.objects.is_empty());
}

/// A fork stores every stream that it has data of, so their number is limited.
#[test]
fn fork_depth_is_limited() {
    let mut family = Family::new(0);
    family.run(&["PUT /v1/stream/s0 | content-type: text/plain << x"]);
    for n in 1..OWNERS_MAX {
        let source = n - 1;
        family.run(&[&format!("PUT /v1/stream/s{n} | stream-forked-from: /v1/stream/s{source} << x")]);
    }
    let last = OWNERS_MAX - 1;
    let fork = format!("PUT /v1/stream/b | stream-forked-from: /v1/stream/s{last}");
    family.ask(&fork).assert_is("201");
    family.ask("GET /v1/stream/b?offset=@0_250").assert_is("200 << xxxxxx");
    family.run(&["POST /v1/stream/b | content-type: text/plain << x"]);
    family.ask(FORK_OF_FORK).assert_is("400 | error: fork_too_deep");
    // Only the streams before the fork point count.
    family.ask(&format!("{FORK_OF_FORK} | stream-fork-offset: @0_256")).assert_is("201");
    family.let_alarms_ring();
    family.assert_edges_are_true();
}

/// Rows that the platform bills to the fork and to its source: for the intent, the reference, the stream, and the release.
#[test]
fn fork_creation_writes_three_rows() {
    let rows = |family: &mut Family| ["b", "a"].map(|path| family.member(path).sql.take_rows_written());
    let mut family = after(&[A]);
    rows(&mut family);
    let id = begin(&mut family, FORK);
    assert_eq!(rows(&mut family), [1, 0], "the intent");
    family.advance(id, Fate::Arrives);
    assert_eq!(rows(&mut family), [0, 1], "the reference");
    finish(&mut family, id).assert_is("201");
    assert_eq!(rows(&mut family), [1, 0], "the stream; the intent's row becomes the link");
    family.settle();
    for request in ["GET /v1/stream/b", "HEAD /v1/stream/b", FORK] {
        family.ask(request);
        assert_eq!(rows(&mut family), [0, 0], "{request}");
    }
    family.now += 31_000;
    family.ask("DELETE /v1/stream/b").assert_is("204");
    assert_eq!(rows(&mut family), [2, 1], "the stream and the link; the source's row");
    // While the call may still arrive, the source must remember the release.
    family.run(&[FORK]);
    rows(&mut family);
    family.ask("DELETE /v1/stream/b").assert_is("204");
    assert_eq!(rows(&mut family), [2, 2]);
    // A source that was deleted first ends with its last fork.
    family.run(&[FORK, "WAIT 31s"]);
    rows(&mut family);
    family.ask(DELETE).assert_is("204");
    assert_eq!(rows(&mut family), [0, 1]);
    family.ask("DELETE /v1/stream/b").assert_is("204");
    // The remembered release is deleted with it.
    assert_eq!(rows(&mut family), [2, 3]);
    // A refused fork writes no row at the source.
    family.ask(FORK).assert_is("404");
    family.let_alarms_ring();
    assert_eq!(rows(&mut family), [2, 0]);
    assert!(family.member("b").sql.links().is_empty());
}
