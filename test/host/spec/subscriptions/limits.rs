//! The bounds of subscriptions: what is counted, what is shown, and how long streams and deliveries rest.

use durable_streams::edge::subscriptions::Action;
use durable_streams::protocol::call::Call;
use durable_streams::protocol::subscription::SubscriptionName;
use durable_streams::protocol::subscription::answer::{Shown, SubscriptionAnswer};
use durable_streams::protocol::subscription::config::{STREAMS_MAX_BYTES, SubscriptionConfig};
use durable_streams::protocol::subscription::refusal::SubscriptionRefusal;
use durable_streams::protocol::subscription::request::SubscriptionRequest;
use durable_streams::protocol::subscription::webhook_url::UrlRules;
use serde_json::{Value, json};

use crate::support::network::{Begun, Hook, Network, put_request};
use crate::support::objects::{Fate, Sent};

const S: &str = "__ds/subscriptions/s";

fn hook(streams: &[&str]) -> Value {
    json!({ "type": "webhook", "streams": streams, "webhook": { "url": "https://example.com/hook" } })
}

fn matching(pattern: &str) -> Value {
    json!({ "type": "webhook", "pattern": pattern, "webhook": { "url": "https://example.com/hook" } })
}

/// Makes the object of a stream fail from now on.
fn break_stream(network: &mut Network, path: &str) {
    network.member(path).sql.raw().execute("UPDATE stream SET schema_version = 99", []).unwrap();
    network.crash(path, false);
}

fn watches(network: &Network, path: &str) -> usize {
    network.calls.iter().filter(|sent| sent.to == path && matches!(sent.call, Call::Watch(_))).count()
}

/// Steps the first task whose next call is this one.
fn step_call(network: &mut Network, is_it: fn(&Sent) -> bool, fate: Fate) {
    loop {
        let found =
            (0..network.tasks.len()).find(|index| network.next_call(*index).is_some_and(|sent| is_it(&sent)));
        if let Some(index) = found {
            network.step(index, fate, None);
            return;
        }
        let next = (0..network.tasks.len()).find(|index| network.may_step(*index)).expect("a task");
        network.step(next, Fate::Arrives, None);
    }
}

#[test]
fn a_stream_that_never_answers_is_called_less_and_less() {
    let mut network = Network::new(1);
    network.create(&["a", "b"]);
    break_stream(&mut network, "b");
    network.put(S, &hook(&["a", "b"]));
    network.wait(86_400_000);
    let calls = watches(&network, "b");
    assert!((24..48).contains(&calls), "{calls} calls in a day");
    network.append("a");
    assert_eq!(network.delivered.len(), 1);
}

#[test]
fn a_claim_looks_at_streams_while_another_rests() {
    let mut network = Network::new(1);
    network.create(&["a", "b", "w"]);
    break_stream(&mut network, "b");
    network.put(S, &json!({ "type": "pull-wake", "streams": ["a", "b"], "wake_stream": "w" }));
    network.begin("POST /v1/stream/a | content-type: application/json << [1]");
    assert_eq!(network.claim(S).streams[0].path, "a");
}

#[test]
fn an_ended_subscription_calls_a_stream_that_never_answers_less_and_less() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    network.subscribe(S, &hook(&["a"]));
    break_stream(&mut network, "a");
    network.request(S, SubscriptionRequest::Delete);
    network.calls.clear();
    network.wait(86_400_000);
    assert!((24..48).contains(&network.calls.len()), "{} calls in a day", network.calls.len());
}

/// The registry has stored the pattern, but its answer was lost.
#[test]
fn a_deleted_subscription_leaves_no_pattern() {
    let mut network = Network::new(1);
    let _begun = network.begin_request(S, put_request(S, &matching("m/*")));
    step_call(&mut network, |sent| matches!(sent.call, Call::Enlist(_)), Fate::Unanswered);
    network.settle();
    network.request(S, SubscriptionRequest::Delete);
    network.wait(600_000);
    let rows: u64 = network
        .member("__registry__")
        .sql
        .raw()
        .query_row("SELECT COUNT(*) FROM patterns", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}

/// The reply to the PUT was sent before the stream refused.
#[test]
fn a_stream_that_is_full_after_the_reply_shows_an_error() {
    let mut network = Network::new(1);
    network.create(&["a", "full"]);
    let Begun::Waits(id) = network.begin_request(S, put_request(S, &hook(&["a", "full"]))) else { panic!() };
    step_call(&mut network, |sent| sent.to == "full", Fate::Lost);
    assert!(matches!(network.finish(id), SubscriptionAnswer::Created(_)));
    for number in 0..64 {
        network.subscribe(&format!("__ds/subscriptions/o{number}"), &hook(&["full"]));
    }
    network.wait(120_000);
    let shown = network.shown(S);
    assert_eq!((shown.phase.as_str(), shown.streams.len()), ("active", 1));
    assert!(shown.last_error.is_some_and(|error| error.message.contains("full has 64 subscriptions")));
    network.append("a");
    assert_eq!(network.delivered.len(), 1);
}

/// Rows of links in storage. Their streams need not exist.
fn insert_links(network: &mut Network, count: usize, kind: &str) {
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO subscription_links SELECT 'z/' || i, 0, replace(replace(link, '\"explicit\":false', \
         '\"explicit\":{}'), '\"removed\":true', '\"removed\":false') FROM n, (SELECT link FROM subscription_links \
         LIMIT 1)",
        kind == "explicit"
    );
    network.member(S).sql.raw().execute(&sql, []).unwrap();
    network.crash(S, false);
}

fn with_many_links(kind: &str) -> Network {
    let mut network = Network::new(1);
    let paths: Vec<String> = (0..70).map(|number| format!("m/{number:03}")).collect();
    network.create(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    network.subscribe(S, &matching("m/*"));
    network.wait(60_000);
    insert_links(&mut network, 10_000, kind);
    network
}

#[test]
fn links_by_a_pattern_do_not_count_as_explicit() {
    let add = || SubscriptionRequest::AddStreams(vec!["y".into()]);
    assert_eq!(with_many_links("glob").request(S, add()), SubscriptionAnswer::Done);
    let refused = SubscriptionAnswer::Refused(SubscriptionRefusal::TooManyStreams);
    assert_eq!(with_many_links("explicit").request(S, add()), refused);
}

#[test]
fn the_list_shows_few_links_and_their_number() {
    let mut network = with_many_links("glob");
    let of = |network: &mut Network, request| {
        let answer = network.request(S, request);
        let SubscriptionAnswer::Shown(shown) = answer else { panic!("{answer:?}") };
        *shown
    };
    let counts = |Shown { streams, has_more_streams, stream_count, .. }: Shown| {
        (streams.len(), has_more_streams, stream_count)
    };
    assert_eq!(counts(of(&mut network, SubscriptionRequest::Summarize)), (10, true, 10_070));
    assert_eq!(counts(of(&mut network, SubscriptionRequest::Get)), (1_000, true, 10_070));
    network.subscribe("__ds/subscriptions/few", &hook(&["a", "b"]));
    let few = network.shown("__ds/subscriptions/few");
    assert_eq!(counts(few), (2, false, 2));
}

#[test]
fn long_paths_are_refused_before_they_exceed_a_row() {
    let name = SubscriptionName::parse(S).unwrap();
    let parse = |count: usize| {
        let paths: Vec<String> = (0..count).map(|number| format!("{number:0>98}")).collect();
        let body = hook(&paths.iter().map(String::as_str).collect::<Vec<_>>()).to_string();
        SubscriptionConfig::parse(&name, body.as_bytes(), &UrlRules::default())
    };
    // Each path has two quotes in JSON.
    let most = STREAMS_MAX_BYTES / 100;
    assert!(parse(most).is_ok());
    assert_eq!(parse(most + 1), Err(SubscriptionRefusal::StreamsTooLong));
}

#[test]
fn requests_that_may_create_objects_count_as_creations() {
    let counted = [Action::Put, Action::AddStreams];
    assert!(counted.iter().all(Action::is_creation));
    let others = [Action::Get, Action::Delete, Action::Patch, Action::Claim, Action::Ack, Action::Resume];
    assert!(!others.iter().any(Action::is_creation));
}

/// The object dies after it has stored the wake. Its alarm delivers it within a lease.
#[test]
fn a_wake_is_delivered_within_a_lease_after_a_crash() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    let mut body = hook(&["a"]);
    body["lease_ttl_ms"] = json!(2_000);
    network.subscribe(S, &body);
    network.wait(120_000);
    network.is_slow = true;
    let appended_at = network.now;
    network.append("a");
    network.crash(S, false);
    network.is_slow = false;
    network.wait(120_000);
    assert_eq!(network.delivered.len(), 1);
    assert!(network.delivered[0].at <= appended_at + 2_000, "{}", network.delivered[0].at - appended_at);
}

/// The alarm is set for an append that must notify. If that fails, it is set again.
#[test]
fn an_alarm_that_failed_is_set_again() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    network.subscribe(S, &hook(&["a"]));
    network.wait(120_000);
    network.member("a").shell.refuses_alarms = true;
    network.begin("POST /v1/stream/a | content-type: application/json << [1]");
    assert_eq!(network.member("a").shell.alarm_at, None);
    network.member("a").shell.refuses_alarms = false;
    let next_turn =
        (0..network.tasks.len()).find(|index| network.next_call(*index).is_none()).expect("a turn");
    network.step(next_turn, Fate::Arrives, None);
    assert!(network.member("a").shell.alarm_at.is_some());
}

/// The registry gives no key for an hour. That is no failure of the webhook.
#[test]
fn a_delivery_that_is_not_sent_does_not_count_as_failed() {
    let mut network = Network::new(1);
    network.settings.webhooks_give_up_after = 60_000;
    network.create(&["a"]);
    network.subscribe(S, &hook(&["a"]));
    network.hook = Hook::Unsigned;
    network.append("a");
    network.wait(3_600_000);
    let shown = network.shown(S);
    assert_eq!((shown.phase.as_str(), shown.status.as_str()), ("active", "active"));
    assert_eq!(shown.last_error.map(|error| error.message).as_deref(), Some("no key"));
    network.delivered.clear();
    network.hook = Hook::Done;
    network.wait(60_000);
    assert_eq!(network.delivered.len(), 1);
}
