//! Extension: the description of a stream (`GET /v1/details/<path>`).

use ::http::Method;
use durable_streams::edge::grant::{Grant, Scope, Streams};
use durable_streams::edge::inspecting::Inspecting;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::target::Target;
use durable_streams::object::lag::Lags;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::details::{DETAILS_MAX, Details, Inspected};
use durable_streams::protocol::path::StreamPath;
use durable_streams::protocol::registry::Registries;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;
use serde_json::{Value, json};

use super::rotation::{post, world_after};
use super::{CLOSE, HELLO, JSON, TEXT};
use crate::support::mirror::MirrorFault;
use crate::support::objects::Sent;
use crate::support::registry::RegistryFault;
use crate::support::world::START;
use crate::support::{Family, LongPoll, SseClient, World};

/// What the stream says about itself, as a client sees it.
#[track_caller]
fn details(world: &mut World) -> Value {
    match world.inspected() {
        Inspected::Found(details) => serde_json::to_value(details).unwrap(),
        other @ (Inspected::NotFound | Inspected::Gone) => panic!("{other:?}"),
    }
}

#[track_caller]
fn of(family: &mut Family, path: &str) -> Inspected {
    let said = family.answer(&Sent::new(path, &Call::Inspect)).unwrap();
    let Answered::Inspected(inspected) = said.answered else { panic!("{said:?}") };
    inspected
}

#[test]
fn a_new_stream_has_every_field() {
    let mut world = World::after(&[TEXT]);
    let none: [&str; 0] = [];
    let expected = json!({
        "path": "a", "contentType": "text/plain", "createdAt": START, "writtenAt": null, "expiresAt": null,
        "ttlSeconds": null, "closed": false, "public": false, "retention": null,
        "start": "0000000000000000_0000000000000000", "tail": "0000000000000000_0000000000000000",
        "messages": 0, "hotMessages": 0, "hotBytes": 0,
        "segments": { "count": 0, "bytes": 0, "newest": none },
        "forkedFrom": null, "forks": { "count": 0, "paths": none },
        "producers": { "count": 0, "newest": none }, "readers": { "sse": 0, "longPoll": 0 },
        "subscriptions": { "count": 0, "ids": none },
    });
    let mut found = details(&mut world);
    found["path"] = json!("a");
    assert_eq!(found, expected);
}

#[test]
fn a_missing_stream_is_not_described() {
    assert_eq!(World::new().inspected(), Inspected::NotFound);
    assert_eq!(World::after(&[TEXT, "DELETE"]).inspected(), Inspected::NotFound);
    let mut family = Family::new(0);
    family.run(&[
        "PUT /v1/stream/a",
        "PUT /v1/stream/b | stream-forked-from: /v1/stream/a",
        "DELETE /v1/stream/a",
    ]);
    assert_eq!(of(&mut family, "a"), Inspected::Gone);
}

#[test]
fn messages_are_counted_where_they_are() {
    let batch = post("application/json", "[1,2]");
    let mut world = world_after(2, &[JSON, &batch, "WAIT 1s", &batch, "WAIT 1s", &batch]);
    for _ in 0..2 {
        let found = details(&mut world);
        assert_eq!([&found["messages"], &found["hotMessages"], &found["hotBytes"]], [6, 2, 3]);
        assert_eq!(found["writtenAt"], START + 2000);
        assert_eq!(found["tail"], "0000000000000001_0000000000000002");
        let segments = &found["segments"];
        assert_eq!(segments["count"], 1);
        assert_eq!(segments["newest"][0]["messages"], 4);
        assert_eq!(segments["newest"][0]["writtenAt"], START + 1000);
        assert_eq!(segments["bytes"], segments["newest"][0]["bytes"]);
        world.restart();
    }
    // Appends of bytes.
    let hello = post("text/plain", "hello");
    let mut world = world_after(2, &[TEXT, &hello, &hello, &hello, CLOSE]);
    let found = details(&mut world);
    assert_eq!([&found["messages"], &found["hotMessages"], &found["hotBytes"]], [3, 0, 0]);
    assert_eq!(found["closed"], true);
    assert_eq!(found["segments"]["count"], 2);
    // Retention drops messages from the count.
    let put = "PUT | content-type: text/plain | stream-retention: 60";
    let mut world = world_after(1, &[put, &hello, &hello, "WAIT 90s", &hello]);
    let found = details(&mut world);
    assert_eq!([&found["messages"], &found["segments"]["count"]], [1, 1]);
    assert_eq!(found["retention"], json!({ "seconds": 60, "bytes": null, "segments": null }));
    assert_eq!(found["start"], "0000000000000002_0000000000000000");
}

#[test]
fn the_list_of_segments_is_bounded() {
    let hello = post("text/plain", "hello");
    let steps: Vec<&str> =
        std::iter::once(TEXT).chain(std::iter::repeat_n(hello.as_str(), DETAILS_MAX + 7)).collect();
    let found = details(&mut world_after(1, &steps));
    assert_eq!(found["segments"]["count"], DETAILS_MAX + 7);
    let newest = found["segments"]["newest"].as_array().unwrap();
    assert_eq!(newest.len(), DETAILS_MAX);
    assert_eq!(newest[0]["number"], DETAILS_MAX + 6);
}

#[test]
fn producers_are_listed_with_their_newest_state() {
    let append = |id: &str, seq: u64| {
        format!(
            "POST | content-type: text/plain | producer-id: {id} | producer-epoch: 0 | producer-seq: {seq} << x"
        )
    };
    for appends_max in [1, 3, 1000] {
        let steps = [TEXT.to_owned(), append("a", 0), "WAIT 1s".to_owned(), append("a", 1), append("b", 0)];
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let mut world = world_after(appends_max, &steps);
        let found = details(&mut world);
        assert_eq!(found["producers"]["count"], 2, "{appends_max}");
        let mut newest = found["producers"]["newest"].as_array().unwrap().clone();
        newest.sort_by_key(|producer| producer["id"].to_string());
        // The time is known only while the row is in the hot log.
        let at = if appends_max == 1000 { json!(START + 1000) } else { json!(null) };
        assert_eq!(newest[0], json!({ "id": "a", "epoch": 0, "seq": 1, "at": at }), "{appends_max}");
        assert_eq!(newest[1]["id"], "b");
    }
}

#[test]
fn live_readers_are_counted() {
    let mut world = World::after(&[TEXT, HELLO]);
    let _sse = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
    let _other = SseClient::open(&mut world, "GET ?offset=now&live=sse&cursor=4503599627370000");
    let _poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    assert_eq!(details(&mut world)["readers"], json!({ "sse": 2, "longPoll": 1 }));
}

#[test]
fn forks_and_their_source_are_named() {
    let mut family = Family::new(0);
    family.run(&["PUT /v1/stream/p/a | content-type: text/plain << hello"]);
    for at in 0..DETAILS_MAX + 2 {
        family.run(&[&format!("PUT /v1/stream/p/f{at} | stream-forked-from: /v1/stream/p/a")]);
    }
    let Inspected::Found(source) = of(&mut family, "p/a") else { panic!("it exists") };
    assert_eq!(source.forks.count, Some(DETAILS_MAX as u64 + 2));
    assert_eq!(source.forks.paths.len(), DETAILS_MAX);
    let Inspected::Found(fork) = of(&mut family, "p/f7") else { panic!("it exists") };
    let from = serde_json::to_value(&fork.forked_from).unwrap();
    assert_eq!(from, json!({ "path": "p/a", "offset": "0000000000000000_0000000000000005" }));
    assert_eq!([fork.messages, fork.written_at], [Some(0), None]);
    // A token for some streams does not see the names of others.
    let shown = |streams: Streams, details: &Details| {
        let grant =
            Grant { project: Some("p".into()), scopes: vec![Scope::Manage], streams, expires_at: None };
        let path = StreamPath::parse("p/f7").unwrap();
        Inspecting::of(grant, path).unwrap().shown(details.clone())
    };
    let narrow = shown(Streams::Under("p/f".into()), &fork).forked_from.unwrap();
    assert_eq!((narrow.path, narrow.offset.is_some()), (None, true));
    assert_eq!(shown(Streams::All, &fork).forked_from.unwrap().path.as_deref(), Some("p/a"));
    let only = shown(Streams::Only("p/f7".into()), &source);
    assert_eq!((only.forks.paths, only.forks.count), (vec!["p/f7".to_owned()], source.forks.count));
}

#[test]
fn a_description_renews_no_ttl_and_writes_no_row() {
    let ttl = "PUT | content-type: text/plain | stream-ttl: 10 << hello";
    let mut world = World::after(&[ttl, "WAIT 9s"]);
    let before = world.sql.raw().total_changes();
    let found = details(&mut world);
    assert_eq!([&found["ttlSeconds"], &found["expiresAt"]], [&json!(10), &json!(START + 10_000)]);
    assert_eq!(world.sql.raw().total_changes(), before);
    world.run(&["WAIT 1s"]);
    assert_eq!(world.inspected(), Inspected::NotFound);
}

#[test]
fn the_deployments_retention_is_shown() {
    let mut world = World::after(&[TEXT]);
    world.limit_segments(Some(SegmentLimits { appends_max: 9, bytes_max: 9, closed_bytes_min: 9 }));
    world.retain(RetentionDefaults { segments: Some(7), seconds: None });
    assert_eq!(details(&mut world)["retention"], json!({ "seconds": null, "bytes": null, "segments": 7 }));
}

#[test]
fn only_a_get_of_a_stream_is_routed_to_its_description() {
    let routed = |method: Method, url: &str| {
        let found = route(&method, &Target::of(&format!("https://streams.test{url}")));
        if let Route::Details(path) = found { Ok(path.as_str().to_owned()) } else { Err(found) }
    };
    for url in ["/v1/details/a/b", "/v1/details/a%2Fb", "/v1/details/a/b?offset=-1"] {
        assert_eq!(routed(Method::GET, url), Ok("a/b".to_owned()), "{url}");
    }
    assert_eq!(routed(Method::GET, "/v1/details/a/__registry__"), Ok("a/__registry__".to_owned()));
    for method in [Method::HEAD, Method::PUT, Method::POST, Method::DELETE] {
        let Err(Route::Reply(reply)) = routed(method.clone(), "/v1/details/a") else { panic!("{method}") };
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET, OPTIONS")), "{method}");
    }
    for url in
        ["/v1/streams/a", "/v1/details", "/v1/details/", "/v1/details//a", "/v1/details/a/__ds/subscriptions"]
    {
        assert!(routed(Method::GET, url).is_err(), "{url}");
    }
}

#[test]
fn a_description_needs_the_scope_manage_for_that_stream() {
    let inspecting = |project: &str, scope: Scope, streams: Streams| {
        let grant = Grant { project: Some(project.into()), scopes: vec![scope], streams, expires_at: None };
        Inspecting::of(grant, StreamPath::parse("p/a").unwrap()).is_ok()
    };
    assert!(inspecting("p", Scope::Manage, Streams::All));
    assert!(inspecting("p", Scope::Manage, Streams::Only("p/a".into())));
    assert!(!inspecting("p", Scope::Read, Streams::All));
    assert!(!inspecting("p", Scope::Write, Streams::All));
    assert!(!inspecting("q", Scope::Manage, Streams::All));
    assert!(!inspecting("p", Scope::Manage, Streams::Only("p/ab".into())));
    assert!(!inspecting("p", Scope::Manage, Streams::Under("p/b/".into())));
}

// What others do not know yet.

#[test]
fn lag_of_the_registry_is_shown_with_its_cause() {
    for (registries, guarded, error) in [
        (Registries::One, false, json!("injected fault")),
        (Registries::One, true, json!("injected fault")),
        (Registries::PerProject, true, Value::Null),
    ] {
        let mut world = World::new();
        world.limit_registries(registries);
        if guarded {
            world.guard();
        }
        world.registry.arm(RegistryFault::Fails);
        world.run(&[TEXT, "WAIT 5s"]);
        assert_eq!(details(&mut world)["registry"], json!({ "behindSince": START, "error": error }));
        assert_eq!(world.lags(), Lags { registry: 5_000, index: 0 });
        world.run(&["WAIT 60s", "RING"]);
        assert_eq!(details(&mut world)["registry"], json!({ "behindSince": null, "error": null }));
        assert_eq!(world.lags(), Lags::default());
        assert_eq!(details(&mut world).get("segmentIndex"), None, "there is no index");
    }
}

#[test]
fn lag_of_the_segment_index_is_shown_with_its_cause() {
    let mut world = World::new();
    world.limit_registries(Registries::Off);
    world.limit_segments(Some(SegmentLimits { appends_max: 1, bytes_max: 1 << 20, closed_bytes_min: 1 }));
    world.limit_mirror(true);
    world.mirror.arm(MirrorFault::Fails);
    world.run(&[TEXT, HELLO, "WAIT 7s"]);
    let found = details(&mut world);
    assert_eq!(found["segmentIndex"], json!({ "behindSince": START, "error": "injected fault" }));
    assert_eq!(found.get("registry"), None, "there is no registry");
    assert_eq!(world.lags(), Lags { registry: 0, index: 7_000 });
    // After a loss of memory, the cause is not known, and the index is tried again.
    world.mirror.arm(MirrorFault::Fails);
    world.restart();
    assert_eq!(details(&mut world)["segmentIndex"], json!({ "behindSince": START, "error": null }));
    world.run(&["WAIT 70s", "RING"]);
    assert_eq!(details(&mut world)["segmentIndex"], json!({ "behindSince": null, "error": null }));
    assert_eq!(world.lags(), Lags::default());
}
