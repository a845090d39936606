//! PROTOCOL.md 12.2: which stream a URL names. The edge decides it once, and the object agrees.

use ::http::Method;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::target::{LiveUrl, Target, in_first_form, stream_path, unmounted};
use durable_streams::protocol::SAFE_INTEGER_MAX;
use durable_streams::protocol::names::STREAM_PREFIXES;
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::path::{PATH_MAX_BYTES, StreamPath};
use durable_streams::storage::segments::{key, parse_key};

use crate::support::check;

/// The stream that a path names, or the status of the refusal.
fn named(path: &str) -> Result<String, u16> {
    let url = format!("https://streams.test{path}");
    match route(&Method::HEAD, &Target::of(&url)) {
        Route::Forward(path) => {
            let first = in_first_form(&url).unwrap_or_else(|| url.clone());
            assert_eq!(stream_path(&first).as_deref(), Some(path.as_str()), "edge and object agree");
            Ok(path.as_str().to_owned())
        }
        Route::Reply(reply) => Err(reply.status.as_u16()),
        Route::Preflight
        | Route::Health
        | Route::Description
        | Route::LongPoll(_)
        | Route::Sse(_)
        | Route::Listing
        | Route::Details(_)
        | Route::Orphans
        | Route::Ready
        | Route::Metrics
        | Route::Console(_)
        | Route::Subscriptions(_) => {
            panic!("{path} does not name a stream")
        }
    }
}

#[test]
fn encoded_spellings_name_one_stream() {
    let table = [
        ("doc-123", "doc-123"),
        ("my-project/chat/42", "my-project/chat/42"),
        ("%64oc", "doc"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%c3%A9", "\u{e9}"),
        ("\u{e9}", "\u{e9}"),
        ("a%3Fb%23c", "a?b#c"),
        // The path is decoded once.
        ("%2561", "%61"),
        ("%252e%252e", "%2e%2e"),
        ("...", "..."),
        (".a", ".a"),
        ("a;b=c:d@e", "a;b=c:d@e"),
        ("a?offset=/x/../y", "a"),
        ("a#/b", "a"),
        ("a/b/__ds", "a/b/__ds"),
        ("a/__dsx", "a/__dsx"),
        ("__dsx", "__dsx"),
        ("__DS", "__DS"),
    ];
    for prefix in STREAM_PREFIXES {
        for (spelling, stream) in table {
            assert_eq!(named(&format!("{prefix}{spelling}")), Ok(stream.to_owned()), "{prefix}{spelling}");
        }
    }
}

#[test]
fn invalid_paths_are_refused() {
    let table = [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "a%2F",
        "%2Fa",
        "a%2F%2Fb",
        ".",
        "..",
        "*",
        "a/*",
        "a/%2A",
        "*/a",
        "a/./b",
        "a/../b",
        "%2e",
        "%2E%2e",
        "a/%2e%2e/b",
        "a%2F..%2Fb",
        ".%2e",
        "%00",
        "a%0Ab",
        "a%7Fb",
        "a%C2%85b",
        "%1b",
        "%ff",
        "%c3",
        "%ed%a0%80",
        "%",
        "a%2",
        "a%zz",
        "a%2g",
        "a%+2",
    ];
    for prefix in STREAM_PREFIXES {
        for path in table {
            let url = format!("{prefix}{path}");
            assert_eq!(named(&url), Err(400), "{url:?}");
            assert_eq!(
                in_first_form(&format!("https://streams.test{url}")),
                None,
                "the URL is not rewritten: {url:?}"
            );
        }
    }
}

/// Objects receive the first form of a URL only.
#[test]
fn url_forms_are_rewritten_to_the_first() {
    for (url, first) in [
        ("https://a.example/streams/b", Some("https://a.example/v1/stream/b")),
        ("https://a.example/v1/streams/b", Some("https://a.example/v1/stream/b")),
        ("https://a.example/v1/stream/b", None),
        ("http://streams/streams/b", Some("http://streams/v1/stream/b")),
        ("http://[::1]:8787/streams/b", Some("http://[::1]:8787/v1/stream/b")),
        ("https://a.example/streams/runs%2Fr%201", Some("https://a.example/v1/stream/runs%2Fr%201")),
        ("https://a.example/streams/streams/b", Some("https://a.example/v1/stream/streams/b")),
        ("https://a.example/v1/streams/v1/streams/b", Some("https://a.example/v1/stream/v1/streams/b")),
        (
            "https://a.example/streams/b?offset=-1&token=/streams/#c",
            Some("https://a.example/v1/stream/b?offset=-1&token=/streams/#c"),
        ),
        ("https://a.example/v1/stream/b?x=/streams/c", None),
        // The rewritten path is the path that was checked: no prefix is searched for twice.
        ("https://a.example/streams/../v1/stream/b", None),
        ("https://a.example/streams//v1/stream/b", None),
        ("https://a.example/streams/%2e%2e/b", None),
        // The listing, and paths without a route.
        ("https://a.example/v1/streams", None),
        ("https://a.example/v1/streams?prefix=/streams/b", None),
        ("https://a.example/v1/streams/", None),
        ("https://a.example/streams", None),
        ("https://a.example//streams/b", None),
        ("https://a.example/Streams/b", None),
        ("https://a.example/v2/streams/b", None),
        ("https://a.example/x?/streams/b", None),
        ("https://a.example", None),
    ] {
        assert_eq!(in_first_form(url).as_deref(), first, "{url}");
    }
}

/// An application may serve streams below a path of its own.
#[test]
fn mounted_url_in_first_form() {
    for (url, first) in [
        ("https://a.example/api/s/b", Some("https://a.example/v1/stream/b")),
        ("https://a.example/api/s/p/%2Fb?offset=-1", Some("https://a.example/v1/stream/p/%2Fb?offset=-1")),
        // `Stream-Forked-From` is the path of a URL.
        ("/api/s/b", Some("/v1/stream/b")),
        // Without a stream, the server refuses the first form.
        ("https://a.example/api/s/", Some("https://a.example/v1/stream/")),
        ("https://a.example/api/s", None),
        ("https://a.example/api/sb", None),
        ("https://a.example/x/api/s/b", None),
        ("https://a.example/x?/api/s/b", None),
        ("https://a.example/v1/stream/b", None),
    ] {
        assert_eq!(unmounted(url, "/api/s/").as_deref(), first, "{url}");
    }
    assert_eq!(unmounted("https://a.example/b", "/").as_deref(), Some("https://a.example/v1/stream/b"));
}

/// Where an application decides about access, it decides about these requests. The others have tokens of their own.
#[test]
fn requests_that_need_a_token_of_the_access_mode() {
    for (request, needs_token) in [
        ("GET /v1/stream/p/a", true),
        ("GET /streams/p/a?offset=-1&live=sse", true),
        ("GET /v1/stream/p/a?offset=-1&live=long-poll", true),
        ("PUT /v1/stream/p/a", true),
        ("DELETE /v1/stream/p/a", true),
        ("GET /v1/streams", true),
        ("GET /v1/details/p/a", true),
        ("GET /v1/stream/p/__ds/subscriptions", true),
        ("PUT /v1/stream/p/__ds/subscriptions/s", true),
        ("POST /v1/stream/p/__ds/subscriptions/s/claim", true),
        ("POST /v1/stream/p/__ds/subscriptions/s/callback", false),
        ("POST /v1/stream/p/__ds/subscriptions/s/ack", false),
        ("POST /v1/stream/p/__ds/subscriptions/s/release", false),
        ("GET /v1/stream/p/__ds/jwks.json", false),
        ("OPTIONS /v1/stream/p/a", false),
        ("GET /health", false),
        ("GET /ready", false),
        ("GET /metrics", false),
        ("GET /openapi.json", false),
        ("GET /console", false),
        ("GET /v1/admin/orphans", false),
        ("GET /other", false),
    ] {
        let (method, path) = request.split_once(' ').unwrap();
        let url = format!("https://streams.test{path}");
        let route = route(&method.parse().unwrap(), &Target::of(&url));
        assert_eq!(route.needs_token(), needs_token, "{request}");
    }
}

/// Where an application decides about access, its `true` does not allow these. A user may have the name of the first segment.
#[test]
fn requests_that_concern_the_streams_of_all_projects() {
    for (request, is_at_root) in [
        ("GET /v1/stream/__ds/subscriptions", true),
        ("PUT /v1/stream/__ds/subscriptions/s", true),
        ("PUT /v1/stream/%5F_ds/subscriptions/s", true),
        ("PATCH /streams/__ds/subscriptions/s", true),
        ("POST /v1/stream/__ds/subscriptions/s/claim", true),
        ("GET /v1/stream/__registry__", true),
        ("GET /v1/stream/__registry_%5F?offset=-1&live=sse", true),
        ("GET /v1/stream/__registry__?offset=-1&live=long-poll", true),
        ("HEAD /v1/stream/__registry__", true),
        ("GET /v1/details/__registry__", true),
        ("PUT /v1/stream/p/__ds/subscriptions/s", false),
        ("GET /v1/stream/p/__registry__", false),
        ("GET /v1/stream/p/a", false),
        ("GET /v1/stream/__dsa/a", false),
        ("GET /v1/streams", false),
        ("OPTIONS /v1/stream/__ds/subscriptions/s", false),
    ] {
        let (method, path) = request.split_once(' ').unwrap();
        let url = format!("https://streams.test{path}");
        let route = route(&method.parse().unwrap(), &Target::of(&url));
        assert_eq!(route.is_at_root(), is_at_root, "{request}");
    }
}

/// CORS depends on the project, and every form of a URL names the same one.
#[test]
fn every_url_form_names_the_same_project() {
    for prefix in STREAM_PREFIXES {
        let project = Target::of(&format!("https://streams.test{prefix}a%2Fb?x")).project_named();
        assert_eq!(project.as_deref(), Some("a"), "{prefix}");
    }
    let described = Target::of("https://streams.test/v1/details/a/b").project_named();
    assert_eq!(described.as_deref(), Some("a"));
    let listed = Target::of("https://streams.test/v1/streams?prefix=a/b").project_named();
    assert_eq!(listed.as_deref(), Some("a"));
    assert_eq!(Target::of("https://streams.test/v1/streams/").project_named(), None);
}

#[test]
fn path_has_at_most_741_decoded_bytes() {
    let most = "x".repeat(PATH_MAX_BYTES);
    assert_eq!(PATH_MAX_BYTES, 741);
    assert!(key(&most, SAFE_INTEGER_MAX, SAFE_INTEGER_MAX).len() <= 1024, "R2 allows keys of 1,024 bytes");
    assert_eq!(named(&format!("/v1/stream/{most}")), Ok(most.clone()));
    assert_eq!(named(&format!("/v1/stream/{most}x")), Err(400));
    assert_eq!(named(&format!("/v1/stream/{}", "%78".repeat(741))), Ok(most));
    assert_eq!(named(&format!("/v1/stream/{}", "%78".repeat(742))), Err(400));
    assert_eq!(named(&format!("/v1/stream/{}", "\u{e9}".repeat(370))), Ok("\u{e9}".repeat(370)));
    assert_eq!(named(&format!("/v1/stream/{}", "\u{e9}".repeat(371))), Err(400));
}

/// However the names are encoded.
#[test]
fn reserved_names_are_no_streams() {
    let protocols = ["__ds", "__ds/x/subscriptions", "__ds/__registry__", "%5f%5fds", "__%64s/x", "__ds%2Fx"];
    let of_a_project =
        ["a/__ds", "a/__ds/x", "a/__ds/__registry__", "a/%5F_ds", "a%2F__ds%2Fx", "a/__ds/__ds"];
    let nothing = ["__registry__/a", "%5F_registry_%5f/a", "__registry__/__registry__", "__registry__%2Fa"];
    for prefix in STREAM_PREFIXES {
        for path in protocols.iter().chain(&of_a_project) {
            assert_eq!(named(&format!("{prefix}{path}")), Err(404), "{prefix}{path}");
        }
        for path in nothing.iter().chain(&["__registry__/__ds"]) {
            assert_eq!(named(&format!("{prefix}{path}")), Err(400), "{prefix}{path}");
        }
    }
}

/// A stream that was created before its name was reserved keeps its segments.
#[test]
fn segments_of_a_reserved_name_stay_readable() {
    let is_reserved = |text: &str| StreamPath::of_text(text.to_owned()).unwrap().is_reserved();
    for (path, is_streams) in [("a/__ds/x", true), ("__ds/x", false), ("__registry__/x", false)] {
        assert!(is_reserved(path), "{path}");
        assert_eq!(parse_key(&key(path, 1, 0)).is_some(), is_streams, "{path}");
    }
}

#[test]
fn unknown_route_is_a_404() {
    for path in [
        "/",
        "/v1",
        "/v1/stream",
        "/streams",
        "/stream/a",
        "/v1%2fstreams/a",
        "/v2/stream/a",
        "/v2/streams/a",
        "/V1/stream/a",
        "//v1/stream/a",
        "//streams/a",
        "/health/",
        "/healthz",
        "/v1%2fstream/a",
        "/x/v1/stream/a",
        "/v1/admin",
        "/v1/admin/",
        "/v1/admin/orphans/",
        "/v1/admin/orphans/a",
        "/v1/Admin/orphans",
        "/v1/admin%2forphans",
        "//v1/admin/orphans",
    ] {
        assert_eq!(named(path), Err(404), "{path}");
        check(&[], &format!("GET {path}"), "404 | error: unknown_route");
    }
}

#[test]
fn health_reports_mode_and_version() {
    let version = env!("CARGO_PKG_VERSION");
    let body = format!("{{\"mode\":\"open\",\"status\":\"ok\",\"version\":\"{version}\"}}");
    check(&[], "GET /health", &format!("200 | content-type: application/json << {body}"));
    check(&[], "GET /health?x", "200");
    check(&[], "HEAD /health", "200");
    check(&[], "PUT /health", "405 | allow: GET, HEAD, OPTIONS | error: method_not_allowed");
    check(&[], "PUT /ready", "405 | allow: GET, HEAD, OPTIONS | error: method_not_allowed");
}

#[test]
fn requests_are_routed_by_method_and_live_mode() {
    let kind = |method: &Method, query: &str| match route(
        method,
        &Target::of(&format!("https://streams.test/v1/stream/a{query}")),
    ) {
        Route::Preflight => "preflight".to_owned(),
        Route::Health => "health".to_owned(),
        Route::Description => "description".to_owned(),
        Route::Reply(reply) => reply.status.to_string(),
        Route::Forward(_) => "forward".to_owned(),
        Route::LongPoll(_) => "long-poll".to_owned(),
        Route::Sse(_) => "sse".to_owned(),
        Route::Listing => "listing".to_owned(),
        Route::Details(path) => format!("details {}", path.as_str()),
        Route::Orphans => "orphans".to_owned(),
        Route::Ready => "ready".to_owned(),
        Route::Metrics => "metrics".to_owned(),
        Route::Console(_) => "console".to_owned(),
        Route::Subscriptions(_) => "subscriptions".to_owned(),
    };
    let table = [
        (Method::GET, "", "forward"),
        (Method::GET, "?live=long-poll&offset=now", "long-poll"),
        (Method::GET, "?offset=-1&live=sse", "sse"),
        (Method::GET, "?live=%73se", "sse"),
        (Method::GET, "?live=other", "forward"),
        (Method::GET, "?x=live=sse", "forward"),
        (Method::GET, "#live=sse", "forward"),
        (Method::GET, "?live=sse&live=sse", "400 Bad Request"),
        (Method::HEAD, "?live=sse", "forward"),
        (Method::POST, "?live=sse", "forward"),
        (Method::PUT, "", "forward"),
        (Method::DELETE, "", "forward"),
        (Method::OPTIONS, "?live=sse", "preflight"),
        (Method::PATCH, "", "405 Method Not Allowed"),
        (Method::CONNECT, "", "405 Method Not Allowed"),
    ];
    for (method, query, expected) in table {
        assert_eq!(kind(&method, query), expected, "{method} {query}");
    }
    for method in [Method::POST, Method::GET, Method::PATCH] {
        assert_eq!(route(&method, &Target::of("https://streams.test/v1/admin/orphans?x=/y")), Route::Orphans);
    }
}

/// Even if the request itself is refused, the page must be able to read the refusal.
#[test]
fn every_path_answers_a_preflight() {
    let too_long = format!("/v1/stream/{}", "x".repeat(742));
    for path in [
        "/v1/stream/a",
        "/v1/stream/a?live=sse&live=sse",
        "/v1/stream/a//b",
        "/v1/stream/%zz",
        "/v1/stream/a/../b",
        "/v1/stream/%ff",
        &too_long,
        "/v1/stream/__ds/x",
        "/v1/stream/__registry__/x",
        "/v1/stream/__registry__",
        "/v1/stream/",
        "/v1/streams",
        "/v1/streams?limit=x",
        "/v1/admin/orphans",
        "/health",
        "/ready",
        "/metrics",
        "/nowhere",
        "/",
        "*",
    ] {
        assert_eq!(
            route(&Method::OPTIONS, &Target::of(&format!("https://streams.test{path}"))),
            Route::Preflight,
            "{path}"
        );
        check(
            &[],
            &format!("OPTIONS {path} | origin: https://app.example | access-control-request-method: PUT"),
            "204 | access-control-allow-origin: * | access-control-allow-methods | access-control-allow-headers <<",
        );
    }
}

/// The project decides which origins may read a refusal, also if the path after it is invalid.
#[test]
fn url_names_a_project_even_if_its_path_is_invalid() {
    let too_long = format!("/v1/stream/a/{}", "x".repeat(742));
    let table = [
        ("/v1/stream/a/b", Some("a")),
        ("/v1/stream/a", Some("a")),
        ("/v1/stream/%61/b", Some("a")),
        ("/v1/stream/a%2fb", Some("a")),
        ("/v1/stream/a//b", Some("a")),
        ("/v1/stream/a/%zz", Some("a")),
        ("/v1/stream/a/../b", Some("a")),
        (&too_long, Some("a")),
        ("/v1/stream/%zz/a", None),
        ("/v1/stream//a", None),
        ("/v1/stream/../a", None),
        ("/v1/stream/", None),
        ("/v1/streams?prefix=a/b", Some("a")),
        ("/v1/streams?prefix=a", None),
        ("/health", None),
        ("/nowhere", None),
    ];
    for (path, project) in table {
        let named = Target::of(&format!("https://streams.test{path}")).project_named();
        assert_eq!(named.as_deref(), project, "{path}");
    }
}

/// The URL of a live read's next call keeps its other parameters.
#[test]
fn next_call_of_a_live_read_replaces_the_offset_only() {
    let from = Offset { segment: 3, position: 7 };
    let base = "https://streams.test/v1/stream/a%20b";
    for (query, expected) in [
        ("?offset=now&live=sse", "?live=sse&offset=0000000000000003_0000000000000007"),
        (
            "?live=long-poll&cursor=12&offset=-1&x=y#z",
            "?cursor=12&live=long-poll&offset=0000000000000003_0000000000000007",
        ),
    ] {
        assert_eq!(
            LiveUrl::of(&Target::of(&format!("{base}{query}"))).from(from),
            format!("{base}{expected}")
        );
    }
}
