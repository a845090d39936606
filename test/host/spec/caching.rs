//! PROTOCOL.md 10: what caches may keep, and entity tags.

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::{Request, World, check};

const PUBLIC: &str = "cache-control: public, max-age=60, stale-while-revalidate=300";

#[test]
fn cache_control() {
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
    // The start is another place in each life of the URL, so a recreated stream must not be answered from the old one.
    check(&state, "GET ?offset=-1&live=long-poll", "200 | cache-control: no-cache");
    check(&state, "GET ?live=long-poll&offset=-1", "200 | cache-control: no-cache");
    check(&[], "GET", "404 | cache-control: no-store");
}

/// Bytes below the tail never change while the stream lives.
#[test]
fn chunks_below_the_tail_are_kept() {
    let mut world = World::with_chunks(3);
    world.run(&[BYTES, "POST | content-type: application/octet-stream << abcdef"]);
    world.ask("GET").assert_is("200 | cache-control: no-cache << abc");
    world.ask("GET ?offset=@0_1").assert_is(&format!("200 | {PUBLIC} << bcd"));
    world.ask("GET ?offset=@0_3").assert_is("200 | cache-control: no-cache << def");
}

/// No longer than the stream lives.
#[test]
fn nothing_is_kept_beyond_the_streams_life() {
    let below_tail = "GET ?offset=@0_1&live=long-poll";
    for (seconds, cache) in [
        (0u64, None),
        (10, Some("public, max-age=10, stale-while-revalidate=0")),
        (60, Some("public, max-age=60, stale-while-revalidate=0")),
        (100, Some("public, max-age=60, stale-while-revalidate=40")),
        (360, Some("public, max-age=60, stale-while-revalidate=300")),
        (3600, Some("public, max-age=60, stale-while-revalidate=300")),
    ] {
        let mut world =
            World::after(&[&format!("PUT | content-type: text/plain | stream-ttl: {seconds} << hello")]);
        assert_eq!(world.ask(below_tail).header("cache-control"), Some(cache.unwrap_or("no-store")));
    }
    let expires = "PUT | content-type: text/plain | stream-expires-at: 2030-01-01T00:01:40Z << hello";
    check(
        &[expires, "WAIT 70500ms"],
        below_tail,
        "200 | cache-control: public, max-age=29, stale-while-revalidate=0",
    );
}

#[test]
fn a_tag_names_life_range_and_closure() {
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
    // Another life of the same length, with the same readSeq or not, is something else.
    assert_eq!(World::after(&[TEXT, HELLO]).ask("GET ?offset=now").header("etag"), None);
}

/// RFC 9110, 13.1.2: lists, weak tags and `*` are legal.
#[test]
fn if_none_match() {
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

/// 10.1: a closure must not hide behind 304.
#[test]
fn closing_changes_the_tag() {
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
fn now_has_no_tag_and_is_never_304() {
    check(&[TEXT, HELLO], "GET ?offset=now | if-none-match: *", "200 | !etag");
}

#[test]
fn a_tag_of_an_earlier_life_is_not_known() {
    let mut world = World::after(&[TEXT, HELLO]);
    let tag = world.ask("GET").header("etag").unwrap().to_owned();
    world.run(&["DELETE", TEXT, HELLO]);
    world.send_answered(&Request::parse("GET").header("if-none-match", &tag)).assert_is("200 << hello");
}
