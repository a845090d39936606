//! What operators read: metrics, readiness, and the ids of requests.

use std::collections::HashMap;

use durable_streams::edge::access::Access;
use durable_streams::edge::metrics::{METRICS_PROJECTS_MAX, MetricsRequest};
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::metrics::{RegistryCounts, StreamCounts, SummaryCounts};
use durable_streams::protocol::readiness::ReadyCheck;
use durable_streams::protocol::refusal::{Refusal, TOO_MUCH_IS_HELD};
use durable_streams::protocol::registry::{Record, RegistryEvent};
use durable_streams::protocol::reply::Reply;
use durable_streams::protocol::request_id::{ID_MAX_BYTES, request_id};
use durable_streams::protocol::subscription::SubscriptionName;
use durable_streams::protocol::subscription::summary::WakeTotals;
use durable_streams::storage::registry::{COUNTED_ROWS_MAX, counted};
use durable_streams::storage::schema;
use durable_streams::telemetry::exposition::{Scrape, Scraped, ScrapedIndex};
use durable_streams::telemetry::points::{INDEX_MAX_BYTES, ObjectGauges, ObjectTotals, POINT_MIN, Served};

use crate::support::registry::HostRegistry;
use crate::support::sql::HostSql;
use crate::support::{Response, World};

const KEY: &str = r#"{ "keys": [{ "kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }] }"#;

fn of_projects(names: &[String]) -> Access {
    let projects: HashMap<&str, serde_json::Value> =
        names.iter().map(|name| (name.as_str(), serde_json::from_str(KEY).unwrap())).collect();
    let project_keys = Some(serde_json::to_string(&projects).unwrap());
    Access::of(&EdgeSettings { project_keys, ..EdgeSettings::default() })
}

fn record(registry: &mut HostRegistry, path: &str, events: &[(u64, u64)]) {
    let event = |(incarnation, seq): &(u64, u64)| RegistryEvent {
        incarnation: *incarnation,
        seq: *seq,
        message: "{}".to_owned(),
    };
    let record = Record { path: path.to_owned(), events: events.iter().map(event).collect(), summary: None };
    let answered = registry.answer("__registry__", &Call::Record(record).to_json(), 5);
    assert_eq!(answered, Ok(Answered::Recorded));
}

// Counts.

#[test]
fn registry_counts_streams_and_subscriptions() {
    let mut registry = HostRegistry::new(World::new().settings());
    let count = |registry: &mut HostRegistry| match registry.answer("__registry__", "\"Count\"", 5) {
        // The messages have no times.
        Ok(Answered::Counted(counts)) => counts,
        other => panic!("{other:?}"),
    };
    let none = RegistryCounts { counted: Some(StreamCounts::default()), ..RegistryCounts::default() };
    assert_eq!(count(&mut registry), none, "a registry that does not exist has no streams");
    record(&mut registry, "a", &[(1, 0)]);
    record(&mut registry, "b", &[(1, 0), (1, 1), (2, 0)]);
    record(&mut registry, "c", &[(1, 0), (1, 1)]);
    record(&mut registry, "__ds/subscriptions/x", &[(1, 0), (2, 0), (3, 0)]);
    record(&mut registry, "a/__ds/subscriptions/y", &[(1, 0)]);
    record(&mut registry, "__ds/subscriptions/z", &[(1, 0), (2, 0), (2, 1)]);
    let expected = StreamCounts { streams: 2, created: 4, deleted: 2, subscriptions: 2 };
    let counts = RegistryCounts { counted: Some(expected), written_at: Some(5), ..RegistryCounts::default() };
    assert_eq!(count(&mut registry), counts);
    registry.restart();
    assert_eq!(count(&mut registry), counts);
}

/// The statement must tell subscriptions from streams as `SubscriptionName` does.
#[test]
fn count_tells_subscriptions_from_streams() {
    for path in [
        "__ds/subscriptions/x",
        "a/__ds/subscriptions/x",
        "a/b/__ds/subscriptions/x",
        "a__ds/subscriptions/x",
        "__ds/subscriptionsx",
        "a",
    ] {
        let sql = HostSql::in_memory();
        sql.raw().execute_batch(schema::CREATE_PRODUCERS).unwrap();
        let row = format!("INSERT INTO producers (id, epoch, seq) VALUES ('{path}', 1, 0)");
        sql.raw().execute_batch(&row).unwrap();
        let is_subscription = SubscriptionName::parse(path).is_some();
        let found = counted(&sql).unwrap().unwrap();
        assert_eq!(
            (found.subscriptions, found.streams),
            if is_subscription { (1, 0) } else { (0, 1) },
            "{path}"
        );
    }
}

#[test]
fn large_registry_is_not_counted() {
    let sql = HostSql::in_memory();
    sql.raw().execute_batch(schema::CREATE_PRODUCERS).unwrap();
    let fill = format!(
        "INSERT INTO producers (id, epoch, seq) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < {COUNTED_ROWS_MAX}) SELECT 's/' || i, 1, 0 FROM n"
    );
    sql.raw().execute_batch(&fill).unwrap();
    assert_eq!(counted(&sql).unwrap().map(|counted| counted.streams), Some(COUNTED_ROWS_MAX));
    sql.raw().execute_batch("INSERT INTO producers (id, epoch, seq) VALUES ('t', 1, 0)").unwrap();
    assert_eq!(counted(&sql).unwrap(), None);
}

// The request.

#[test]
fn request_for_metrics_names_registries_within_the_bound() {
    let names = |count: usize| (0..count).map(|at| format!("p{at:03}")).collect::<Vec<_>>();
    let open = Access::of(&EdgeSettings::default());
    let of = |access: &Access, lists: bool, query: &str| {
        MetricsRequest::of(access, lists, &format!("https://x/metrics{query}"))
            .map(|asked| (asked.registries().collect::<Vec<_>>(), asked.left_out))
            .map_err(|refusal| refusal.code())
    };
    let paths = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(of(&open, true, "?project=a"), Ok((paths(&["__registry__"]), 0)));
    assert_eq!(of(&open, false, ""), Ok((Vec::new(), 0)));
    let few = of_projects(&names(2));
    assert_eq!(of(&few, true, ""), Ok((paths(&["p000/__registry__", "p001/__registry__"]), 0)));
    assert_eq!(
        of(&few, true, "?project=z&project=b&project=z"),
        Ok((paths(&["b/__registry__", "z/__registry__"]), 0))
    );
    for wrong in ["?project=", "?project=a/b", "?project=__registry__", "?project=__ds"] {
        assert_eq!(of(&few, true, wrong), Err("invalid_query"), "{wrong}");
    }
    let many = of_projects(&names(METRICS_PROJECTS_MAX + 3));
    let (asked, left_out) = of(&many, true, "").unwrap();
    assert_eq!((asked.len(), left_out, &*asked[0]), (METRICS_PROJECTS_MAX, 3, "p000/__registry__"));
    let query: String =
        names(METRICS_PROJECTS_MAX + 1).iter().map(|name| format!("&project={name}")).collect();
    for access in [&many, &open] {
        assert_eq!(of(access, true, &format!("?{}", &query[1..])), Err("invalid_query"));
    }
}

// The text.

const EXPOSITION: &str = r#"# HELP ds_build_info The version and the access mode; always 1.
# TYPE ds_build_info gauge
ds_build_info{version="1.2.3",mode="projects"} 1
# HELP ds_registries_left_out The projects of PROJECT_KEYS that were not asked.
# TYPE ds_registries_left_out gauge
ds_registries_left_out 1
# HELP ds_index_up Whether the segment index could be written.
# TYPE ds_index_up gauge
ds_index_up 1
# HELP ds_index_size_bytes The size of the segment index's database.
# TYPE ds_index_size_bytes gauge
ds_index_size_bytes 4096
# HELP ds_registry_up Whether the registry answered.
# TYPE ds_registry_up gauge
ds_registry_up{project="a"} 1
ds_registry_up{project="b\"\\"} 1
ds_registry_up{project="c"} 0
# HELP ds_registry_counted Whether the registry was small enough to be counted. If not, it has no counts below.
# TYPE ds_registry_counted gauge
ds_registry_counted{project="a"} 1
ds_registry_counted{project="b\"\\"} 0
# HELP ds_registry_last_event_timestamp_seconds The time of the registry's newest event.
# TYPE ds_registry_last_event_timestamp_seconds gauge
ds_registry_last_event_timestamp_seconds{project="a"} 1893456000.5
# HELP ds_registry_lag_seconds The longest delay of the registry's newest events. It has none without an event in the last hour.
# TYPE ds_registry_lag_seconds gauge
ds_registry_lag_seconds{project="a"} 1.5
# HELP ds_streams The streams that exist.
# TYPE ds_streams gauge
ds_streams{project="a"} 3
# HELP ds_streams_created_total The streams that were created.
# TYPE ds_streams_created_total counter
ds_streams_created_total{project="a"} 9
# HELP ds_streams_deleted_total The streams that were deleted or have expired.
# TYPE ds_streams_deleted_total counter
ds_streams_deleted_total{project="a"} 6
# HELP ds_subscriptions The subscriptions that exist, by their last reported status.
# TYPE ds_subscriptions gauge
ds_subscriptions{project="a",status="active"} 3
ds_subscriptions{project="a",status="failed"} 1
ds_subscriptions{project="a",status="parked"} 0
ds_subscriptions{project="a",status="unknown"} 2
# HELP ds_wakes_total The wakes of subscriptions.
# TYPE ds_wakes_total counter
ds_wakes_total{project="a",type="webhook"} 12
ds_wakes_total{project="a",type="pull-wake"} 6
# HELP ds_deliveries_total The attempts to deliver wakes.
# TYPE ds_deliveries_total counter
ds_deliveries_total{project="a",type="webhook",result="ok"} 6
ds_deliveries_total{project="a",type="webhook",result="failed"} 3
ds_deliveries_total{project="a",type="webhook",result="unsent"} 0
ds_deliveries_total{project="a",type="pull-wake",result="ok"} 2
ds_deliveries_total{project="a",type="pull-wake",result="failed"} 1
ds_deliveries_total{project="a",type="pull-wake",result="unsent"} 0
"#;

fn summaries() -> Vec<SummaryCounts> {
    let of_type = |kind: &str, status: &str, subscriptions, wakes| SummaryCounts {
        kind: kind.to_owned(),
        status: status.to_owned(),
        subscriptions,
        totals: WakeTotals { wakes, succeeded: 2, failed: 1, unsent: 0 },
    };
    vec![
        of_type("webhook", "active", 2, 3),
        of_type("webhook", "failed", 1, 4),
        of_type("webhook", "", 5, 5),
        of_type("pull-wake", "active", 1, 6),
        of_type("of a later build", "later", 1, 7),
    ]
}

#[test]
fn exposition_has_each_metric_once_with_its_type() {
    let counted = Some(StreamCounts { streams: 3, created: 9, deleted: 6, subscriptions: 6 });
    let summaries = summaries();
    let known = RegistryCounts { counted, written_at: Some(1_893_456_000_500), lag: Some(1_500), summaries };
    let large = RegistryCounts::default();
    let of = |project: &str, counts| Scraped { project: Some(project.to_owned()), counts };
    let index = Some(ScrapedIndex { is_up: true, bytes: Some(4096) });
    let registries = vec![of("a", Some(known)), of("b\"\\", Some(large)), of("c", None)];
    let text = Scrape { version: "1.2.3", mode: "projects", registries, left_out: 1, index }.to_text();
    assert_eq!(text, EXPOSITION.replace("b\"\\\"", "b\\\"\\\\\""));
    let reply = Reply::metrics(text);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Response::of_reply(reply).assert_is("200 | cache-control: no-store");
}

#[test]
fn registry_of_all_streams_has_no_label() {
    let counts = Some(RegistryCounts::default());
    let registries = vec![Scraped { project: None, counts }];
    let text = Scrape { version: "1", mode: "open", registries, left_out: 0, index: None }.to_text();
    assert!(text.contains("\nds_registry_up 1\n"), "{text}");
}

// Readiness.

#[test]
fn server_is_ready_unless_a_check_fails() {
    for (check, expected) in [
        (
            ReadyCheck::Answers,
            r#"200 | cache-control: no-store << {"checks":{"a":"ok","b":"ok"},"status":"ok"}"#,
        ),
        (ReadyCheck::NotBound, r#"200 << {"checks":{"a":"ok","b":"not bound"},"status":"ok"}"#),
        (ReadyCheck::Fails, "503 | error: not_ready | retry-after: 5"),
    ] {
        Response::of_reply(Reply::readiness(&[("a", ReadyCheck::Answers), ("b", check)])).assert_is(expected);
    }
}

// Data points.

#[test]
fn point_of_a_request_has_its_fields_in_order() {
    let served = |method: &'static str, project: &'static str| Served {
        route: "stream",
        method,
        status: 204,
        mode: "projects",
        project,
        weight: 10.0,
        seconds: 0.012,
        bytes_in: 5.0,
        bytes_out: 0.0,
    };
    let point = served("POST", "a").to_point();
    assert_eq!(point.index, "a");
    assert_eq!(point.blobs, ["request", "stream", "POST", "204", "2xx", "projects", "a"]);
    assert_eq!(point.doubles, [10.0, 0.012, 5.0, 0.0]);
    let point = served("MADEUP", "").to_point();
    assert_eq!((&*point.index, &*point.blobs[2]), ("stream", "other"));
}

#[test]
fn object_sends_a_point_at_once_and_then_one_a_minute() {
    let mut totals = ObjectTotals::default();
    totals.served(Some(5));
    assert!(totals.is_due(1_000));
    let gauges = ObjectGauges { readers: 2, rows_written: 3, registry_lag: 1_500, index_lag: 250 };
    let point = totals.take("a/b", gauges, 1_000);
    assert_eq!((&*point.index, &point.blobs[..]), ("a", &["object".to_owned(), "a/b".to_owned()][..]));
    assert_eq!(point.doubles, [1.0, 1.0, 5.0, 2.0, 3.0, 1.5, 0.25]);
    for bytes in [Some(7), None, Some(1)] {
        totals.served(bytes);
        assert!(!totals.is_due(1_000 + POINT_MIN - 1));
    }
    assert!(totals.is_due(1_000 + POINT_MIN));
    let point = totals.take("a/b", ObjectGauges::default(), 1_000 + POINT_MIN);
    assert_eq!(point.doubles, [3.0, 2.0, 8.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn index_of_a_point_is_short_enough() {
    let path = "\u{e9}".repeat(INDEX_MAX_BYTES);
    let point = ObjectTotals::default().take(&format!("x{path}"), ObjectGauges::default(), 0);
    assert_eq!(point.index.len(), INDEX_MAX_BYTES - 1, "a whole character");
}

// Ids of requests.

#[test]
fn id_of_a_request_is_the_platforms_or_random() {
    let longest = "a".repeat(ID_MAX_BYTES);
    let too_long = "a".repeat(ID_MAX_BYTES + 1);
    for (ray, expected) in [
        (Some("8f1b2c3d4e5f6a7b"), "8f1b2c3d4e5f6a7b"),
        (Some("8f1b2c3d4e5f6a7b-SJC"), "8f1b2c3d4e5f6a7b-SJC"),
        (Some(&*longest), &*longest),
        (Some(&*too_long), "random"),
        (Some(""), "random"),
        (Some("a b"), "random"),
        (Some("a\u{fffd}"), "random"),
        (Some("\",\"level\":\"error"), "random"),
        (None, "random"),
    ] {
        assert_eq!(request_id(ray.map(str::to_owned), &|| "random".to_owned()), expected, "{ray:?}");
    }
}

#[test]
fn every_reply_has_the_id_and_a_5xx_names_it_in_its_body() {
    let message = |reply: &Reply| {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        body["error"]["request"].as_str().map(str::to_owned)
    };
    for (reply, is_named) in [
        (Reply::failed(), true),
        (Reply::unavailable(), true),
        (Reply::refused(&Refusal::Busy { why: TOO_MUCH_IS_HELD }), true),
        (Reply::refused(&Refusal::NotFound), false),
        (Reply::readiness(&[("a", ReadyCheck::Fails)]), true),
        (Reply::preflight(None), false),
        (Reply::deleted(), false),
    ] {
        let before = reply.clone();
        let reply = reply.identified("abc");
        assert_eq!(reply.header("x-request-id"), Some("abc"), "{reply:?}");
        assert_eq!(message(&reply), is_named.then(|| "abc".to_owned()), "{reply:?}");
        assert!(is_named || before.body == reply.body, "{reply:?}");
        Response::of_reply(reply).assert_sound();
    }
}
