//! Orphans: which requests may list and delete them, how keys in the bucket are parsed, and what the stream's object
//! recognizes.

use super::rotation::{post, world_after, world_of};
use super::{CLOSE, HELLO, TEXT};
use crate::support::bucket::BucketFault;
use crate::support::http::STREAM_PATH;
use crate::support::sql::{Fault, HostSql};
use crate::support::{Response, World};
use ::http::Method;
use durable_streams::edge::admin::Admin;
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::object::effect::Outcome;
use durable_streams::protocol::SAFE_INTEGER_MAX;
use durable_streams::protocol::orphans::{KEY_MAX_BYTES, OrphansPage, OrphansQuery, Stored};
use durable_streams::protocol::refusal::Refusal;
use durable_streams::protocol::reply::Reply;
use durable_streams::storage::bucket_page::{
    BucketObject, ByStream, PAGE_KEYS_MAX, PAGE_STREAMS_MAX, by_stream,
};
use durable_streams::storage::segments::{key, parse_key};

const TTL: &str = "PUT | content-type: text/plain | stream-ttl: 60";

// Requests.

const URL: &str = "https://streams.test/v1/admin/orphans";
const TOKEN: &str = "sixteen-letters-";

fn admitted(
    token: Option<&str>,
    method: &Method,
    authorization: Option<&str>,
) -> Result<OrphansQuery, Refusal> {
    let settings = EdgeSettings { admin_token: token.map(str::to_owned), ..EdgeSettings::default() };
    Admin::of(&settings).orphans(method, URL, authorization)
}

#[test]
fn orphans_need_the_admin_token() {
    let wrong = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer sixteen-letters",
        "Bearer sixteen-letters-s",
        "Bearer Sixteen-letters-",
        "Bearer sixteen-letters- sixteen-letters-",
        "Bearer x, Bearer sixteen-letters-",
        "Bearersixteen-letters-",
        "Basic sixteen-letters-",
        "sixteen-letters-",
    ];
    let post = |token: Option<&str>, sent: Option<&str>| admitted(token, &Method::POST, sent);
    for authorization in wrong {
        let refused = Err(Refusal::Unauthorized { given: true });
        assert_eq!(post(Some(TOKEN), Some(authorization)), refused, "{authorization:?}");
    }
    assert_eq!(post(Some(TOKEN), None), Err(Refusal::Unauthorized { given: false }));
    for authorization in ["Bearer sixteen-letters-", "bearer   sixteen-letters-"] {
        assert_eq!(post(Some(TOKEN), Some(authorization)), Ok(OrphansQuery::default()));
    }
    // The route does not exist without a token, or with one that is too short to be safe or cannot be sent.
    for token in
        [None, Some(""), Some("fifteen-letters"), Some("sixteen letters "), Some("sixteen\u{2013}letters\n")]
    {
        let given = token.map(|token| format!("Bearer {token}"));
        for authorization in [None, Some("Bearer "), Some("Bearer sixteen-letters-"), given.as_deref()] {
            assert_eq!(post(token, authorization), Err(Refusal::UnknownRoute), "{token:?} {authorization:?}");
        }
    }
}

/// A token for streams grants no admin access, and the admin token grants no access to streams.
#[test]
fn auth_token_is_not_the_admin_token() {
    let settings = EdgeSettings { auth_token: Some(TOKEN.to_owned()), ..EdgeSettings::default() };
    let sent = Some("Bearer sixteen-letters-");
    assert_eq!(Admin::of(&settings).orphans(&Method::POST, URL, sent), Err(Refusal::UnknownRoute));
    let settings = EdgeSettings { admin_token: Some(TOKEN.to_owned()), ..settings };
    assert_eq!(Admin::of(&settings).orphans(&Method::POST, URL, sent), Ok(OrphansQuery::default()));
    let settings = EdgeSettings { admin_token: Some("another-token-of-it".to_owned()), ..settings };
    assert_eq!(
        Admin::of(&settings).orphans(&Method::POST, URL, sent),
        Err(Refusal::Unauthorized { given: true })
    );
}

#[test]
fn orphans_is_a_post() {
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        let refused = admitted(Some(TOKEN), &method, Some("Bearer sixteen-letters-"));
        assert_eq!(refused, Err(Refusal::MethodNotAllowed { allow: "POST, OPTIONS" }));
        let stranger = admitted(Some(TOKEN), &method, None);
        assert_eq!(
            stranger,
            Err(Refusal::Unauthorized { given: false }),
            "a stranger does not learn which methods exist"
        );
    }
}

#[test]
fn orphans_parameters_are_validated() {
    let ask = |after: Option<&str>, deletes| OrphansQuery { after: after.map(str::to_owned), deletes };
    let long = "x".repeat(KEY_MAX_BYTES);
    let too_long = format!("?cursor={long}x");
    let table = [
        ("", Ok(ask(None, false))),
        ("?", Ok(ask(None, false))),
        ("?other=1&other=2", Ok(ask(None, false))),
        ("?delete=true", Ok(ask(None, true))),
        ("?delete=false", Ok(ask(None, false))),
        ("?delete=true&cursor=YQ%2f1/0000000000000000", Ok(ask(Some("YQ/1/0000000000000000"), true))),
        ("?cursor=%1b%20+", Ok(ask(Some("\u{1b}  "), false))),
        ("#?delete=true", Ok(ask(None, false))),
        ("?delete=", Err("delete")),
        ("?delete=yes", Err("delete")),
        ("?delete=TRUE", Err("delete")),
        ("?delete", Err("delete")),
        ("?delete=true&delete=true", Err("delete")),
        ("?cursor=", Err("cursor")),
        ("?cursor=a&cursor=b", Err("cursor")),
        (&too_long, Err("cursor")),
    ];
    for (query, expected) in table {
        let parsed = OrphansQuery::parse(&format!("{URL}{query}"));
        match (parsed, expected) {
            (Ok(parsed), Ok(expected)) => assert_eq!(parsed, expected, "{query}"),
            (Err(Refusal::InvalidQuery { name, .. }), Err(expected)) => assert_eq!(name, expected, "{query}"),
            (parsed, expected) => panic!("{query}: {parsed:?} instead of {expected:?}"),
        }
    }
    let longest = format!("{URL}?cursor={long}");
    assert_eq!(OrphansQuery::parse(&longest), Ok(ask(Some(&long), false)));
}

// Keys.

#[test]
fn segment_keys_round_trip() {
    for (path, incarnation, segment) in [
        ("a", 1, 0),
        ("chat/42", 3, 17),
        ("\u{e9} %5C\\", 1, SAFE_INTEGER_MAX),
        ("a/__ds", SAFE_INTEGER_MAX, 1),
        ("__registry__", 1, 0),
        ("a/__registry__", 1, 0),
    ] {
        let (found, of, which) = parse_key(&key(path, incarnation, segment)).unwrap();
        assert_eq!((found.as_str(), of, which), (path, incarnation, segment));
    }
}

#[test]
fn foreign_keys_are_not_parsed() {
    let sixteen = "0000000000000000";
    let table = [
        String::new(),
        "README.txt".to_owned(),
        "//".to_owned(),
        format!("/1/{sixteen}"),
        format!("YQ/{sixteen}"),
        format!("YQ/1/{sixteen}/"),
        format!("/YQ/1/{sixteen}"),
        format!("x/YQ/1/{sixteen}"),
        format!("YQ/1/{sixteen}.bak"),
        format!("YQ/1/{sixteen} "),
        // Numbers in another notation.
        "YQ/1/0".to_owned(),
        "YQ/1/00000000000000000".to_owned(),
        "YQ/1/+000000000000000".to_owned(),
        "YQ/1/000000000000000a".to_owned(),
        format!("YQ/01/{sixteen}"),
        format!("YQ/+1/{sixteen}"),
        format!("YQ/-1/{sixteen}"),
        format!("YQ//{sixteen}"),
        // Incarnations begin at 1, and numbers end where JavaScript's safe integers do.
        format!("YQ/0/{sixteen}"),
        key("a", SAFE_INTEGER_MAX + 1, 0),
        key("a", 1, SAFE_INTEGER_MAX + 1),
        key("a", 1, u64::MAX),
        format!("YQ/99999999999999999999/{sixteen}"),
        // Base64 in another notation: padded, in the standard alphabet, or with spare bits.
        format!("YQ==/1/{sixteen}"),
        format!("w6k+/1/{sixteen}"),
        format!("YR/1/{sixteen}"),
        format!("Y/1/{sixteen}"),
        format!("Y Q/1/{sixteen}"),
        // Not UTF-8.
        format!("_w/1/{sixteen}"),
        // Paths that are invalid.
        key("", 1, 0),
        key("a//b", 1, 0),
        key("/a", 1, 0),
        key("a/../b", 1, 0),
        key("a\nb", 1, 0),
        key("__ds/x", 1, 0),
        key("__registry__/a", 1, 0),
        key(&"x".repeat(742), 1, 0),
    ];
    for text in table {
        assert_eq!(parse_key(&text), None, "{text}");
    }
}

// Pages.

fn listed(key: &str) -> BucketObject {
    BucketObject { key: key.to_owned(), bytes: 7, uploaded: 1_893_456_000_000 }
}

fn stored(path: &str, segment: u64) -> Stored {
    let key = key(path, 1, segment);
    Stored { key, path: path.to_owned(), incarnation: 1, segment, bytes: 7, uploaded: 1_893_456_000_000 }
}

/// The page's streams as text, each with its segments.
fn streams_of(page: &ByStream) -> Vec<String> {
    let line = |(path, segments): &(_, Vec<Stored>)| {
        let segments = segments.iter().map(|stored| format!(" {}.{}", stored.incarnation, stored.segment));
        let path: &durable_streams::protocol::path::StreamPath = path;
        format!("{}{}", path.as_str(), segments.collect::<String>())
    };
    page.streams.iter().map(line).collect()
}

#[test]
fn page_groups_segments_by_stream() {
    let keys = ["!", &key("a", 1, 0), &key("a", 1, 1), &key("a", 2, 5), "YQ/2/junk", &key("b", 1, 0), "z"];
    let page = by_stream(keys.iter().map(|key| listed(key)).collect(), true).unwrap();
    assert_eq!(streams_of(&page), ["a 1.0 1.1 2.5", "b 1.0"]);
    assert_eq!(page.foreign, ["!", "YQ/2/junk", "z"]);
    assert_eq!(page.next, None);
    assert_eq!(page.streams[1].1, [stored("b", 0)]);
    assert_eq!(by_stream(Vec::new(), true), Ok(ByStream::default()));
}

/// Whatever the bucket contains and however much it lists at once, the pages together list every key exactly once.
#[test]
fn pages_list_every_key_once() {
    let streams = 3 * PAGE_STREAMS_MAX;
    let mut keys: Vec<String> = (0..streams)
        .flat_map(|n| (0..n as u64 % 4).map(move |segment| key(&format!("stream {n:03}"), 1, segment)))
        .chain((0..2 * streams).map(|n| format!("c3-foreign {n}")))
        .collect();
    keys.sort();
    for keys_max in [1, 2, 10, PAGE_KEYS_MAX as usize, 10_000] {
        let (mut after, mut seen): (Option<String>, Vec<String>) = (None, Vec::new());
        loop {
            let rest = keys.iter().filter(|key| after.as_ref().is_none_or(|after| *key > after));
            let rest: Vec<&String> = rest.collect();
            let shown: Vec<BucketObject> = rest.iter().take(keys_max).map(|key| listed(key)).collect();
            let page = by_stream(shown, rest.len() <= keys_max).unwrap();
            assert!(page.streams.len() <= PAGE_STREAMS_MAX);
            seen.extend(page.foreign);
            seen.extend(page.streams.into_iter().flat_map(|(_, segments)| segments).map(|stored| stored.key));
            match page.next {
                None => break,
                next => {
                    assert!(next > std::mem::replace(&mut after, next.clone()), "each page makes progress")
                }
            }
        }
        seen.sort();
        assert_eq!(seen, keys);
    }
}

/// The bucket must say that a listing is complete. An empty page does not prove it.
#[test]
fn empty_page_is_not_the_end() {
    assert!(by_stream(Vec::new(), false).is_err());
    assert_eq!(by_stream(vec![listed("x")], false).unwrap().next.as_deref(), Some("x"));
}

#[test]
fn page_reports_orphans_foreign_keys_and_unchecked_segments() {
    let mut page = OrphansPage {
        foreign: vec!["x\"".to_owned()],
        cursor: Some("x".to_owned()),
        ..OrphansPage::default()
    };
    page.take(vec![stored("a", 0), stored("a", 1), stored("a", 2)], Some(&[key("a", 1, 1)]));
    page.take(vec![stored("b", 0)], Some(&[]));
    page.take(vec![stored("c", 0)], None);
    let body = concat!(
        r#"{"checked":4,"cursor":"x","foreign":["x\""],"orphans":[{"bytes":7,"incarnation":1,"#,
        r#""key":"YQ/1/0000000000000001","path":"a","readSeq":1,"uploaded":"2030-01-01T00:00:00Z"}],"#,
        r#""unchecked":[{"bytes":7,"incarnation":1,"key":"Yw/1/0000000000000000","path":"c","readSeq":0,"#,
        r#""uploaded":"2030-01-01T00:00:00Z"}]}"#
    );
    Response::of_reply(Reply::page(&page))
        .assert_is(&format!("200 | content-type: application/json | cache-control: no-store << {body}"));
    let last = Response::of_reply(Reply::page(&OrphansPage::default()));
    last.assert_is(r#"200 << {"checked":0,"cursor":null,"foreign":[],"orphans":[],"unchecked":[]}"#);
}

// What the stream's object recognizes.

fn of_incarnation(incarnation: u64, segments_found: impl IntoIterator<Item = u64>) -> Vec<String> {
    segments_found.into_iter().map(|segment| key(STREAM_PATH, incarnation, segment)).collect()
}

/// Asks twice, the second time after a restart. The call must write nothing.
#[track_caller]
fn check_orphans(world: &mut World, keys: &[String], expected: &[String]) {
    for restarts in [false, true] {
        if restarts {
            world.restart();
        }
        world.sql.take_rows_written();
        let tables = world.sql.tables();
        assert_eq!(world.orphans(keys).unwrap(), expected, "restarted: {restarts}");
        assert_eq!(world.sql.take_rows_written(), 0);
        assert_eq!(world.sql.tables(), tables);
    }
}

#[test]
fn segment_with_a_row_is_no_orphan() {
    // Segments 0 and 1 are in the bucket, 2 is the tail.
    let mut world = world_of(2, &["a", "b", "c", "d", "e"], &[]);
    check_orphans(&mut world, &of_incarnation(1, 0..2), &[]);
    check_orphans(&mut world, &of_incarnation(2, 0..4), &of_incarnation(2, 0..4));
    let mixed = [of_incarnation(1, [1]), of_incarnation(2, [1]), of_incarnation(1, [0])].concat();
    check_orphans(&mut world, &mixed, &of_incarnation(2, [1]));
    check_orphans(&mut world, &[], &[]);
}

/// The upload of segment 0 is under way, or it has failed and will be retried.
#[test]
fn segment_during_its_upload_is_no_orphan() {
    for fault in [None, Some(BucketFault::Fails), Some(BucketFault::FailsButStored)] {
        let mut world = world_of(2, &["a"], &[]);
        world.rotates = false;
        world.run(&[&post("text/plain", "b"), &post("text/plain", "c")]);
        check_orphans(&mut world, &of_incarnation(1, 0..5), &[]);
        let work = world.next_work().unwrap();
        if let Some(fault) = fault {
            world.bucket.arm(fault);
        }
        let has_arrived = world.bucket.take(&work);
        check_orphans(&mut world, &of_incarnation(1, 0..5), &[]);
        if has_arrived == Outcome::Done {
            // The object lost its memory, so it uploads the segment once more.
            let work = world.next_work().unwrap();
            assert_eq!(world.bucket.take(&work), Outcome::Done);
            world.done(&work);
            check_orphans(&mut world, &of_incarnation(1, 0..5), &[]);
        }
    }
}

/// Segments of an ended incarnation have rows until they are deleted from the bucket, also during the next
/// incarnation.
#[test]
fn segment_that_awaits_deletion_is_no_orphan() {
    for (end, begins_next) in [("DELETE", false), ("DELETE", true), ("RING", false), ("RING", true)] {
        let mut world = world_after(2, &[TTL, HELLO, HELLO, HELLO]);
        world.rotates = false;
        world.run(&["WAIT 59s", HELLO]);
        // Segment 0 is uploaded; 1 is sealed and may be under way.
        assert_eq!(world.bucket.objects.len(), 1);
        world.run(if end == "RING" { &["WAIT 61s", "RING"] } else { &["DELETE"] });
        if begins_next {
            world.run(&[TTL, HELLO]);
        }
        check_orphans(&mut world, &of_incarnation(1, 0..3), &of_incarnation(1, [2]));
        check_orphans(
            &mut world,
            &of_incarnation(2, 0..5),
            &of_incarnation(2, if begins_next { 0..3 } else { 0..5 }),
        );
        world.work();
        world.assert_bucket_is_tidy();
        // All of it is deleted, so segments that still appear are orphans.
        check_orphans(&mut world, &of_incarnation(1, 0..3), &of_incarnation(1, 0..3));
    }
}

/// A stream that has expired, but is not reclaimed, still has all its segments.
#[test]
fn segments_of_an_unreclaimed_stream_are_no_orphans() {
    let mut world = world_after(2, &[TTL, HELLO, HELLO, HELLO, "WAIT 600s"]);
    check_orphans(&mut world, &of_incarnation(1, 0..3), &[]);
}

#[test]
fn segments_of_a_closed_stream_are_no_orphans() {
    let mut world = world_of(2, &["a", "b", "c"], &[CLOSE]);
    assert_eq!(world.bucket.objects.len(), 2);
    check_orphans(&mut world, &of_incarnation(1, 0..2), &[]);
}

/// A missing row is damage, and then the object in the bucket is the only copy of its messages.
#[test]
fn segment_whose_row_is_missing_is_no_orphan() {
    let mut world = world_of(2, &["a", "b", "c", "d", "e"], &[]);
    world.sql.raw().execute("DELETE FROM segments WHERE read_seq = 0", ()).unwrap();
    world.restart();
    check_orphans(&mut world, &of_incarnation(1, 0..2), &[]);
}

/// The call writes nothing to storage.
#[test]
fn every_segment_of_an_unused_url_is_an_orphan() {
    let mut world = world_after(2, &[]);
    check_orphans(&mut world, &of_incarnation(1, 0..3), &of_incarnation(1, 0..3));
    world.sweep(&of_incarnation(1, 0..3)).unwrap();
    world.swept();
    assert!(world.sql.tables().is_empty());
    assert_eq!(world.sql.take_rows_written(), 0);
    world.ask("GET").assert_is("404");
}

/// An object refuses keys of other streams. It does not report them as orphans.
#[test]
fn keys_of_other_streams_are_refused() {
    let mut world = world_of(2, &["a", "b", "c"], &[]);
    for other in [key("chat/43", 1, 0), key("chat", 1, 0), "README.txt".to_owned(), String::new()] {
        for keys in [vec![other.clone()], vec![key(STREAM_PATH, 7, 0), other.clone()]] {
            assert!(world.orphans(&keys).is_err(), "{other}");
            assert!(world.sweep(&keys).is_err(), "{other}");
        }
    }
    // A refused sweep does not block uploads.
    world.run(&[&post("text/plain", "d")]);
    assert_eq!(world.bucket.objects.len(), 2);
}

/// If the object cannot read its storage, the call fails.
#[test]
fn storage_failure_reports_no_orphans() {
    let keys = [of_incarnation(1, 0..2), of_incarnation(7, 0..2)].concat();
    let mut failures = 0;
    for statement in 0..12 {
        let mut world = world_of(2, &["a", "b", "c", "d", "e"], &["RESTART"]);
        world.sql.arm(Fault::Statement(statement));
        let orphans = world.orphans(&keys);
        if world.sql.disarm() {
            failures += 1;
            assert!(orphans.is_err(), "statement {statement}: {orphans:?}");
        }
        assert_eq!(world.orphans(&keys).unwrap(), of_incarnation(7, 0..2), "a retry succeeds");
    }
    assert!(failures > 6, "too few statements were tested: {failures}");
}

// Sweeps.

/// A stream whose storage was removed starts anew under keys that are orphans at this moment. The sweep must not
/// delete what the new stream uploads there.
#[test]
fn uploads_wait_until_a_sweep_ends() {
    for memory_is_lost in [false, true] {
        let mut world = world_of(2, &["a", "b", "c", "d", "e"], &[]);
        world.sql = HostSql::in_memory();
        world.restart();
        let keys: Vec<String> = world.bucket.objects.keys().cloned().collect();
        let orphans = world.sweep(&keys).unwrap();
        assert_eq!(orphans, keys);
        world.run(&[TEXT, &post("text/plain", "A"), &post("text/plain", "B"), &post("text/plain", "C")]);
        assert_eq!(world.next_work(), None);
        if memory_is_lost {
            // A commit fails and drops memory, but the sweep is still under way.
            world.sql.arm(Fault::Commit);
            world.ask(&post("text/plain", "lost")).assert_is("500");
            world.ask("HEAD").assert_is("200");
        }
        let another = world.sweep(&of_incarnation(5, [0])).unwrap();
        world.swept();
        assert_eq!(world.next_work(), None, "the first sweep is still under way");
        for key in orphans.iter().chain(&another) {
            world.bucket.objects.remove(key);
        }
        world.swept();
        world.work();
        world.ask("GET").assert_is("200 << ABC");
        world.assert_bucket_is_tidy();
        assert_eq!(world.bucket.objects.len(), 1);
    }
}

/// An upload that is under way when a sweep begins still arrives, and its segment is no orphan.
#[test]
fn upload_under_way_survives_a_sweep() {
    let mut world = world_of(2, &["a"], &[]);
    world.rotates = false;
    world.run(&[&post("text/plain", "b")]);
    let work = world.next_work().unwrap();
    let keys = [of_incarnation(1, 0..2), of_incarnation(2, 0..2)].concat();
    assert_eq!(world.sweep(&keys).unwrap(), of_incarnation(2, 0..2));
    assert_eq!(world.bucket.take(&work), Outcome::Done);
    world.done(&work);
    world.swept();
    world.assert_bucket_is_tidy();
    world.ask("GET").assert_is("200 << ab");
}
