//! The contract of subscriptions (PROTOCOL.md 6 and 7), tested over a network of objects without faults.

use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::registry::Registries;
use durable_streams::protocol::subscription::answer::{Claimed, SubscriptionAnswer};
use durable_streams::protocol::subscription::config::Patch;
use durable_streams::protocol::subscription::refusal::SubscriptionRefusal;
use durable_streams::protocol::subscription::request::{SubscriptionRequest, WakeRequest};
use serde_json::{Value, json};

use crate::support::network::{BASE, Hook, Network, claimed_by, wake_request};
use crate::support::objects::GIVE_UP;

const S: &str = "__ds/subscriptions/s";
const ZERO: &str = "0000000000000000_0000000000000000";

fn hook(streams: &[&str]) -> Value {
    json!({ "type": "webhook", "streams": streams, "webhook": { "url": "https://example.com/hook" } })
}

fn matching(pattern: &str) -> Value {
    json!({ "type": "webhook", "pattern": pattern, "webhook": { "url": "https://example.com/hook" } })
}

fn pull(streams: &[&str]) -> Value {
    json!({ "type": "pull-wake", "streams": streams, "wake_stream": "w" })
}

/// The code of a refusal.
#[track_caller]
fn code(answer: SubscriptionAnswer) -> &'static str {
    let SubscriptionAnswer::Refused(refusal) = answer else { panic!("{answer:?}") };
    refusal.code()
}

fn links(network: &mut Network) -> Vec<String> {
    let shown = network.shown(S);
    let link = |link: &durable_streams::protocol::subscription::answer::ShownLink| {
        format!("{} {} {}", link.path, link.link_type, link.acked_offset)
    };
    shown.streams.iter().map(link).collect()
}

fn bodies(network: &mut Network) -> Vec<Value> {
    network.delivered.drain(..).map(|delivery| delivery.body).collect()
}

/// A network with the streams `a`, `b` and `w`.
fn network() -> Network {
    let mut network = Network::new(1);
    network.create(&["a", "b", "w"]);
    network
}

fn claimed(network: &mut Network, streams: &[&str]) -> Claimed {
    network.subscribe(S, &pull(streams));
    network.append(streams[0]);
    network.claim(S)
}

#[test]
fn put_creates_confirms_and_conflicts() {
    let mut network = network();
    let shown = network.subscribe(S, &hook(&["a"]));
    assert_eq!((shown.id.as_str(), shown.kind.as_str(), shown.status.as_str()), ("s", "webhook", "active"));
    assert_eq!((shown.phase.as_str(), shown.lease_ttl_ms), ("active", 30_000));
    assert!(!serde_json::to_string(&shown).unwrap().contains("secret"));
    let again = network.put(S, &hook(&["/a/", "a"]));
    assert!(matches!(again, SubscriptionAnswer::Confirmed(_)), "{again:?}");
    assert_eq!(code(network.put(S, &hook(&["b"]))), "SUBSCRIPTION_ALREADY_EXISTS");
    // Streams added later are not part of the configuration.
    let added = network.request(S, SubscriptionRequest::AddStreams(vec!["b".into()]));
    assert_eq!(added, SubscriptionAnswer::Done);
    assert!(matches!(network.put(S, &hook(&["a"])), SubscriptionAnswer::Confirmed(_)));
    assert_eq!(links(&mut network).len(), 2);
}

#[test]
fn requests_to_no_subscription_are_not_found() {
    let mut network = network();
    let request = WakeRequest {
        token: String::new(),
        wake_id: "w".into(),
        generation: 1,
        acks: Vec::new(),
        done: true,
    };
    for end in [false, true] {
        for absent in [
            SubscriptionRequest::Get,
            SubscriptionRequest::AddStreams(vec!["a".into()]),
            SubscriptionRequest::RemoveStream("a".into()),
            SubscriptionRequest::Claim { holder: "w".into() },
            SubscriptionRequest::Patch(Patch::default()),
            SubscriptionRequest::Resume,
        ] {
            assert_eq!(code(network.request(S, absent)), "SUBSCRIPTION_NOT_FOUND", "ended: {end}");
        }
        // The answer does not tell which subscriptions exist.
        for of_holder in [
            SubscriptionRequest::Callback(request.clone()),
            SubscriptionRequest::Ack(request.clone()),
            SubscriptionRequest::Release(request.clone()),
        ] {
            assert_eq!(code(network.request(S, of_holder)), "TOKEN_INVALID", "ended: {end}");
        }
        assert_eq!(network.request(S, SubscriptionRequest::Delete), SubscriptionAnswer::Done);
        if !end {
            network.subscribe(S, &pull(&["a"]));
            assert_eq!(network.request(S, SubscriptionRequest::Delete), SubscriptionAnswer::Done);
        }
    }
}

#[test]
fn existing_streams_are_linked_at_their_tails() {
    let mut network = network();
    let tail = network.append("a");
    let shown = network.subscribe(S, &matching("*"));
    let acked: Vec<(&str, &str)> =
        shown.streams.iter().map(|link| (link.path.as_str(), link.acked_offset.as_str())).collect();
    assert_eq!(acked, [("a", tail.as_str()), ("b", ZERO), ("w", ZERO)]);
    network.wait(10_000);
    assert!(network.delivered.is_empty(), "history is not news");
    let next = network.append("a");
    let delivered = bodies(&mut network);
    assert_eq!(delivered.len(), 1);
    let expected = json!([{
        "path": "a", "link_type": "glob", "acked_offset": tail, "tail_offset": next, "has_pending": true,
    }]);
    assert_eq!(delivered[0]["streams"], expected);
    assert_eq!(delivered[0]["callback_url"], format!("{BASE}/subscriptions/s/callback"));
    assert_eq!((&delivered[0]["subscription_id"], &delivered[0]["generation"]), (&json!("s"), &json!(1)));
    assert!(links(&mut network).contains(&format!("a glob {next}")), "done acks the snapshot");
}

#[test]
fn the_first_append_of_a_new_stream_is_pending() {
    let mut network = network();
    network.subscribe(S, &matching("e/**"));
    network.create(&["e/x", "f/x"]);
    network.wait(1_000);
    assert!(network.delivered.is_empty());
    let tail = network.append("e/x");
    network.append("f/x");
    let delivered = bodies(&mut network);
    assert_eq!(delivered.len(), 1);
    let woken = &delivered[0]["streams"][0];
    assert_eq!((&woken["path"], &woken["acked_offset"]), (&json!("e/x"), &json!(ZERO)));
    assert_eq!(links(&mut network), [format!("e/x glob {tail}")]);
    let created = network.ask("PUT /v1/stream/e/y | content-type: application/json << [1]");
    assert_eq!(created.status, 201);
    assert_eq!(bodies(&mut network)[0]["streams"][0]["path"], "e/y", "created with a message");
}

#[test]
fn an_explicit_link_precedes_its_stream() {
    let mut network = network();
    network.subscribe(S, &hook(&["later"]));
    network.wait(1_000);
    assert!(network.delivered.is_empty());
    assert_eq!(links(&mut network), [format!("later explicit {ZERO}")]);
    network.create(&["later"]);
    assert!(network.delivered.is_empty(), "an empty stream is no news");
    network.append("later");
    assert_eq!(bodies(&mut network)[0]["streams"][0]["path"], "later");
}

#[test]
fn explicit_links_take_precedence_and_leave_the_glob_link() {
    let mut network = network();
    network.subscribe(S, &matching("*"));
    let add = SubscriptionRequest::AddStreams(vec!["a".into()]);
    for _ in 0..2 {
        assert_eq!(network.request(S, add.clone()), SubscriptionAnswer::Done);
        assert_eq!(links(&mut network)[0], format!("a explicit {ZERO}"));
    }
    for _ in 0..2 {
        let removed = network.request(S, SubscriptionRequest::RemoveStream("a".into()));
        assert_eq!(removed, SubscriptionAnswer::Done);
        assert_eq!(links(&mut network)[0], format!("a glob {ZERO}"));
    }
    network.append("a");
    assert_eq!(network.delivered.len(), 1);
}

/// The stream was linked explicitly before it existed, so the pattern never had to find it.
#[test]
fn a_stream_that_was_linked_before_it_existed_stays_linked_by_the_pattern() {
    let mut network = network();
    let mut body = matching("e/*");
    body["streams"] = json!(["e/x"]);
    network.subscribe(S, &body);
    network.create(&["e/x"]);
    network.request(S, SubscriptionRequest::RemoveStream("e/x".into()));
    assert_eq!(links(&mut network), [format!("e/x glob {ZERO}")]);
    network.append("e/x");
    assert_eq!(network.delivered.len(), 1);
}

#[test]
fn a_removed_link_wakes_no_longer() {
    let mut network = network();
    network.subscribe(S, &hook(&["a", "b"]));
    network.request(S, SubscriptionRequest::RemoveStream("a".into()));
    network.append("a");
    network.wait(120_000);
    assert!(network.delivered.is_empty());
    assert_eq!(links(&mut network), [format!("b explicit {ZERO}")]);
    assert!(
        !network.member("a").sql.tables().contains(&"watchers".to_owned()),
        "the stream has forgotten it"
    );
    let tail = network.append("a");
    network.request(S, SubscriptionRequest::AddStreams(vec!["a".into()]));
    assert_eq!(links(&mut network)[0], format!("a explicit {tail}"), "it begins at the tail");
}

#[test]
fn done_in_the_answer_acks_the_snapshot_only() {
    let mut network = network();
    network.subscribe(S, &hook(&["a"]));
    network.is_slow = true;
    let first = network.append("a");
    let second = network.append("a");
    network.is_slow = false;
    network.settle();
    let delivered = bodies(&mut network);
    let offsets: Vec<(&Value, &Value)> = delivered
        .iter()
        .map(|body| (&body["streams"][0]["acked_offset"], &body["streams"][0]["tail_offset"]))
        .collect();
    assert_eq!(offsets, [(&json!(ZERO), &json!(first)), (&json!(first), &json!(second))]);
    assert_ne!(delivered[0]["wake_id"], delivered[1]["wake_id"]);
    assert_eq!((&delivered[0]["generation"], &delivered[1]["generation"]), (&json!(1), &json!(2)));
}

#[test]
fn a_callback_acks_and_ends_the_wake() {
    let mut network = network();
    network.hook = Hook::Accepts;
    network.subscribe(S, &hook(&["a"]));
    let tail = network.append("a");
    let wake = claimed_by(&bodies(&mut network)[0]);
    let callback = SubscriptionRequest::Callback(wake_request(S, &wake, false));
    assert_eq!(network.request(S, callback), SubscriptionAnswer::Acked { next_wake: false });
    assert_eq!(links(&mut network), [format!("a explicit {tail}")]);
    let done = SubscriptionRequest::Callback(wake_request(S, &wake, true));
    assert_eq!(network.request(S, done.clone()), SubscriptionAnswer::Acked { next_wake: false });
    assert_eq!(code(network.request(S, done)), "FENCED");
    network.wait(120_000);
    assert!(network.delivered.is_empty());
    let ack = SubscriptionRequest::Ack(wake_request(S, &wake, true));
    assert_eq!(code(network.request(S, ack)), "INVALID_REQUEST");
    assert_eq!(
        code(network.request(S, SubscriptionRequest::Claim { holder: "w".into() })),
        "INVALID_REQUEST"
    );
    let release = SubscriptionRequest::Release(wake_request(S, &wake, true));
    assert_eq!(code(network.request(S, release)), "INVALID_REQUEST");
}

#[test]
fn pull_wake_writes_an_event_and_workers_race() {
    let mut network = network();
    let wake = claimed(&mut network, &["a"]);
    let events = network.messages("w");
    assert_eq!(events.len(), 1);
    let expected = json!({
        "type": "wake", "subscription_id": "s", "stream": "a", "generation": 1, "ts": events[0]["ts"],
    });
    assert_eq!(events[0], expected);
    assert_eq!((wake.generation, wake.lease_ttl_ms), (1, 30_000));
    assert!(wake.streams[0].has_pending);
    let other = network.request(S, SubscriptionRequest::Claim { holder: "w2".into() });
    let refusal = SubscriptionRefusal::AlreadyClaimed { current_holder: "w1".into(), generation: 1 };
    assert_eq!(other, SubscriptionAnswer::Refused(refusal));
    let done = SubscriptionRequest::Ack(wake_request(S, &wake, true));
    assert_eq!(network.request(S, done.clone()), SubscriptionAnswer::Acked { next_wake: false });
    assert_eq!(code(network.request(S, done)), "FENCED");
    let none = network.request(S, SubscriptionRequest::Claim { holder: "w2".into() });
    assert_eq!(code(none), "NO_PENDING_WORK");
    let callback = SubscriptionRequest::Callback(wake_request(S, &wake, true));
    assert_eq!(code(network.request(S, callback)), "INVALID_REQUEST");
}

/// A notification one turn later would be too late, so the claim calls the streams itself.
#[test]
fn a_claim_right_after_an_append_finds_it() {
    let mut network = network();
    let wake = claimed(&mut network, &["a"]);
    network.request(S, SubscriptionRequest::Ack(wake_request(S, &wake, true)));
    let _status = network.begin("POST /v1/stream/a | content-type: application/json << [1]");
    let next = network.claim(S);
    assert_eq!(next.generation, 2);
    let release = SubscriptionRequest::Release(wake_request(S, &next, false));
    assert_eq!(network.request(S, release), SubscriptionAnswer::Done);
    network.wait(2_000);
    let generations: Vec<Value> =
        network.messages("w").into_iter().map(|event| event["generation"].clone()).collect();
    assert!(generations.contains(&json!(3)), "what was released is announced again: {generations:?}");
}

#[test]
fn acks_are_valid_between_cursor_and_tail() {
    let mut network = network();
    let wake = claimed(&mut network, &["a", "b"]);
    let tail = network.append("a");
    let ack = |network: &mut Network, path: &str, offset: Option<&str>| {
        let mut request = wake_request(S, &wake, false);
        request.acks.retain(|ack| ack.path == "a");
        path.clone_into(&mut request.acks[0].path);
        request.acks[0].offset = offset.and_then(Offset::parse);
        network.request(S, SubscriptionRequest::Ack(request))
    };
    let beyond = "0000000000000000_0000000000000099";
    for (path, offset) in [("a", Some(beyond)), ("a", None), ("c", Some(ZERO)), ("b", Some(tail.as_str()))] {
        assert_eq!(code(ack(&mut network, path, offset)), "INVALID_OFFSET", "{path} {offset:?}");
    }
    // The subscription does not know this tail yet, so it calls the stream.
    assert_eq!(ack(&mut network, "a", Some(&tail)), SubscriptionAnswer::Acked { next_wake: false });
    assert_eq!(ack(&mut network, "a", Some(&tail)), SubscriptionAnswer::Acked { next_wake: false });
    assert_eq!(code(ack(&mut network, "a", Some(ZERO))), "INVALID_OFFSET", "behind the cursor");
    assert_eq!(links(&mut network)[0], format!("a explicit {tail}"));
}

#[test]
fn requests_are_fenced_in_order() {
    let mut network = network();
    let wake = claimed(&mut network, &["a"]);
    let with = |change: &dyn Fn(&mut WakeRequest)| {
        let mut request = wake_request(S, &wake, true);
        change(&mut request);
        SubscriptionRequest::Ack(request)
    };
    assert_eq!(code(network.request(S, with(&|request| request.token.clear()))), "TOKEN_INVALID");
    assert_eq!(code(network.request(S, with(&|request| request.token.push('x')))), "TOKEN_INVALID");
    assert_eq!(code(network.request(S, with(&|request| request.generation = 2))), "FENCED");
    assert_eq!(code(network.request(S, with(&|request| request.wake_id.push('x')))), "FENCED");
    let both = with(&|request| {
        request.token.clear();
        request.generation = 2;
    });
    assert_eq!(code(network.request(S, both)), "TOKEN_INVALID");
    network.now += 24 * 3_600_000;
    assert_eq!(code(network.request(S, with(&|_| {}))), "TOKEN_EXPIRED");
    network.request(S, SubscriptionRequest::Delete);
    assert_eq!(code(network.request(S, with(&|request| request.token.clear()))), "TOKEN_INVALID");
    network.subscribe(S, &pull(&["a"]));
    network.append("a");
    let next = network.claim(S);
    assert!(next.generation > wake.generation, "generations go on over a deletion");
    network.now -= 24 * 3_600_000;
    assert_eq!(code(network.request(S, with(&|_| {}))), "FENCED");
}

#[test]
fn a_lease_ends_unless_it_is_extended() {
    let mut network = network();
    let wake = claimed(&mut network, &["a"]);
    let heartbeat = {
        let mut request = wake_request(S, &wake, false);
        request.acks.clear();
        SubscriptionRequest::Ack(request)
    };
    for _ in 0..3 {
        network.wait(29_000);
        assert_eq!(network.request(S, heartbeat.clone()), SubscriptionAnswer::Acked { next_wake: false });
    }
    network.wait(29_999);
    assert_eq!(network.messages("w").len(), 1);
    network.wait(1_001);
    assert_eq!(network.messages("w").len(), 2, "another wake event");
    assert_eq!(code(network.request(S, heartbeat)), "FENCED");
    assert_eq!(network.claim(S).generation, 2);
}

#[test]
fn an_event_that_nobody_claims_is_written_again() {
    let mut network = network();
    network.subscribe(S, &pull(&["a"]));
    network.append("a");
    let counts = [599_000, 2_000, 1_200_000, 2_400_000].map(|time| {
        network.wait(time);
        network.messages("w").len()
    });
    assert_eq!(counts, [1, 2, 3, 4]);
}

/// The subscription does not store that the event was written, and writes it again after a loss of memory.
#[test]
fn an_event_is_there_once_and_waits_as_long_after_memory_was_lost() {
    let mut network = network();
    network.subscribe(S, &pull(&["a"]));
    network.append("a");
    let counts = [1_000, 298_000, 300_000, 2_000, 1_198_000, 2_000].map(|time| {
        network.wait(time);
        network.crash(S, false);
        let _shown = network.shown(S);
        network.messages("w").len()
    });
    assert_eq!(counts, [1, 1, 1, 2, 2, 3]);
    assert_eq!(network.claim(S).generation, 3);
}

/// An object loses its memory between its alarms. An alarm that notifies again must not set the next one each time.
#[test]
fn alarms_end_after_a_wake_although_memory_was_lost() {
    let mut network = network();
    network.subscribe(S, &hook(&["a"]));
    network.append("a");
    network.wait(1_000);
    for _ in 0..5 {
        network.crash("a", false);
        network.crash(S, false);
        network.wait(61_000);
    }
    assert_eq!(network.next_alarm(), None);
}

#[test]
fn a_claim_needs_no_other_alarm() {
    let mut network = network();
    network.subscribe(S, &pull(&["a"]));
    network.wait(120_000);
    network.append("a");
    let alarm = network.next_alarm();
    assert_eq!(alarm.as_ref().map(|(_, path)| path.as_str()), Some(S));
    network.wait(1_000);
    network.claim(S);
    assert_eq!(network.next_alarm(), alarm);
    // The worker sends nothing, so the wake ends with its lease.
    network.wait(30_001);
    assert_eq!(network.messages("w").len(), 2);
}

#[test]
fn deliveries_are_retried_on_one_schedule() {
    let mut network = network();
    network.hook = Hook::Fails;
    let mut body = hook(&["a"]);
    // A lease that expires during the wait does not start an early delivery.
    body["lease_ttl_ms"] = json!(1_000);
    network.subscribe(S, &body);
    network.append("a");
    network.wait(600_000);
    let times: Vec<u64> = network.delivered.iter().map(|delivery| delivery.at).collect();
    let waits: Vec<u64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    for (wait, expected) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60, 60, 60]) {
        assert!((expected * 800..=expected * 1_200).contains(wait), "{waits:?}");
    }
    assert!((10..20).contains(&waits.len()), "{waits:?}");
    let shown = network.shown(S);
    assert_eq!((shown.status.as_str(), shown.pending), ("failed", vec!["a".to_owned()]));
    assert!(shown.last_error.is_some() && shown.next_attempt_at.is_some());
    network.hook = Hook::Done;
    network.wait(72_000);
    let shown = network.shown(S);
    assert_eq!((shown.status.as_str(), shown.pending.len()), ("active", 0));
}

#[test]
fn the_schedule_is_exact_after_memory_was_lost() {
    let times = [false, true].map(|crashes| {
        let mut network = network();
        network.hook = Hook::Fails;
        network.subscribe(S, &hook(&["a"]));
        network.append("a");
        for _ in 0..100 {
            if crashes {
                network.crash(S, false);
                // A request that changes nothing loads the object into memory again.
                let _shown = network.shown(S);
            }
            network.wait(3_000);
        }
        network
            .delivered
            .iter()
            .map(|delivery| (delivery.at, delivery.body["generation"].clone()))
            .collect::<Vec<_>>()
    });
    assert_eq!(times[0], times[1]);
    assert!(times[0].len() > 6);
}

#[test]
fn retry_after_and_silence_are_respected() {
    let mut network = network();
    network.hooks.extend([Hook::FailsFor(20_000), Hook::Silent, Hook::Done]);
    network.subscribe(S, &hook(&["a"]));
    network.append("a");
    network.wait(19_999);
    assert_eq!(network.delivered.len(), 1);
    network.wait(1);
    assert_eq!(network.delivered.len(), 2);
    network.wait(3_000);
    assert_eq!(network.delivered.len(), 3);
    assert_eq!(network.shown(S).status, "active");
}

#[test]
fn a_handler_that_never_calls_back_is_woken_ever_less_often() {
    let mut network = network();
    network.hook = Hook::Accepts;
    let mut body = hook(&["a"]);
    body["lease_ttl_ms"] = json!(1_000);
    network.subscribe(S, &body);
    network.append("a");
    network.wait(3_600_000);
    assert!((60..70).contains(&network.delivered.len()), "{}", network.delivered.len());
}

#[test]
fn a_dead_endpoint_is_parked_and_costs_nothing_until_it_is_resumed() {
    let mut network = network();
    network.hook = Hook::Fails;
    network.subscribe(S, &hook(&["a"]));
    network.append("a");
    network.wait(GIVE_UP + 120_000);
    assert_eq!(network.shown(S).phase, "parked");
    network.delivered.clear();
    network.wait(GIVE_UP);
    assert!(network.delivered.is_empty());
    assert_eq!(network.member(S).shell.alarm_at, None);
    let tail = network.append("a");
    network.wait(600_000);
    assert!(network.delivered.is_empty());
    network.hook = Hook::Done;
    let resumed = network.request(S, SubscriptionRequest::Resume);
    assert!(matches!(resumed, SubscriptionAnswer::Shown(_)));
    network.wait(1_000);
    let delivered = bodies(&mut network);
    assert_eq!(delivered.last().unwrap()["streams"][0]["tail_offset"], tail, "nothing was lost");
    network.hooks.push_back(Hook::Gone);
    network.append("a");
    assert_eq!(network.shown(S).phase, "parked", "410");
    let confirmed = network.put(S, &hook(&["a"]));
    assert!(matches!(confirmed, SubscriptionAnswer::Confirmed(_)));
    assert_eq!(network.shown(S).phase, "active");
    assert_eq!(network.shown(S).pending.len(), 0);
}

#[test]
fn resume_makes_the_next_attempt_due_now_while_deliveries_fail() {
    let mut network = network();
    network.hooks.extend([Hook::FailsFor(3_600_000), Hook::Fails]);
    let config = hook(&["a"]);
    network.subscribe(S, &config);
    network.append("a");
    network.wait(1_000);
    let failed = network.shown(S);
    assert_eq!((failed.status.as_str(), failed.phase.as_str(), failed.generation), ("failed", "active", 1));
    assert!(failed.next_attempt_at.is_some());
    // A PUT with the same configuration ends parking only.
    assert!(matches!(network.put(S, &config), SubscriptionAnswer::Confirmed(_)));
    network.wait(1_000);
    assert_eq!(network.delivered.len(), 1);
    // The failures go on counting: the second one waits for two seconds.
    network.request(S, SubscriptionRequest::Resume);
    network.wait(0);
    assert_eq!(network.delivered.len(), 2);
    network.wait(1_500);
    assert_eq!(network.delivered.len(), 2);
    network.request(S, SubscriptionRequest::Resume);
    network.wait(0);
    let delivered = bodies(&mut network);
    let wakes: Vec<_> = delivered.iter().map(|body| (&body["wake_id"], &body["generation"])).collect();
    assert!(wakes.len() == 3 && wakes.iter().all(|wake| *wake == wakes[0]), "{wakes:?}");
    let recovered = network.shown(S);
    assert_eq!((recovered.status.as_str(), recovered.next_attempt_at.as_deref()), ("active", None));
    // Without failures it changes nothing.
    network.request(S, SubscriptionRequest::Resume);
    network.wait(60_000);
    assert_eq!(network.delivered.len(), 0);
}

#[test]
fn patch_changes_delivery_and_keeps_cursors() {
    let mut network = network();
    network.subscribe(S, &hook(&["a"]));
    let tail = network.append("a");
    let patch = Patch {
        url: Some("https://example.org/".into()),
        lease_ttl_ms: Some(5_000),
        description: Some(Some("d".into())),
    };
    let SubscriptionAnswer::Shown(shown) = network.request(S, SubscriptionRequest::Patch(patch)) else {
        panic!("not shown")
    };
    assert_eq!((shown.lease_ttl_ms, shown.description.as_deref()), (5_000, Some("d")));
    assert_eq!(shown.streams[0].acked_offset, tail);
    network.append("a");
    assert_eq!(network.delivered[1].url, "https://example.org/");
    let pulls = "__ds/subscriptions/p";
    network.subscribe(pulls, &pull(&["a"]));
    let url = Patch { url: Some("https://example.org/".into()), ..Patch::default() };
    assert_eq!(code(network.request(pulls, SubscriptionRequest::Patch(url))), "INVALID_REQUEST");
}

#[test]
fn a_stream_that_is_created_again_is_pending_again() {
    let mut network = network();
    network.subscribe(S, &hook(&["a"]));
    let by_pattern = "__ds/subscriptions/p";
    network.subscribe(by_pattern, &matching("a"));
    network.append("a");
    network.delivered.clear();
    network.ask("DELETE /v1/stream/a");
    network.wait(120_000);
    assert!(network.delivered.is_empty(), "an end is no news");
    assert_eq!(network.shown(by_pattern).streams.len(), 0, "the link of a pattern ends with the stream");
    network.create(&["a"]);
    network.crash(S, false);
    network.wait(120_000);
    assert!(network.delivered.is_empty(), "an empty stream is no news");
    let tail = network.append("a");
    let delivered = bodies(&mut network);
    assert_eq!(delivered.len(), 2);
    for body in delivered {
        assert_eq!(body["streams"][0]["tail_offset"], tail);
    }
}

#[test]
fn a_closed_stream_is_news_once() {
    let mut network = network();
    network.subscribe(S, &hook(&["a"]));
    let tail = network.append("a");
    network.delivered.clear();
    network.ask("POST /v1/stream/a | stream-closed: true");
    let delivered = bodies(&mut network);
    let expected = json!([{
        "path": "a", "link_type": "explicit", "acked_offset": tail, "tail_offset": tail,
        "has_pending": true, "closed": true,
    }]);
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0]["streams"], expected);
    network.crash(S, false);
    network.wait(120_000);
    assert!(network.delivered.is_empty());
}

#[test]
fn a_subscription_never_links_its_own_wake_stream() {
    let mut network = network();
    let body = json!({ "type": "pull-wake", "pattern": "**", "wake_stream": "w" });
    network.subscribe(S, &body);
    assert_eq!(links(&mut network), [format!("a glob {ZERO}"), format!("b glob {ZERO}")]);
    network.append("a");
    network.wait(60_000);
    assert_eq!(network.messages("w").len(), 1);
    let add = SubscriptionRequest::AddStreams(vec!["b".into(), "w".into()]);
    assert_eq!(code(network.request(S, add)), "INVALID_REQUEST");
}

#[test]
fn a_wake_stream_that_is_missing_or_closed_is_retried() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    network.subscribe(S, &pull(&["a"]));
    network.append("a");
    network.wait(10_000);
    assert_eq!(network.shown(S).status, "failed");
    network.create(&["w"]);
    network.wait(60_000);
    assert_eq!(network.messages("w").len(), 1);
    assert_eq!(network.shown(S).status, "active");
}

#[test]
fn patterns_need_a_registry_and_explicit_streams_do_not() {
    let mut network = Network::new(1);
    network.settings.registries = Registries::Off;
    network.create(&["a"]);
    assert_eq!(network.put(S, &matching("*")), SubscriptionAnswer::Refused(SubscriptionRefusal::NoRegistry));
    network.subscribe(S, &hook(&["a"]));
    network.append("a");
    assert_eq!(network.delivered.len(), 1);
    assert!(!network.members.contains_key("__registry__"));
}

#[test]
fn a_stream_has_sixty_four_watchers() {
    let mut network = network();
    for number in 0..64 {
        network.subscribe(&format!("__ds/subscriptions/s{number}"), &hook(&["a"]));
    }
    let refused = network.put(S, &hook(&["a"]));
    assert_eq!(
        refused,
        SubscriptionAnswer::Refused(SubscriptionRefusal::TooManyWatchers { path: "a".into() })
    );
    assert_eq!(code(network.request(S, SubscriptionRequest::Get)), "SUBSCRIPTION_NOT_FOUND");
    network.append("a");
    assert_eq!(network.delivered.len(), 64);
    network.request("__ds/subscriptions/s7", SubscriptionRequest::Delete);
    network.subscribe(S, &hook(&["a"]));
}

#[test]
fn many_streams_are_linked_and_woken() {
    let mut network = Network::new(1);
    let paths: Vec<String> = (0..200).map(|number| format!("m/{number:03}")).collect();
    let named: Vec<&str> = paths.iter().map(String::as_str).collect();
    network.create(&named[..150]);
    for body in [matching("m/*"), hook(&named)] {
        let shown = network.subscribe(S, &body);
        assert!(shown.streams.len() >= 150, "{}", shown.streams.len());
        for path in &named[..150] {
            network.append(path);
        }
        network.wait(120_000);
        let shown = network.shown(S);
        assert_eq!(shown.pending.len(), 0);
        for link in shown.streams.iter().take(150) {
            assert_ne!(link.acked_offset, ZERO, "{}", link.path);
        }
        assert_eq!(network.request(S, SubscriptionRequest::Delete), SubscriptionAnswer::Done);
        network.wait(120_000);
        for path in &named {
            let is_watched = network.member(path).sql.tables().contains(&"watchers".to_owned());
            assert!(!is_watched, "{path} is watched by what is gone");
        }
    }
}

#[test]
fn the_registry_records_what_happens_to_a_subscription() {
    let mut network = network();
    network.subscribe(S, &hook(&["a"]));
    network.hooks.push_back(Hook::Fails);
    network.append("a");
    network.wait(10_000);
    network.hooks.push_back(Hook::Gone);
    network.append("a");
    network.request(S, SubscriptionRequest::Resume);
    network.wait(10_000);
    network.request(S, SubscriptionRequest::Delete);
    network.wait(60_000);
    let events: Vec<(String, u64)> = network
        .messages("__registry__")
        .into_iter()
        .filter(|event| event["type"] == "subscription")
        .map(|event| {
            let value = &event["value"];
            (value["event"].as_str().unwrap().to_owned(), value["at"].as_u64().unwrap())
        })
        .collect();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["created", "failed", "recovered", "failed", "parked", "resumed", "deleted", "deleted"];
    assert_eq!(names, expected);
    assert!(events.windows(2).all(|two| two[0].1 <= two[1].1), "{events:?}");
    assert!(events[2].1 > events[1].1, "it recovers after it has failed: {events:?}");
}
