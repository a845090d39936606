//! What a registry knows of its subscriptions for `GET /metrics`.

use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::metrics::{RegistryCounts, SummaryCounts};
use durable_streams::protocol::registry::Record;
use durable_streams::protocol::subscription::request::SubscriptionRequest;
use durable_streams::protocol::subscription::summary::{SubscriptionSummary, WakeTotals};
use durable_streams::subscription::summarized::SUMMARY_MIN;
use serde_json::{Value, json};

use crate::support::network::{Begun, Hook, Network, wake_request};
use crate::support::objects::Sent;

const S: &str = "__ds/subscriptions/s";
const REGISTRY: &str = "__registry__";

fn hook() -> Value {
    json!({ "type": "webhook", "streams": ["a"], "webhook": { "url": "https://example.com/hook" } })
}

fn pull_wake() -> Value {
    json!({ "type": "pull-wake", "streams": ["a"], "wake_stream": "w" })
}

fn counts(network: &mut Network) -> RegistryCounts {
    let answered = network.answer(&Sent::new(REGISTRY, &Call::Count)).unwrap().answered;
    let Answered::Counted(counts) = answered else { panic!("{answered:?}") };
    counts
}

/// The summaries in short form: type, status, number of subscriptions, and their totals.
fn summaries(network: &mut Network) -> Vec<String> {
    let short = |SummaryCounts { kind, status, subscriptions, totals }: &SummaryCounts| {
        let WakeTotals { wakes, succeeded, failed, unsent } = totals;
        format!(
            "{kind} {status} {subscriptions}: {wakes} wakes, {succeeded} ok, {failed} failed, {unsent} unsent"
        )
    };
    counts(network).summaries.iter().map(short).collect()
}

/// How many summaries were sent with events, and how many without.
fn sent(network: &Network) -> (usize, usize) {
    let summary = |sent: &Sent| {
        let Call::Record(record) = &sent.call else { return None };
        record.summary.as_ref().map(|_| record.events.is_empty())
    };
    let without: Vec<bool> = network.calls.iter().filter_map(summary).collect();
    (without.iter().filter(|is| !**is).count(), without.iter().filter(|is| **is).count())
}

/// A network with a stream, a wake stream, and a subscription.
fn subscribed(body: &Value) -> Network {
    let mut network = Network::new(1);
    network.create(&["a", "w"]);
    network.subscribe(S, body);
    network
}

#[test]
fn registry_knows_the_status_and_the_totals() {
    let mut network = subscribed(&hook());
    assert_eq!(summaries(&mut network), ["webhook active 1: 0 wakes, 0 ok, 0 failed, 0 unsent"]);
    network.append("a");
    assert_eq!(summaries(&mut network), ["webhook active 1: 1 wakes, 1 ok, 0 failed, 0 unsent"]);
    network.hook = Hook::Fails;
    network.append("a");
    assert_eq!(summaries(&mut network), ["webhook failed 1: 2 wakes, 1 ok, 1 failed, 0 unsent"]);
    network.hook = Hook::Gone;
    network.wait(60_000);
    assert_eq!(summaries(&mut network), ["webhook parked 1: 2 wakes, 1 ok, 2 failed, 0 unsent"]);
    network.hook = Hook::Done;
    network.request(S, SubscriptionRequest::Resume);
    network.wait(SUMMARY_MIN);
    network.append("a");
    assert_eq!(summaries(&mut network), ["webhook active 1: 4 wakes, 3 ok, 2 failed, 0 unsent"]);
}

#[test]
fn delivery_that_is_not_sent_has_a_result_of_its_own() {
    let mut network = subscribed(&hook());
    network.hook = Hook::Unsigned;
    network.append("a");
    network.wait(15_000);
    network.hook = Hook::Done;
    network.wait(15_000);
    assert_eq!(summaries(&mut network), ["webhook active 1: 1 wakes, 1 ok, 0 failed, 2 unsent"]);
}

#[test]
fn totals_do_not_fall_when_a_subscription_is_deleted_and_created_again() {
    let mut network = subscribed(&hook());
    network.append("a");
    network.request(S, SubscriptionRequest::Delete);
    assert_eq!(summaries(&mut network), ["webhook  1: 1 wakes, 1 ok, 0 failed, 0 unsent"]);
    assert_eq!(counts(&mut network).counted.unwrap().subscriptions, 0);
    network.subscribe(S, &pull_wake());
    network.append("a");
    let claimed = network.claim(S);
    network.request(S, SubscriptionRequest::Ack(wake_request(S, &claimed, true)));
    let of_webhooks = "webhook  1: 1 wakes, 1 ok, 0 failed, 0 unsent";
    let of_pull_wakes = "pull-wake active 1: 1 wakes, 1 ok, 0 failed, 0 unsent";
    assert_eq!(summaries(&mut network), [of_pull_wakes, of_webhooks]);
    network.request(S, SubscriptionRequest::Delete);
    network.subscribe(S, &hook());
    network.append("a");
    let of_pull_wakes = "pull-wake  1: 1 wakes, 1 ok, 0 failed, 0 unsent";
    assert_eq!(
        summaries(&mut network),
        [of_pull_wakes, "webhook active 1: 2 wakes, 2 ok, 0 failed, 0 unsent"]
    );
}

/// Late and repeated summaries, and one from before an object lost its memory.
#[test]
fn late_summary_changes_nothing() {
    let mut network = subscribed(&hook());
    let record = |network: &mut Network, number, status: &str, totals| {
        let summary = SubscriptionSummary { number, kind: "webhook".into(), status: status.into(), totals };
        let record = Record { path: S.to_owned(), events: Vec::new(), summary: Some(summary) };
        let answered = network.answer(&Sent::new(REGISTRY, &Call::Record(record))).unwrap().answered;
        assert_eq!(answered, Answered::Recorded);
        network.member(REGISTRY).sql.take_rows_written()
    };
    network.member(REGISTRY).sql.take_rows_written();
    let totals = WakeTotals { wakes: 4, succeeded: 3, failed: 2, unsent: 1 };
    let known = ["webhook failed 1: 4 wakes, 3 ok, 2 failed, 1 unsent"];
    assert_eq!(record(&mut network, 2, "failed", totals), 1);
    assert_eq!(summaries(&mut network), known);
    assert_eq!(record(&mut network, 2, "failed", totals), 0, "a repeated one writes no row");
    assert_eq!(record(&mut network, 1, "active", WakeTotals { failed: 1, ..totals }), 0);
    assert_eq!(record(&mut network, 1, "active", WakeTotals::default()), 0);
    assert_eq!(summaries(&mut network), known);
    assert_eq!(record(&mut network, 2, "failed", WakeTotals { wakes: 1, succeeded: 9, ..totals }), 1);
    assert_eq!(summaries(&mut network), ["webhook failed 1: 4 wakes, 9 ok, 2 failed, 1 unsent"]);
}

/// A subscription that has not sent a summary since its last event, for example because metrics were off.
#[test]
fn status_from_before_the_last_event_is_unknown() {
    let mut network = subscribed(&hook());
    network.settings.measures = false;
    network.crash(S, false);
    network.hook = Hook::Fails;
    network.append("a");
    assert_eq!(summaries(&mut network), ["webhook  1: 0 wakes, 0 ok, 0 failed, 0 unsent"]);
    assert_eq!(counts(&mut network).counted.unwrap().subscriptions, 1);
}

#[test]
fn subscription_sends_a_summary_at_most_once_in_five_minutes() {
    for body in [hook(), pull_wake()] {
        let mut network = subscribed(&body);
        assert_eq!(sent(&network), (1, 0), "with its creation");
        let begin = network.now;
        let wake = |network: &mut Network| {
            network.append("a");
            if body == pull_wake() {
                let claimed = network.claim(S);
                network.request(S, SubscriptionRequest::Ack(wake_request(S, &claimed, true)));
            }
        };
        for _ in 0..12 {
            wake(&mut network);
            // Each wake meets an object without memory.
            network.wait(SUMMARY_MIN / 5);
            network.crash(S, false);
        }
        assert_eq!(network.now, begin + 12 * SUMMARY_MIN / 5);
        assert_eq!(sent(&network), (1, 3), "{body}");
        assert_eq!(counts(&mut network).summaries[0].totals.wakes, 11);
        network.wait(24 * SUMMARY_MIN);
        assert_eq!(sent(&network), (1, 3), "none without a wake");
        network.shown(S);
        network.settle();
        assert_eq!(sent(&network), (1, 3), "none after a GET");
    }
}

#[test]
fn summary_is_sent_also_while_a_wake_is_in_flight() {
    let mut network = subscribed(&pull_wake());
    network.append("a");
    let claimed = network.claim(S);
    let mut sent_after = Vec::new();
    for _ in 0..60 {
        network.request(S, SubscriptionRequest::Ack(wake_request(S, &claimed, false)));
        sent_after.push(sent(&network).1);
        network.wait(20_000);
    }
    assert_eq!((sent_after[14], sent_after[16], sent_after[59]), (0, 1, 1), "{sent_after:?}");
    assert_eq!(summaries(&mut network), ["pull-wake active 1: 1 wakes, 1 ok, 0 failed, 0 unsent"]);
}

#[test]
fn ack_does_not_wait_for_a_summary() {
    let mut network = subscribed(&pull_wake());
    network.append("a");
    let claimed = network.claim(S);
    let begun = network.begin_request(S, SubscriptionRequest::Ack(wake_request(S, &claimed, true)));
    let Begun::Waits(id) = begun else { panic!("{begun:?}") };
    let is_summary = |sent: &Sent| matches!(sent.call, Call::Record(_));
    let mut is_answered = false;
    while !is_answered {
        let next = (0..network.tasks.len()).find(|at| {
            network.may_step(*at) && !network.next_call(*at).is_some_and(|sent| is_summary(&sent))
        });
        let ended = network.step(next.expect("a task"), crate::support::objects::Fate::Arrives, None);
        is_answered = ended.is_some_and(|(ended, _)| ended == id);
    }
    let is_under_way =
        (0..network.tasks.len()).any(|at| network.next_call(at).is_some_and(|sent| is_summary(&sent)));
    assert!(is_under_way, "the summary is sent");
}

#[test]
fn metrics_cost_nothing_while_they_are_off() {
    let mut written = Vec::new();
    for measures in [true, false] {
        let mut network = Network::new(1);
        network.settings.measures = measures;
        network.create(&["a", "w"]);
        network.subscribe(S, &hook());
        for _ in 0..3 {
            network.append("a");
            network.wait(2 * SUMMARY_MIN);
        }
        let rows = [S, "a", REGISTRY].map(|path| network.member(path).sql.take_rows_written());
        let summaries = sent(&network);
        written.push((rows, summaries, counts(&mut network).summaries.len()));
    }
    let [([on, a_on, registry_on], sent_on, _), ([off, a_off, registry_off], sent_off, known_off)] =
        written[..]
    else {
        panic!("{written:?}")
    };
    assert_eq!((on, a_on), (off, a_off), "the subscription and the stream write no more rows");
    assert_eq!(registry_on, registry_off + 4, "a row for each summary");
    assert_eq!((sent_on, sent_off, known_off), ((1, 3), (0, 0), 0));
}

#[test]
fn lag_of_the_registry_is_the_longest_delay_of_recent_events() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    assert_eq!(counts(&mut network).lag, Some(0));
    network
        .member(REGISTRY)
        .sql
        .raw()
        .execute_batch("UPDATE messages_0 SET written_at = written_at + 7000")
        .unwrap();
    network.create(&["b"]);
    assert_eq!(counts(&mut network).lag, Some(7_000));
    // The event of a deletion has only the time of the creation.
    network.wait(60_000);
    network.ask("DELETE /v1/stream/b");
    network.subscribe(S, &hook());
    assert_eq!(counts(&mut network).lag, Some(7_000));
    network.wait(2 * 3_600_000);
    assert_eq!(counts(&mut network).lag, None, "no event is recent");
}
