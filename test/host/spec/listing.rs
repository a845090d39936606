//! The listing of streams: its requests, what a token may list, and the pages of a registry.

use ::http::Method;

use crate::support::world::START;
use crate::support::{Response, World};
use durable_streams::edge::grant::{Grant, Scope, Streams};
use durable_streams::edge::listing::Listing;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::target::Target;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::listing::{
    Described, LIMIT_DEFAULT, LIMIT_MAX, ListQuery, ListedStreams, Page,
};
use durable_streams::protocol::refusal::Refusal;
use durable_streams::protocol::registry::{Record, RegistryEvent};
use durable_streams::protocol::reply::Reply;
use durable_streams::storage::registry::LISTED_ROWS_MAX;
use serde_json::{Value, json};

const URL: &str = "https://streams.test/v1/streams";

fn ask(prefix: &str, after: &str, limit: u64) -> ListQuery {
    ListQuery { prefix: prefix.to_owned(), after: after.to_owned(), limit, subscriptions: false }
}

// Requests.

#[test]
fn listing_is_a_get_of_v1_streams() {
    for (method, path, expected) in [
        (Method::GET, "?prefix=a", "listing"),
        (Method::GET, "", "listing"),
        (Method::OPTIONS, "", "preflight"),
        (Method::HEAD, "", "405"),
        (Method::PUT, "", "405"),
        (Method::POST, "", "405"),
        (Method::DELETE, "", "405"),
        // Paths below it name streams.
        (Method::GET, "/", "400"),
        (Method::GET, "/?prefix=a", "400"),
        (Method::GET, "//", "400"),
        (Method::GET, "/a", "forward"),
        (Method::GET, "/a?offset=-1", "forward"),
    ] {
        let found = match route(&method, &Target::of(&format!("{URL}{path}"))) {
            Route::Listing => "listing".to_owned(),
            Route::Preflight => "preflight".to_owned(),
            Route::Reply(reply) => reply.status.as_u16().to_string(),
            Route::Forward(_) => "forward".to_owned(),
            other @ (Route::Health
            | Route::Description
            | Route::LongPoll(_)
            | Route::Sse(_)
            | Route::Orphans
            | Route::Details(_)
            | Route::Ready
            | Route::Metrics
            | Route::Console(_)
            | Route::Subscriptions(_)) => {
                panic!("{other:?}")
            }
        };
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[test]
fn listing_parameters_are_validated() {
    let (longest, long) = ("x".repeat(741), "x".repeat(742));
    let (after, too_long) = (format!("?after={longest}"), format!("?after={long}"));
    let (prefix, too_long_prefix) = (format!("?prefix={longest}"), format!("?prefix={long}"));
    let table = [
        ("", Ok(ask("", "", LIMIT_DEFAULT))),
        ("?prefix=&other=1&other=2", Ok(ask("", "", LIMIT_DEFAULT))),
        ("?prefix=a%2Fb+c&after=%c3%a9&limit=1#?limit=2", Ok(ask("a/b c", "\u{e9}", 1))),
        ("?limit=100", Ok(ask("", "", LIMIT_MAX))),
        (&after, Ok(ask("", &longest, LIMIT_DEFAULT))),
        (&prefix, Ok(ask(&longest, "", LIMIT_DEFAULT))),
        (&too_long, Err("after")),
        (&too_long_prefix, Err("prefix")),
        ("?after=", Err("after")),
        ("?after=a&after=b", Err("after")),
        ("?prefix=a&prefix=a", Err("prefix")),
        ("?limit=", Err("limit")),
        ("?limit=0", Err("limit")),
        ("?limit=101", Err("limit")),
        ("?limit=-1", Err("limit")),
        ("?limit=%2B1", Err("limit")),
        ("?limit=1.5", Err("limit")),
        ("?limit=99999999999999999999", Err("limit")),
        ("?token=abc", Err("token")),
    ];
    for (query, expected) in table {
        match (ListQuery::parse(&format!("{URL}{query}")), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{query}"),
            (Err(Refusal::InvalidQuery { name, .. }), Err(expected)) => assert_eq!(name, expected, "{query}"),
            (found, expected) => panic!("{query}: {found:?} instead of {expected:?}"),
        }
    }
}

/// CORS allows the origins of the project whose streams the request lists.
#[test]
fn cors_project_of_a_listing_comes_from_its_prefix() {
    for (url, project) in [
        ("/v1/streams?prefix=a/", Some("a")),
        ("/v1/streams?prefix=a%2Fb", Some("a")),
        ("/v1/streams?prefix=a", None),
        ("/v1/streams", None),
        ("/v1/streams?prefix=a/&prefix=b/", None),
        ("/v1/stream/a/b", Some("a")),
        ("/v1/stream/a", Some("a")),
        ("/health", None),
    ] {
        assert_eq!(Target::of(&format!("https://x{url}")).project_named().as_deref(), project, "{url}");
    }
}

// Tokens.

#[test]
fn token_with_manage_lists_the_streams_it_allows() {
    let all = vec![Scope::Read, Scope::Write, Scope::Manage];
    let grant = |project: Option<&str>, scopes: &[Scope], claim: &str| Grant {
        project: project.map(str::to_owned),
        scopes: scopes.to_vec(),
        streams: Streams::parse(claim),
        expires_at: None,
    };
    let of_a = |claim: &str| grant(Some("a"), &[Scope::Manage], claim);
    let table = [
        (grant(None, &all, "*"), "", Ok(("__registry__", ""))),
        (grant(None, &all, "*"), "a/b", Ok(("__registry__", "a/b"))),
        (of_a("*"), "", Ok(("a/__registry__", "a/"))),
        (of_a("*"), "a", Ok(("a/__registry__", "a/"))),
        (of_a("*"), "a/", Ok(("a/__registry__", "a/"))),
        (of_a("*"), "a/b", Ok(("a/__registry__", "a/b"))),
        (of_a("*"), "ab", Err(())),
        (of_a("*"), "b/", Err(())),
        (of_a("*"), "__registry__", Err(())),
        (of_a("a/b/*"), "", Ok(("a/__registry__", "a/b/"))),
        (of_a("a/b/*"), "a/b", Ok(("a/__registry__", "a/b/"))),
        (of_a("a/b/*"), "a/b/c", Ok(("a/__registry__", "a/b/c"))),
        (of_a("a/b/*"), "a/c", Err(())),
        (of_a("b/*"), "", Err(())),
        (of_a("b/*"), "b/", Err(())),
        (of_a("a/b"), "a/b", Err(())),
        (of_a("a/__registry__"), "", Err(())),
        (of_a("a/b*"), "", Err(())),
        (grant(Some("a"), &[Scope::Read, Scope::Write], "*"), "", Err(())),
        (grant(Some("a"), &[], "*"), "", Err(())),
    ];
    for (grant, prefix, expected) in table {
        let found = Listing::of(&grant, &format!("{URL}?prefix={prefix}&after=z&limit=7"));
        match expected {
            Ok((registry, prefix)) => {
                let listing = Listing { registry: registry.to_owned(), query: ask(prefix, "z", 7) };
                assert_eq!(found, Ok(listing), "{grant:?} {prefix}");
            }
            Err(()) => assert_eq!(found, Err(Refusal::Forbidden { needs: "manage" }), "{grant:?} {prefix}"),
        }
    }
}

// Pages.

/// A registry with streams, of which some have been deleted.
fn registry(streams: &[(&str, bool)]) -> World {
    let mut world = World::new();
    for (path, is_there) in streams {
        let event = |seq| RegistryEvent { incarnation: 3, seq, message: "{}".to_owned() };
        let events = if *is_there { vec![event(0)] } else { vec![event(0), event(1)] };
        let record = Call::Record(Record { path: (*path).to_owned(), events, summary: None });
        assert_eq!(world.record(&record.to_json()), Ok(Answered::Recorded));
    }
    world
}

fn page(world: &mut World, prefix: &str, after: &str, limit: u64) -> (Vec<String>, Option<String>) {
    let ListedStreams { paths, next } = world.registry.listed(&ask(prefix, after, limit));
    (paths, next)
}

type Expected<'e> = &'e [&'e str];

#[test]
fn page_holds_existing_streams_in_order() {
    let mut world = registry(&[
        ("a", true),
        ("a/b", true),
        ("a/b/c", false),
        ("a/b/d", true),
        ("a/c", false),
        ("a0", true),
        ("b/x", true),
        ("b/\u{10ffff}", true),
        ("b/\u{10ffff}/y", true),
        ("c", true),
        ("\u{e9}/\u{d7ff}", true),
        ("\u{e9}/\u{d7ff}z", true),
        ("\u{e9}/\u{e000}", true),
    ]);
    let table: [(&str, &str, u64, Expected<'_>, Option<&str>); 18] = [
        ("", "", 2, &["a", "a/b"], Some("a/b/c")),
        ("", "a/b/c", 2, &["a/b/d", "a0"], Some("a0")),
        ("", "a/c", 1, &["a0"], Some("a0")),
        ("a/", "", 40, &["a/b", "a/b/d"], None),
        ("a/", "", 2, &["a/b", "a/b/d"], None),
        ("a/", "", 1, &["a/b"], Some("a/b/c")),
        ("a/", "a/b", 40, &["a/b/d"], None),
        ("a/", "z", 40, &[], None),
        ("a/", "\u{0}", 40, &["a/b", "a/b/d"], None),
        ("a", "", 40, &["a", "a/b", "a/b/d", "a0"], None),
        ("a/b/c", "", 40, &[], None),
        ("b/", "", 40, &["b/x", "b/\u{10ffff}", "b/\u{10ffff}/y"], None),
        ("b/\u{10ffff}", "", 40, &["b/\u{10ffff}", "b/\u{10ffff}/y"], None),
        ("\u{e9}/\u{d7ff}", "", 40, &["\u{e9}/\u{d7ff}", "\u{e9}/\u{d7ff}z"], None),
        ("\u{10ffff}", "", 40, &[], None),
        ("zz", "", 40, &[], None),
        ("c", "b", 40, &["c"], None),
        ("c", "c", 40, &[], None),
    ];
    for (prefix, after, limit, paths, next) in table {
        let found = page(&mut world, prefix, after, limit);
        assert_eq!(found.0, paths, "{prefix} {after} {limit}");
        assert_eq!(found.1.as_deref(), next, "{prefix} {after} {limit}");
    }
    assert_eq!(page(&mut World::new(), "", "", 40), (Vec::new(), None), "a registry without any stream");
}

#[test]
fn pages_list_streams_and_subscriptions_apart() {
    let mut world = registry(&[
        ("__ds/subscriptions/r", true),
        ("p/__ds/subscriptions/a", true),
        ("p/__ds/subscriptions/b", false),
        ("p/__ds/subscriptions/b/c", true),
        ("p/a", true),
        ("p/z", true),
        ("q/__ds/subscriptions/a", true),
    ]);
    assert_eq!(page(&mut world, "", "", 40), (vec!["p/a".to_owned(), "p/z".to_owned()], None));
    assert_eq!(page(&mut world, "p/__ds/", "", 40), (Vec::new(), None));
    let table: [(&str, &str, u64, Expected<'_>, Option<&str>); 5] = [
        ("p/__ds/subscriptions/", "", 40, &["p/__ds/subscriptions/a", "p/__ds/subscriptions/b/c"], None),
        ("p/__ds/subscriptions/", "", 1, &["p/__ds/subscriptions/a"], Some("p/__ds/subscriptions/b")),
        ("p/__ds/subscriptions/", "p/__ds/subscriptions/b", 1, &["p/__ds/subscriptions/b/c"], None),
        ("p/__ds/subscriptions/b", "", 40, &["p/__ds/subscriptions/b/c"], None),
        ("__ds/subscriptions/", "", 40, &["__ds/subscriptions/r"], None),
    ];
    for (prefix, after, limit, paths, next) in table {
        let query = ListQuery { subscriptions: true, ..ask(prefix, after, limit) };
        let found = world.registry.listed(&query);
        assert_eq!(found.paths, paths, "{prefix} {after} {limit}");
        assert_eq!(found.next.as_deref(), next, "{prefix} {after} {limit}");
    }
}

/// A page reads a limited number of rows. It names where it stopped, even if it found no stream.
#[test]
fn page_of_deleted_streams_only_continues() {
    let count = 2 * LISTED_ROWS_MAX as usize + 1;
    let paths: Vec<String> = (0..count).map(|n| format!("a/{n:05}")).collect();
    let streams: Vec<(&str, bool)> =
        paths.iter().map(|path| (path.as_str(), path == &paths[count - 1])).collect();
    let mut world = registry(&streams);
    let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let (paths, next) = page(&mut world, "a/", &after, 40);
        found.extend(paths);
        pages += 1;
        match next {
            Some(next) => assert!(next > std::mem::replace(&mut after, next.clone())),
            None => break,
        }
    }
    assert_eq!((pages, found), (3, vec![paths[count - 1].clone()]));
}

/// With every page size, each stream is on exactly one page.
#[test]
fn following_pages_lists_each_stream_once() {
    let paths: Vec<String> = (0..300).map(|n| format!("p/{n:04}")).collect();
    let streams: Vec<(&str, bool)> =
        paths.iter().enumerate().map(|(n, path)| (path.as_str(), n % 7 != 3)).collect();
    let there: Vec<&str> = streams.iter().filter(|(_, is_there)| *is_there).map(|(path, _)| *path).collect();
    let mut world = registry(&streams);
    for limit in [1, 2, 7, 40, 100] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let (paths, next) = page(&mut world, "p/", &after, limit);
            assert!(paths.len() as u64 <= limit);
            found.extend(paths);
            let Some(next) = next else { break };
            after = next;
        }
        assert_eq!(found, there, "{limit}");
    }
}

#[test]
fn page_describes_each_stream() {
    let mut world = World::after(&[
        "WAIT 5ms",
        "PUT | content-type: text/plain",
        "POST | content-type: text/plain << hello",
    ]);
    let open = world.described().unwrap();
    let at = START + 5;
    let tail = "0000000000000000_0000000000000005";
    let described = |closed: bool| {
        format!(
            "{{\"path\":\"chat/42\",\"contentType\":\"text/plain\",\"createdAt\":{at},\"closed\":{closed},\"tail\":\"{tail}\"}}"
        )
    };
    assert_eq!(open, described(false));
    world.run(&["POST | stream-closed: true", "RESTART"]);
    assert_eq!(world.described().unwrap(), described(true));
    world.run(&["DELETE"]);
    assert_eq!(world.described(), None);
    let unreached = Described { path: "x\"y".to_owned(), ..Described::default() };
    let nothing =
        json!({ "path": "x\"y", "contentType": null, "createdAt": null, "closed": null, "tail": null });
    let streams = vec![serde_json::from_str(&open).unwrap(), unreached];
    let page = Response::of_reply(Reply::page(&Page { streams, next: Some("x".to_owned()) }));
    page.assert_is("200 | content-type: application/json | cache-control: no-store");
    let shown: Value = serde_json::from_str(&page.text()).unwrap();
    let open: Value = serde_json::from_str(&open).unwrap();
    assert_eq!(shown, json!({ "streams": [open, nothing], "next": "x" }));
    let last = Response::of_reply(Reply::page(&Page::default()));
    last.assert_is("200 << {\"next\":null,\"streams\":[]}");
}

/// Listing a stream does not extend its TTL.
#[test]
fn listing_does_not_extend_the_ttl() {
    let mut world = World::after(&["PUT | stream-ttl: 60", "WAIT 59s"]);
    world.sql.take_rows_written();
    assert!(world.described().is_some());
    assert_eq!(world.sql.take_rows_written(), 0);
    world.run(&["WAIT 2s"]);
    assert_eq!(world.described(), None);
}
