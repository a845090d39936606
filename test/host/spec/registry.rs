//! Registries: what a stream reports of its incarnations, when and at what cost; how a registry stores it; and that
//! clients cannot write one.

use super::rotation::MANY;
use super::{CLOSE, HELLO, JSON, TEXT};
use crate::support::registry::RegistryFault;
use crate::support::sql::Fault;
use crate::support::world::START;
use crate::support::{World, check};
use durable_streams::object::effect::{About, Outcome};
use durable_streams::object::pending::RETRY;
use durable_streams::object::reports::{LIVES_AT_ONCE_MAX, REST_MAX, REST_MIN};
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::path::StreamPath;
use durable_streams::protocol::registry::{Registries, path_of};
use durable_streams::stream::rotate::SegmentLimits;

const SOON: &str = "PUT | content-type: text/plain | stream-ttl: 30";

#[track_caller]
fn world_after(steps: &[&str]) -> World {
    let mut world = World::new();
    world.limit_registries(Registries::One);
    world.run(steps);
    world
}

/// A world whose stream sends no reports by itself.
#[track_caller]
fn silent_after(steps: &[&str]) -> World {
    let mut world = World::new();
    world.limit_registries(Registries::One);
    world.reports = false;
    world.run(steps);
    world
}

fn events(world: &mut World) -> Vec<String> {
    world.registry.events(START)
}

// What is reported.

#[test]
fn registry_records_creation_and_deletion() {
    let table: [(&[&str], &[&str]); 10] = [
        (&[TEXT], &["insert text/plain 0"]),
        (&[TEXT, TEXT, HELLO, CLOSE, "RESTART", "GET"], &["insert text/plain 0"]),
        (
            &["WAIT 5ms", JSON, "WAIT 5ms", "DELETE"],
            &["insert application/json 5", "delete application/json 5"],
        ),
        (
            &[TEXT, "DELETE", "WAIT 1s", JSON],
            &["insert text/plain 0", "delete text/plain 0", "insert application/json 1000"],
        ),
        (&[TEXT, "RESTART", "DELETE", "RESTART"], &["insert text/plain 0", "delete text/plain 0"]),
        (&[SOON, "WAIT 31s", "RING"], &["insert text/plain 0", "delete text/plain 0"]),
        (
            &[SOON, "WAIT 31s", TEXT],
            &["insert text/plain 0", "delete text/plain 0", "insert text/plain 31000"],
        ),
        (&[SOON, "WAIT 20s", HELLO, "WAIT 20s", "RING"], &["insert text/plain 0"]),
        (
            &["PUT | content-type: TEXT/Plain; charset=utf-8 | stream-closed: true << x"],
            &["insert TEXT/Plain; charset=utf-8 0"],
        ),
        (&["PUT"], &["insert application/octet-stream 0"]),
    ];
    for (steps, expected) in table {
        let mut world = world_after(steps);
        assert_eq!(events(&mut world), expected, "{steps:?}");
        // No event is recorded twice, whichever side loses its memory.
        world.registry.restart();
        world.restart();
        let _whatever = world.ask("HEAD");
        assert_eq!(events(&mut world), expected, "{steps:?}");
    }
}

#[test]
fn event_has_path_type_and_creation_time() {
    let mut world = world_after(&["PUT | content-type: text/plain; charset=\"x\"", "DELETE"]);
    let content_type = "text/plain; charset=\\\"x\\\"";
    let value = format!("{{\"path\":\"chat/42\",\"contentType\":\"{content_type}\",\"createdAt\":{START}}}");
    let text = |operation: &str| {
        format!(
            "{{\"type\":\"stream\",\"key\":\"chat/42\",\"value\":{value},\"headers\":{{\"operation\":\"{operation}\"}}}}"
        )
    };
    let stored: String = world
        .registry
        .sql
        .raw()
        .query_row("SELECT group_concat(CAST(body AS TEXT), '\n') FROM messages_0", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored, format!("{}\n{}", text("insert"), text("delete")));
    assert_eq!(world.registry.messages()[1]["headers"]["operation"], "delete");
}

/// The registry that a stream reports to, in each mode.
#[test]
fn registry_of_a_stream_depends_on_the_mode() {
    let path = |text: &str| StreamPath::of_text(text.to_owned()).unwrap();
    for (stream, one, own) in [
        ("a", Some("__registry__"), Some("a/__registry__")),
        ("a/b/c", Some("__registry__"), Some("a/__registry__")),
        ("a/b/__registry__", Some("__registry__"), Some("a/__registry__")),
        ("a/__registry__x", Some("__registry__"), Some("a/__registry__")),
        ("a__registry__", Some("__registry__"), Some("a__registry__/__registry__")),
        ("__registry__", None, None),
        ("a/__registry__", None, None),
    ] {
        let found =
            [Registries::Off, Registries::One, Registries::PerProject].map(|all| all.path_for(&path(stream)));
        assert_eq!(found, [None, one.map(str::to_owned), own.map(str::to_owned)], "{stream}");
        let is_registry = own.is_none();
        assert_eq!(
            (path(stream).is_registry(), path(stream).is_reserved()),
            (is_registry, false),
            "{stream}"
        );
    }
    for reserved in [
        "__ds/__registry__",
        "__registry__/__registry__",
        "__registry__/a",
        "__ds",
        "a/__ds",
        "a/__ds/__registry__",
    ] {
        assert_eq!((path(reserved).is_registry(), path(reserved).is_reserved()), (false, true), "{reserved}");
    }
    assert_eq!(path_of(None), "__registry__");
    assert_eq!(path_of(Some("a")), "a/__registry__");
}

/// A server that is switched to projects has new registries, to which every existing stream reports.
#[test]
fn stream_reports_to_a_new_registry() {
    let mut world = world_after(&[TEXT, HELLO]);
    world.registry = crate::support::registry::HostRegistry::new(world.settings());
    world.limit_registries(Registries::PerProject);
    world.run(&[HELLO]);
    assert_eq!(events(&mut world), ["insert text/plain 0"]);
    world.run(&["DELETE", "RESTART"]);
    assert_eq!(events(&mut world), ["insert text/plain 0", "delete text/plain 0"]);
}

/// When reporting is turned on, a stream reports its current incarnation and no earlier one.
#[test]
fn registry_turned_on_later_learns_current_streams() {
    let mut world = World::after(&[TEXT, "DELETE", JSON, "RESTART"]);
    assert!(!world.sql.tables().contains(&"unreported".to_owned()));
    world.limit_registries(Registries::One);
    world.ask("HEAD").assert_is("200");
    assert_eq!(events(&mut world), ["insert application/json 0"]);
    world.limit_registries(Registries::Off);
    world.run(&["DELETE"]);
    assert_eq!((world.alarm_at(), events(&mut world).len()), (None, 1));
    world.limit_registries(Registries::One);
    world.ask("GET").assert_is("404");
    assert_eq!(events(&mut world), ["insert application/json 0", "delete application/json 0"]);
}

// Exactly once and in order, whatever fails.

/// Incarnations began and ended while no report was sent.
#[test]
fn unreported_incarnations_are_reported_in_order() {
    let mut world =
        silent_after(&[TEXT, "DELETE", "WAIT 1s", JSON, "DELETE", "WAIT 1s", "RESTART", TEXT, HELLO]);
    assert_eq!(world.sql.tables(), ["messages_2", "stream", "unreported"]);
    world.report();
    let expected = [
        "insert text/plain 0",
        "delete text/plain 0",
        "insert application/json 1000",
        "delete application/json 1000",
        "insert text/plain 2000",
    ];
    assert_eq!(events(&mut world), expected);
    assert_eq!(world.sql.tables(), ["messages_2", "stream"], "reported rows are deleted");
    // An incarnation whose creation was reported, but not its end.
    world.run(&["DELETE", "WAIT 1s", JSON]);
    world.report();
    let half = [&expected[..], &["delete text/plain 2000", "insert application/json 3000"]].concat();
    assert_eq!(events(&mut world), half);
}

#[test]
fn reports_hold_a_limited_number_of_incarnations() {
    let mut world = silent_after(&[]);
    for _ in 0..=2 * LIVES_AT_ONCE_MAX {
        world.run(&[TEXT, "DELETE"]);
    }
    world.restart();
    let mut reports = 0;
    while let Some(report) = world.next_report() {
        let Call::Record(record) = &report.call else { panic!("{report:?}") };
        assert!(record.events.len() as u64 <= 2 * LIVES_AT_ONCE_MAX);
        assert_eq!(world.registry.take(&report, world.now), Outcome::Answered(Answered::Recorded));
        world.reported(&report);
        reports += 1;
    }
    assert_eq!(reports, 3);
    let pair = ["insert text/plain 0", "delete text/plain 0"];
    assert_eq!(events(&mut world), pair.repeat(2 * LIVES_AT_ONCE_MAX as usize + 1));
    assert_eq!(world.sql.tables(), ["stream"]);
}

/// The next incarnation begins while the report of the last one's end is under way.
#[test]
fn late_report_does_not_hide_the_next_incarnation() {
    let mut world = silent_after(&[TEXT]);
    let first = world.next_report().unwrap();
    world.run(&["DELETE", JSON]);
    assert_eq!(world.registry.take(&first, world.now), Outcome::Answered(Answered::Recorded));
    world.reported(&first);
    assert!(world.sql.tables().contains(&"unreported".to_owned()), "the end is not recorded yet");
    world.report();
    let expected = ["insert text/plain 0", "delete text/plain 0", "insert application/json 0"];
    assert_eq!(events(&mut world), expected);
    // A late copy of an old report changes nothing.
    assert_eq!(world.registry.take(&first, world.now), Outcome::Answered(Answered::Recorded));
    assert_eq!(events(&mut world), expected);
}

#[test]
fn events_are_recorded_once_when_either_side_fails() {
    for fault in [RegistryFault::Fails, RegistryFault::FailsButRecorded, RegistryFault::FailsAndArrivesLate] {
        let mut world = silent_after(&[TEXT, "DELETE"]);
        world.registry.arm(fault);
        world.report();
        world.restart();
        world.registry.restart();
        world.report();
        let expected = ["insert text/plain 0", "delete text/plain 0"];
        assert_eq!(events(&mut world), expected, "{fault:?}");
        world.registry.let_one_arrive(&mut fastrand::Rng::with_seed(1), world.now);
        assert_eq!(events(&mut world), expected, "{fault:?}");
    }
    // Storage fails, on either side, at each statement.
    for at in 0..14 {
        for is_registry in [false, true] {
            for fault in [Fault::Statement(at), Fault::Commit, Fault::CommitButStored] {
                let mut world = silent_after(&[TEXT, "DELETE", "RESTART"]);
                (if is_registry { &world.registry.sql } else { &world.sql }).arm(fault);
                world.report();
                world.sql.disarm();
                world.registry.sql.disarm();
                world.report();
                world.restart();
                world.report();
                let expected = ["insert text/plain 0", "delete text/plain 0"];
                assert_eq!(events(&mut world), expected, "{fault:?} {is_registry}");
            }
        }
    }
}

/// After a registry was restored to an earlier state or lost its storage, the next report of a stream corrects its
/// entry.
#[test]
fn report_repairs_a_registry_that_lost_its_storage() {
    let mut world = world_after(&[TEXT, HELLO]);
    world.registry = crate::support::registry::HostRegistry::new(world.settings());
    world.run(&["DELETE"]);
    assert_eq!(events(&mut world), ["insert text/plain 0", "delete text/plain 0"]);
}

/// A malformed report fails, or is an unknown call. It records no event.
#[test]
fn malformed_report_is_not_recorded() {
    for text in [
        "",
        r#"{"Record":{"path":"a"}}"#,
        r#"{"Record":{"path":"a","events":[{"incarnation":1}]}}"#,
        r#"{"Record":{"path":"a","events":[{"incarnation":1,"seq":0}]}}"#,
        r#"{"Record":{"path":"a","events":[{"incarnation":"x","seq":0,"message":"{}"}]}}"#,
        r#"{"Record":{"path":"a","events":[{"incarnation":null,"seq":0,"message":"{}"}]}}"#,
        r#"{"Record":{"path":"a","events":[{"incarnation":1,"seq":0,"message":"{"}]}}"#,
        r#"{"Record":{"path":"a","events":[{"incarnation":9007199254740992,"seq":0,"message":"{}"}]}}"#,
        r#"{"Record":{"path":"","events":[{"incarnation":1,"seq":0,"message":"{}"}]}}"#,
    ] {
        let mut world = world_after(&[]);
        let answered = world.record(text);
        assert!(matches!(answered, Err(_) | Ok(Answered::Unknown)), "{text}: {answered:?}");
        assert_eq!(events(&mut world), [""; 0], "{text}");
    }
}

// Alarms and cost.

/// A creation costs the stream one row, for the state of its report. It costs the registry the event and the
/// producer.
#[test]
fn report_costs_the_stream_one_row() {
    let mut world = silent_after(&[]);
    let cost = |world: &mut World, step: &str| {
        let alarms = world.alarms_set();
        world.run(&[step]);
        let own = world.sql.take_rows_written() + world.alarms_set() - alarms;
        world.report();
        (own, world.sql.take_rows_written(), world.registry.sql.take_rows_written())
    };
    // The registry's third row is its own stream's, written once.
    assert_eq!(cost(&mut world, TEXT), (1, 1, 3));
    assert_eq!(cost(&mut world, TEXT), (0, 0, 0));
    assert_eq!(cost(&mut world, HELLO), (1, 0, 0));
    // One of the stream's two rows is for the alarm.
    assert_eq!(cost(&mut world, "DELETE"), (2, 1, 2));
    assert_eq!(cost(&mut world, TEXT), (1, 1, 2));
    world.restart();
    world.ask("HEAD").assert_is("200");
    world.report();
    assert_eq!((world.sql.take_rows_written(), world.registry.sql.take_rows_written()), (0, 0));
}

#[test]
fn without_a_registry_nothing_is_written() {
    let rows = [Registries::Off, Registries::One].map(|registries| {
        let mut world = World::new();
        world.limit_registries(registries);
        world.reports = false;
        world.run(&[TEXT, HELLO, CLOSE, "DELETE"]);
        (world.sql.take_rows_written(), world.alarms_set(), world.next_report().is_some())
    });
    assert_eq!(rows, [(4, 0, false), (4, 1, true)]);
}

/// Deletion sets an alarm, because a deleted stream may get no further request. Creation does not: the next request
/// sends its report.
#[test]
fn unsent_report_is_sent_after_a_crash() {
    let mut world = silent_after(&[TEXT, "RESTART"]);
    assert_eq!((world.alarm_at(), world.alarms_set()), (None, 0));
    world.reports = true;
    world.ask("HEAD").assert_is("200");
    assert_eq!(events(&mut world), ["insert text/plain 0"]);

    let mut world = silent_after(&[TEXT, "DELETE"]);
    assert_eq!((world.alarm_at(), world.alarms_set()), (Some(START + RETRY), 1));
    world.assert_no_end_is_forgotten();
    world.restart();
    world.reports = true;
    world.now += RETRY;
    world.ring();
    assert_eq!(events(&mut world), ["insert text/plain 0", "delete text/plain 0"]);
    assert_eq!((world.alarm_at(), world.alarms_set()), (None, 1));

    // A stream with a lifetime has an alarm already, and needs no other.
    let mut world = world_after(&[SOON, "WAIT 31s", "RING"]);
    assert_eq!((world.alarm_at(), world.alarms_set(), events(&mut world).len()), (None, 1, 2));
}

/// Listing an expired stream makes it report its end.
#[test]
fn listing_makes_an_expired_stream_report_its_end() {
    let mut world = silent_after(&[SOON, "WAIT 31s"]);
    world.reports = true;
    assert_eq!(world.described(), None);
    assert_eq!(events(&mut world), ["insert text/plain 0", "delete text/plain 0"]);
}

#[test]
fn reports_to_a_failing_registry_back_off() {
    let mut world = silent_after(&[TEXT, "DELETE"]);
    for rest in [REST_MIN, REST_MIN, 2 * REST_MIN, 4 * REST_MIN] {
        world.registry.arm(RegistryFault::Fails);
        world.report();
        assert_eq!(world.alarm_at(), Some(world.now + rest));
        world.now += rest;
        world.restart();
        world.shell.alarm_at = None;
    }
    world.now += 10 * REST_MAX;
    world.registry.arm(RegistryFault::Fails);
    world.report();
    assert_eq!(world.alarm_at(), Some(world.now + REST_MAX));
    // For a stream that existed long before, the back-off counts from its end.
    let mut world = world_after(&[TEXT, "WAIT 9000s"]);
    world.reports = false;
    world.run(&["DELETE", "RESTART"]);
    world.registry.arm(RegistryFault::Fails);
    world.report();
    assert_eq!(world.alarm_at(), Some(world.now + REST_MIN));
    // Reports of an existing stream back off in the same way.
    let mut world = silent_after(&[TEXT, "WAIT 600s"]);
    world.registry.arm(RegistryFault::Fails);
    world.report();
    assert_eq!(world.alarm_at(), Some(world.now + 10 * REST_MIN));
    let about = silent_after(&[TEXT, "WAIT 600s"]).next_report().map(|calling| calling.about);
    let Some(About::Report(report)) = about else { panic!("{about:?}") };
    let logged = report.failure("no answer");
    assert_eq!(logged.to_string(), "report stream: what happened 2030-01-01T00:00:00Z: no answer");
}

/// Deleting a stream with segments sets one alarm for the bucket and for the report.
#[test]
fn deletion_sets_one_alarm_for_bucket_and_registry() {
    let mut world = World::new();
    world.limit_segments(Some(SegmentLimits { appends_max: 1, bytes_max: MANY, closed_bytes_min: 1 }));
    world.limit_registries(Registries::One);
    world.run(&[TEXT, HELLO, "WAIT 100s"]);
    (world.reports, world.rotates) = (false, false);
    let before = world.alarms_set();
    world.run(&["DELETE"]);
    assert_eq!((world.alarm_at(), world.alarms_set()), (Some(world.now + RETRY), before + 1));
    (world.reports, world.rotates) = (true, true);
    world.now += RETRY;
    world.ring();
    assert_eq!((world.alarm_at(), world.alarms_set()), (None, before + 1));
    assert_eq!(events(&mut world).len(), 2);
}

// Access.

/// Only the server writes a registry.
#[test]
fn client_writes_to_a_registry_are_refused() {
    let own = ["/v1/stream/__registry__", "/v1/stream/a/__registry__", "/v1/stream/a%2F__regis%74ry__"];
    for url in own {
        for write in [
            format!("PUT {url} | content-type: application/json"),
            format!("PUT {url} | content-type: application/json | stream-forked-from: /v1/stream/a"),
            format!("POST {url} | content-type: application/json << {{}}"),
            format!("POST {url} | stream-closed: true"),
            format!(
                "POST {url} | content-type: application/json | producer-id: a | producer-epoch: 1 | producer-seq: 0 << {{}}"
            ),
            format!("DELETE {url}"),
        ] {
            check(&[], &write, "403 | error: read_only | cache-control: no-store");
        }
        for read in ["GET", "HEAD"] {
            check(&[], &format!("{read} {url}"), "404 | error: stream_not_found");
        }
        check(&[], &format!("OPTIONS {url}"), "204");
        check(&[], &format!("PATCH {url}"), "405");
    }
    for ordinary in ["a/b/__registry__", "a/__registry__/b", "a/x__registry__", "a/__REGISTRY__"] {
        check(&[], &format!("PUT /v1/stream/{ordinary}"), "201");
    }
    for nothing in ["__registry__/a", "__registry__/__registry__", "__registry__%2fa"] {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            check(&[], &format!("{method} /v1/stream/{nothing}"), "400 | error: invalid_path");
        }
    }
}
