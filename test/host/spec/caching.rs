//! PROTOCOL.md 10: cache policies, entity tags, reader keys and collapsing.

use durable_streams::edge::collapse::{Reader, collapse_key};
use durable_streams::edge::target::Target;
use durable_streams::stream::reader_key::{self, KEY_PERIOD};

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::{LongPoll, Request, World, check};

const PUBLIC: &str = "cache-control: public, max-age=60, stale-while-revalidate=300, stale-if-error=0";

#[test]
fn every_response_has_its_cache_control() {
    let state = [TEXT, HELLO];
    let table = [
        ("GET", "200 | cache-control: no-cache"),
        ("GET ?offset=@0_5", "200 | cache-control: no-cache"),
        ("GET ?offset=now", "200 | cache-control: no-store"),
        ("HEAD", "200 | cache-control: no-store"),
        (TEXT, "200 | cache-control: no-store"),
        (HELLO, "204 | cache-control: no-store"),
        (CLOSE, "204 | cache-control: no-store"),
        ("DELETE", "204 | cache-control: no-store"),
        ("GET ?offset=@0_9", "400 | cache-control: no-store"),
        ("OPTIONS", "204 | cache-control: no-store"),
        ("GET /health", "200 | cache-control: no-store"),
        ("GET /nowhere", "404 | cache-control: no-store"),
    ];
    for (request, expected) in table {
        check(&state, request, expected);
    }
    check(&state, "GET ?offset=@0_1&live=long-poll", &format!("200 | {PUBLIC}"));
    check(&state, "GET ?offset=@0_0&live=long-poll", &format!("200 | {PUBLIC}"));
    // `-1` names another offset in each incarnation, so a cache must not serve it for a recreated stream.
    check(&state, "GET ?offset=-1&live=long-poll", "200 | cache-control: no-cache");
    check(&state, "GET ?live=long-poll&offset=-1", "200 | cache-control: no-cache");
    check(&[], "GET", "404 | cache-control: no-store");
}

/// Data before the tail never changes while the stream exists.
#[test]
fn data_before_the_tail_is_cacheable() {
    let mut world = World::with_chunks(3);
    world.run(&[BYTES, "POST | content-type: application/octet-stream << abcdef"]);
    world.ask("GET").assert_is("200 | cache-control: no-cache << abc");
    world.ask("GET ?offset=@0_2").assert_is(&format!("200 | {PUBLIC} << cde"));
    world.ask("GET ?offset=@0_3").assert_is("200 | cache-control: no-cache << def");
}

#[test]
fn cache_lifetime_ends_with_the_stream() {
    let below_tail = "GET ?offset=@0_1&live=long-poll";
    for (seconds, cache) in [
        (0u64, None),
        (10, Some("public, max-age=10, stale-while-revalidate=0, stale-if-error=0")),
        (60, Some("public, max-age=60, stale-while-revalidate=0, stale-if-error=0")),
        (100, Some("public, max-age=60, stale-while-revalidate=40, stale-if-error=0")),
        (360, Some("public, max-age=60, stale-while-revalidate=300, stale-if-error=0")),
        (3600, Some("public, max-age=60, stale-while-revalidate=300, stale-if-error=0")),
    ] {
        let mut world =
            World::after(&[&format!("PUT | content-type: text/plain | stream-ttl: {seconds} << hello")]);
        assert_eq!(world.ask(below_tail).header("cache-control"), Some(cache.unwrap_or("no-store")));
    }
    let expires = "PUT | content-type: text/plain | stream-expires-at: 2030-01-01T00:01:40Z << hello";
    check(
        &[expires, "WAIT 70500ms"],
        below_tail,
        "200 | cache-control: public, max-age=29, stale-while-revalidate=0, stale-if-error=0",
    );
}

/// The end of a closed stream never changes. If it were uncacheable, a cache would send the waiting requests one
/// after another.
#[test]
fn end_of_a_closed_stream_is_cacheable() {
    let closed = [TEXT, HELLO, CLOSE];
    let at_end = "GET ?offset=@0_5&live=long-poll";
    check(&closed, at_end, &format!("204 | stream-closed: true | {PUBLIC}"));
    check(&closed, "GET ?offset=now&live=long-poll", "204 | stream-closed: true | cache-control: no-store");
    check(&[TEXT, CLOSE], "GET ?offset=-1&live=long-poll", "204 | cache-control: no-cache");
    let ends = "PUT | content-type: text/plain | stream-ttl: 10 | stream-closed: true << hello";
    let bounded = "public, max-age=10, stale-while-revalidate=0, stale-if-error=0";
    check(&[ends], at_end, &format!("204 | cache-control: {bounded}"));
    // Parked readers get the same policy.
    for (offset, expected) in [("@0_5", PUBLIC), ("now", "cache-control: no-store")] {
        let mut world = World::after(&[TEXT, HELLO]);
        let mut poll = LongPoll::park(&mut world, &format!("GET ?offset={offset}&live=long-poll"));
        world.run(&[CLOSE]);
        poll.answer(&mut world).unwrap().assert_is(&format!("204 | stream-closed: true | {expected}"));
    }
    let (mut world, key) = guarded(&closed);
    world.ask(at_end).assert_is(&format!("204 | cache-control: {PRIVATE} | vary: Origin"));
    world.ask(&format!("{at_end}&rk={key}")).assert_is(&format!("204 | {PUBLIC} | vary: Origin"));
}

#[test]
fn etag_names_incarnation_range_and_closure() {
    let tag = |world: &mut World, request: &str| world.ask(request).header("etag").unwrap().to_owned();
    let mut world = World::after(&[TEXT, HELLO]);
    let mut tags = vec![
        tag(&mut world, "GET"),
        tag(&mut world, "GET ?offset=@0_1"),
        tag(&mut world, "GET ?offset=@0_5"),
    ];
    assert_eq!(tag(&mut world, "GET ?offset=-1"), tags[0], "the same bytes have the same tag");
    world.run(&[HELLO]);
    tags.push(tag(&mut world, "GET"));
    world.run(&[CLOSE]);
    tags.push(tag(&mut world, "GET"));
    assert!(tags[4].ends_with(":c\""), "{}", tags[4]);
    world.run(&["DELETE", TEXT, HELLO]);
    tags.push(tag(&mut world, "GET"));
    let mut distinct = tags.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), tags.len(), "{tags:?}");
    assert!(tags.iter().all(|tag| tag.starts_with('"') && tag.ends_with('"')));
    // A read at `now` has no tag, whatever the incarnation.
    assert_eq!(World::after(&[TEXT, HELLO]).ask("GET ?offset=now").header("etag"), None);
}

/// RFC 9110, 13.1.2 allows lists, weak tags and `*`.
#[test]
fn if_none_match_accepts_lists_weak_tags_and_star() {
    let mut world = World::after(&[TEXT, HELLO]);
    let tag = world.ask("GET").header("etag").unwrap().to_owned();
    let known = [
        tag.clone(),
        format!("W/{tag}"),
        "*".to_owned(),
        format!("\"a\", {tag}"),
        format!("\"a\",W/\"b\" ,  W/{tag},\"c\""),
        format!(" {tag} "),
    ];
    for if_none_match in known {
        let read = Request::parse("GET").header("if-none-match", &if_none_match);
        world.send_answered(&read).assert_is(&format!(
            "304 | etag: {tag} | stream-next-offset: @0_5 | stream-up-to-date: true | cache-control: no-cache | \
             !content-type <<"
        ));
    }
    let unquoted = tag.trim_matches('"').to_owned();
    for if_none_match in ["\"\"", "", "\"*\"", &unquoted, &format!("{tag}x"), &format!("w/{tag}")] {
        let read = Request::parse("GET").header("if-none-match", if_none_match);
        world.send_answered(&read).assert_is("200 << hello");
    }
}

/// 10.1: a 304 must not hide a closure.
#[test]
fn closing_changes_the_etag() {
    for state in [&[TEXT, HELLO][..], &[TEXT], &[JSON]] {
        let mut world = World::after(state);
        let tag = world.ask("GET").header("etag").unwrap().to_owned();
        world.run(&[CLOSE]);
        let again = Request::parse("GET").header("if-none-match", &tag);
        world.send_answered(&again).assert_is("200 | stream-closed: true");
        let closed_tag = world.ask("GET").header("etag").unwrap().to_owned();
        let again = Request::parse("GET").header("if-none-match", &closed_tag);
        world.send_answered(&again).assert_is("304 | stream-closed: true");
    }
}

#[test]
fn read_at_now_has_no_etag_and_no_304() {
    check(&[TEXT, HELLO], "GET ?offset=now | if-none-match: *", "200 | !etag");
}

#[test]
fn etag_of_an_earlier_incarnation_does_not_match() {
    let mut world = World::after(&[TEXT, HELLO]);
    let tag = world.ask("GET").header("etag").unwrap().to_owned();
    world.run(&["DELETE", TEXT, HELLO]);
    world.send_answered(&Request::parse("GET").header("if-none-match", &tag)).assert_is("200 << hello");
}

// Reader keys.

const PRIVATE: &str = "private, no-cache";

/// A world where reads need a token, and the reader key of its stream.
fn guarded(steps: &[&str]) -> (World, String) {
    let mut world = World::new();
    world.guard();
    world.run(steps);
    let key = world.ask("HEAD").header("stream-reader-key").unwrap_or_default().to_owned();
    (world, key)
}

/// A reader with access to a private stream gets its reader key. A cache may store responses to reads with that key.
#[test]
fn private_stream_is_cacheable_with_its_reader_key() {
    let (mut world, key) = guarded(&[TEXT, HELLO]);
    assert!(!key.is_empty());
    world.ask(TEXT).assert_is(&format!("200 | stream-reader-key: {key}"));
    let below_tail = "GET ?offset=@0_2&live=long-poll";
    world.ask(below_tail).assert_is(&format!("200 | cache-control: {PRIVATE} | x-cache: BYPASS << llo"));
    world.ask(&format!("{below_tail}&rk={key}")).assert_is(&format!("200 | {PUBLIC} | x-cache: MISS << llo"));
    for wrong in ["", "x", "key-0"] {
        let read = format!("{below_tail}&rk={wrong}");
        world.ask(&read).assert_is(&format!("200 | cache-control: {PRIVATE} | x-cache: BYPASS << llo"));
    }
    // A key makes no response cacheable that would not be cacheable on a public stream.
    world.ask(&format!("GET ?rk={key}")).assert_is("200 | cache-control: no-cache | x-cache: BYPASS");
    world.ask(&format!("GET ?offset=now&rk={key}")).assert_is("200 | cache-control: no-store");
    world
        .ask(&format!("GET ?offset=@0_5&rk={key}"))
        .assert_is("200 | cache-control: no-cache | x-cache: BYPASS");
    world.ask("GET ?offset=@0_1&rk=a&rk=b").assert_is("400");
}

#[test]
fn waiter_gets_the_cache_policy_of_its_key() {
    let (mut world, key) = guarded(&[TEXT, HELLO]);
    let mut with = LongPoll::park(&mut world, &format!("GET ?offset=@0_5&live=long-poll&rk={key}"));
    let mut without = LongPoll::park(&mut world, "GET ?offset=@0_5&live=long-poll");
    let mut wrong = LongPoll::park(&mut world, "GET ?offset=@0_5&live=long-poll&rk=x");
    world.run(&["RESTART", HELLO]);
    with.answer(&mut world).unwrap().assert_is(&format!("200 | {PUBLIC}"));
    for poll in [&mut without, &mut wrong] {
        poll.answer(&mut world).unwrap().assert_is(&format!("200 | cache-control: {PRIVATE}"));
    }
}

/// Once a key is replaced, caches no longer store responses to the old one, not even of waiters.
#[test]
fn reader_key_can_be_replaced() {
    let (mut world, old) = guarded(&[TEXT, HELLO]);
    let mut waits = LongPoll::park(&mut world, &format!("GET ?offset=@0_5&live=long-poll&rk={old}"));
    world.run(&["WAIT 1s"]);
    world
        .ask("PUT | content-type: text/plain | stream-reader-key: old")
        .assert_is("400 | error: invalid_header");
    let replaced = world.ask("PUT | content-type: text/plain | stream-reader-key: new");
    let new = replaced.header("stream-reader-key").unwrap().to_owned();
    assert_ne!(new, old);
    for _ in 0..2 {
        let read = |key: &str| format!("GET ?offset=@0_1&live=long-poll&rk={key}");
        world.ask(&read(&new)).assert_is(&format!("200 | {PUBLIC}"));
        world.ask(&read(&old)).assert_is(&format!("200 | cache-control: {PRIVATE}"));
        world.ask("HEAD").assert_is(&format!("200 | stream-reader-key: {new}"));
        world.restart();
    }
    world.run(&[HELLO]);
    waits.answer(&mut world).unwrap().assert_is(&format!("200 | cache-control: {PRIVATE}"));
    // The next incarnation has another key.
    world.run(&["DELETE", "WAIT 1s", TEXT]);
    assert_ne!(world.ask("HEAD").header("stream-reader-key"), Some(&*new));
}

/// A reader key is valid in the hour of its creation and in the next. A response to an expired key carries a valid
/// one, and no shared cache stores it. All readers of an hour have the same key, so a cache answers them together.
#[test]
fn reader_key_expires_within_two_hours() {
    let (mut world, first) = guarded(&[TEXT, HELLO]);
    let read = |key: &str| format!("GET ?offset=@0_1&live=long-poll&rk={key}");
    let key = |world: &mut World| world.ask("HEAD").header("stream-reader-key").unwrap().to_owned();
    world.now = (world.now + 1).next_multiple_of(KEY_PERIOD);
    let second = key(&mut world);
    assert_ne!(second, first);
    world.now += KEY_PERIOD - 1;
    assert_eq!(key(&mut world), second, "all readers of an hour have one key");
    for valid in [&first, &second] {
        world.ask(&read(valid)).assert_is(&format!("200 | {PUBLIC} | !stream-reader-key"));
    }
    world.now += 1;
    let third = key(&mut world);
    world.ask(&read(&second)).assert_is(&format!("200 | {PUBLIC} | !stream-reader-key"));
    // Every read with an expired key gets the same answer, and so does a wrong guess.
    for ended in [&*first, "x", ""] {
        for reads in ["", "offset=-1&", "offset=@0_1&", "offset=@0_1&live=long-poll&"] {
            let renewed = format!("200 | cache-control: {PRIVATE} | stream-reader-key: {third}");
            world.ask(&format!("GET ?{reads}rk={ended}")).assert_is(&renewed);
        }
        let renewed = format!("200 | cache-control: no-store | stream-reader-key: {third}");
        world.ask(&format!("GET ?offset=now&rk={ended}")).assert_is(&renewed);
    }
    // A reader that sends no key, or may not read the stream, gets none.
    world.ask("GET ?offset=@0_1").assert_is("200 | !stream-reader-key");
    world
        .ask(&format!("GET ?offset=@0_1&rk={first} | stream-stranger: true"))
        .assert_is("401 | !stream-reader-key");
    let mut open = World::after(&[TEXT, HELLO]);
    open.ask("GET ?offset=@0_1&rk=x").assert_is("200 | !stream-reader-key");
    let (mut public, _) = guarded(&["PUT | content-type: text/plain | stream-public: true", HELLO]);
    public.ask("GET ?offset=@0_1&rk=x").assert_is("200 | !stream-reader-key");
}

/// Waiters with an expired key get a new one with the data or with the timeout. Waiters whose key was valid when they
/// began do not.
#[test]
fn waiter_renews_an_expired_reader_key() {
    let (mut world, old) = guarded(&[TEXT, HELLO]);
    world.now += 2 * KEY_PERIOD;
    let new = world.ask("HEAD").header("stream-reader-key").unwrap().to_owned();
    let wait = |key: &str| format!("GET ?offset=@0_5&live=long-poll&rk={key}");
    let mut renews = LongPoll::park(&mut world, &wait(&old));
    let mut keyed = LongPoll::park(&mut world, &wait(&new));
    let timeout = LongPoll::park(&mut world, &wait(&old)).time_out(&mut world);
    timeout.assert_is(&format!("204 | cache-control: no-store | stream-reader-key: {new}"));
    world.run(&["RESTART", HELLO]);
    let renewed = format!("200 | cache-control: {PRIVATE} | stream-reader-key: {new}");
    renews.answer(&mut world).unwrap().assert_is(&renewed);
    keyed.answer(&mut world).unwrap().assert_is(&format!("200 | {PUBLIC} | !stream-reader-key"));
}

/// Versions without hourly keys gave readers the stored value itself. It is no secret, so no keys derive from it
/// until a PUT replaces it.
#[test]
fn permanent_key_of_older_versions_derives_no_keys() {
    let (mut world, _) = guarded(&[TEXT, HELLO]);
    world.sql.raw().execute("UPDATE stream SET reader_key = 'key-0'", []).unwrap();
    world.restart();
    world.ask("HEAD").assert_is("200 | !stream-reader-key");
    world
        .ask("GET ?offset=@0_1&rk=key-0")
        .assert_is(&format!("200 | cache-control: {PRIVATE} | !stream-reader-key"));
    let replaced = world.ask(TEXT).header("stream-reader-key").unwrap().to_owned();
    world.restart();
    world
        .ask(&format!("GET ?offset=@0_1&live=long-poll&rk={replaced}"))
        .assert_is(&format!("200 | {PUBLIC}"));
    let again = world.ask(TEXT);
    again.assert_is(&format!("200 | stream-reader-key: {replaced}"));
}

/// Two versions of the server that run side by side must derive the same keys.
#[test]
fn reader_keys_are_unchanged() {
    let secret = reader_key::secret("0");
    assert_eq!(secret, "h.0");
    let keys = [0, KEY_PERIOD - 1, KEY_PERIOD].map(|now| reader_key::current(&secret, now).unwrap());
    assert_eq!(keys, ["-hgOgP7C-ns-lEjDZGJePQ", "-hgOgP7C-ns-lEjDZGJePQ", "6gIitkwUK-v-kxpZHGwe6Q"]);
}

#[test]
fn only_private_streams_have_a_reader_key() {
    check(&[TEXT], "HEAD", "200 | !stream-reader-key");
    check(&[], TEXT, "201 | !stream-reader-key");
    let (mut world, key) = guarded(&["PUT | content-type: text/plain | stream-public: true", HELLO]);
    assert_eq!(key, "");
    world.ask("GET ?offset=@0_1&live=long-poll").assert_is(&format!("200 | {PUBLIC} | x-cache: MISS"));
}

// Collapsing.

#[test]
fn only_equal_cacheable_reads_share_a_collapse_key() {
    use Reader::{Anyone, Holder, Stranger};
    let at = "0000000000000003_0000000000000007";
    let key = |query: &str| Some(format!("https://a.example/v1/stream/p/q?{query}"));
    let table = [
        (Anyone, format!("offset={at}"), key(&format!("offset={at}"))),
        (Anyone, format!("x=1&offset={at}&token=secret#f"), key(&format!("offset={at}"))),
        (
            Anyone,
            format!("offset={at}&live=long-poll&cursor=9"),
            key(&format!("cursor=9&live=long-poll&offset={at}")),
        ),
        (Anyone, format!("rk=k&offset={at}"), key(&format!("offset={at}&rk=k"))),
        (Holder, format!("rk=k%26&offset={at}"), key(&format!("offset={at}&rk=k%26"))),
        (Stranger, format!("offset={at}"), key(&format!("offset={at}"))),
        // Only the object knows whether the stream is public.
        (Holder, format!("offset={at}"), None),
        // A reader key grants no access.
        (Stranger, format!("rk=k&offset={at}"), None),
        (Stranger, format!("rk=&offset={at}"), None),
        // Requests that are not collapsed.
        (Anyone, "offset=-1".to_owned(), None),
        (Anyone, "offset=now".to_owned(), None),
        (Anyone, "live=long-poll".to_owned(), None),
        (Anyone, String::new(), None),
        (Anyone, format!("offset={at}&live=sse"), None),
        (Anyone, format!("offset={at}&live=x"), None),
        (Anyone, "offset=x".to_owned(), None),
        (Anyone, format!("offset={at}&offset={at}"), None),
        (Anyone, "at=2030-01-01T00:00:00Z".to_owned(), None),
        (Anyone, "last=1".to_owned(), None),
        (Anyone, "live=long-poll&last=1".to_owned(), None),
        (Anyone, format!("offset={at}&last=1"), None),
        (Anyone, format!("offset={at}&at="), None),
    ];
    for (reader, query, expected) in table {
        let url = format!("https://a.example/v1/stream/p/q?{query}");
        assert_eq!(collapse_key(reader, &Target::of(&url)), expected, "{reader:?} {query}");
    }
}
