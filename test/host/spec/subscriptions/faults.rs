//! Subscriptions under faults: calls are lost, late or repeated, and objects crash. Also the cost of all this.

use durable_streams::object::said::SETTLES_MAX;
use durable_streams::protocol::call::Call;
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::subscription::answer::SubscriptionAnswer;
use durable_streams::protocol::subscription::request::{SubscriptionRequest, WakeRequest};
use serde_json::{Value, json};

use crate::support::network::{Begun, Hook, Network, claimed_by, put_request, wake_request};
use crate::support::objects::Fate;
use crate::support::sql::Fault;

const S: &str = "__ds/subscriptions/s";
const APPEND: &str = "POST /v1/stream/a | content-type: application/json << [1]";

fn hook(streams: &[&str]) -> Value {
    json!({ "type": "webhook", "streams": streams, "webhook": { "url": "https://example.com/hook" } })
}

fn subscribed() -> Network {
    let mut network = Network::new(1);
    network.create(&["a", "b"]);
    network.subscribe(S, &hook(&["a"]));
    network.calls.clear();
    network
}

/// Steps the first task whose next call is of this kind.
#[track_caller]
fn step_call(network: &mut Network, is_it: fn(&Call) -> bool, fate: Fate) {
    for _ in 0..100 {
        let found = (0..network.tasks.len())
            .find(|index| network.next_call(*index).is_some_and(|sent| is_it(&sent.call)));
        if let Some(index) = found {
            network.step(index, fate, None);
            return;
        }
        let next = (0..network.tasks.len()).find(|index| network.may_step(*index)).expect("a task");
        network.step(next, Fate::Arrives, None);
    }
    panic!("no such call is made");
}

#[test]
fn a_crash_at_any_step_loses_no_wake() {
    for crashed in ["a", S] {
        for arrives in [false, true] {
            for steps in 0..24 {
                let mut network = subscribed();
                network.begin(APPEND);
                let mut is_over = false;
                for _ in 0..steps {
                    match (0..network.tasks.len()).find(|index| network.may_step(*index)) {
                        Some(index) => drop(network.step(index, Fate::Arrives, None)),
                        None => is_over = true,
                    }
                }
                network.crash(crashed, arrives);
                network.wait(130_000);
                let shown = network.shown(S);
                assert!(!network.delivered.is_empty(), "{crashed} {steps}");
                assert_eq!(shown.pending.len(), 0, "{crashed} {steps}");
                assert_eq!(shown.streams[0].acked_offset, "0000000000000000_0000000000000001");
                network.append("a");
                network.wait(130_000);
                assert_eq!(
                    network.shown(S).streams[0].acked_offset,
                    "0000000000000000_0000000000000002",
                    "the next message after {crashed} {steps}"
                );
                assert!(!is_over || steps > 3);
            }
        }
    }
}

/// The reply is sent after ten seconds, while the call that links the stream at its tail is still on its way.
#[test]
fn a_link_whose_call_is_late_skips_no_message() {
    for adds in [false, true] {
        let mut network = Network::new(1);
        network.create(&["a", "b"]);
        if adds {
            network.subscribe(S, &hook(&["b"]));
            network.wait(120_000);
        }
        let add = SubscriptionRequest::AddStreams(vec!["a".into()]);
        let request = if adds { add } else { put_request(S, &hook(&["a"])) };
        let Begun::Waits(request) = network.begin_request(S, request) else { panic!("it settles first") };
        let is_watch = |network: &Network, index: usize| {
            network.next_call(index).is_some_and(|sent| sent.to == "a" && matches!(sent.call, Call::Watch(_)))
        };
        while !(0..network.tasks.len()).any(|index| is_watch(&network, index)) {
            let next = (0..network.tasks.len()).find(|index| network.may_step(*index)).expect("a task");
            network.step(next, Fate::Arrives, None);
        }
        network.now += SETTLES_MAX;
        let index = network.tasks.iter().position(|task| task.id == request).expect("it waits");
        network.step(index, Fate::Arrives, None).expect("it is answered");
        network.append("a");
        assert_eq!(network.delivered.len(), 1, "added: {adds}");
    }
}

/// An ack beyond the known tail makes the subscription call the stream. An answer that was on its way is too old for that.
#[test]
fn an_answer_from_before_an_ack_settles_nothing() {
    let mut network = subscribed();
    network.hooks.push_back(Hook::Accepts);
    network.append("a");
    let claimed = claimed_by(&network.delivered[0].body);
    let ack = |position| {
        let mut request = wake_request(S, &claimed, false);
        request.acks[0].offset = Some(Offset { segment: 0, position });
        SubscriptionRequest::Callback(request)
    };
    network.begin_request(S, ack(1));
    step_call(&mut network, |call| matches!(call, Call::Watch(_)), Fate::Arrives);
    for _ in 0..2 {
        network.begin(APPEND);
        while let Some(index) = network.tasks.iter().position(|task| task.path == "a") {
            network.step(index, Fate::Arrives, None);
        }
    }
    let Begun::Waits(waiting) = network.begin_request(S, ack(3)) else { panic!("it calls the stream first") };
    assert_eq!(network.finish(waiting), SubscriptionAnswer::Acked { next_wake: false });
    assert_eq!(network.shown(S).streams[0].acked_offset, "0000000000000000_0000000000000003");
}

/// A worker acknowledges only what it had before, and ends the wake.
#[test]
fn an_ack_of_the_cursor_is_no_progress() {
    let mut network = subscribed();
    network.hooks.extend([Hook::Accepts, Hook::Accepts]);
    network.append("a");
    for wakes in [1, 2] {
        assert_eq!(network.delivered.len(), wakes);
        let claimed = claimed_by(&network.delivered[wakes - 1].body);
        let mut request = wake_request(S, &claimed, false);
        request.acks[0].offset = Some(Offset { segment: 0, position: 0 });
        network.calls.clear();
        let answer = network.request(S, SubscriptionRequest::Callback(request.clone()));
        assert_eq!((answer, &network.calls[..]), (SubscriptionAnswer::Acked { next_wake: false }, &[][..]));
        network.request(S, SubscriptionRequest::Callback(WakeRequest { done: true, ..request }));
    }
    assert_eq!(network.delivered.len(), 2, "the next wake waits");
    network.wait(1_000);
    assert_eq!(network.delivered.len(), 3);
}

/// The registry learns of the pattern after the stream was created, and lists a link that exists already.
#[test]
fn a_pattern_keeps_its_link_to_a_stream_that_never_was() {
    let mut network = Network::new(1);
    let mut body = hook(&["e/a"]);
    body["pattern"] = json!("e/*");
    let _begun = network.begin_request(S, put_request(S, &body));
    step_call(&mut network, |call| matches!(call, Call::Enlist(_)), Fate::Lost);
    network.settle();
    network.request(S, SubscriptionRequest::RemoveStream("e/a".into()));
    network.wait(0);
    network.create(&["e/a"]);
    let tail = network.append("e/a");
    network.wait(130_000);
    assert_eq!((network.shown(S).streams[0].acked_offset.clone(), network.delivered.len()), (tail, 1));
}

/// The stream still has the watcher of a link that was removed, when the link is added again.
#[test]
fn a_link_that_is_added_again_repeats_nothing_old() {
    let step_all_of = |network: &mut Network, path: &str| {
        let next = |network: &Network| {
            let may_step = |index: &usize| network.tasks[*index].path == path && network.may_step(*index);
            (0..network.tasks.len()).find(may_step)
        };
        while let Some(index) = next(network) {
            network.step(index, Fate::Arrives, None);
        }
    };
    for order in [[S, "a"], ["a", S]] {
        let mut network = subscribed();
        network.append("a");
        network.wait(600_000);
        network.begin_request(S, SubscriptionRequest::RemoveStream("a".into()));
        step_all_of(&mut network, S);
        network.begin_request(S, SubscriptionRequest::AddStreams(vec!["a".into()]));
        for path in order {
            step_all_of(&mut network, path);
        }
        network.wait(0);
        assert_eq!(network.delivered.len(), 1, "an old message, {order:?}");
        network.append("a");
        assert_eq!(network.delivered.len(), 2, "the next message, {order:?}");
    }
}

#[test]
fn calls_of_every_fate_lose_no_wake() {
    for fate in [Fate::Lost, Fate::Late, Fate::Unanswered, Fate::Twice] {
        for is_it in [(|call: &Call| matches!(call, Call::Notify(_))) as fn(&Call) -> bool, |call: &Call| {
            matches!(call, Call::Watch(_))
        }] {
            let mut network = subscribed();
            network.begin(APPEND);
            step_call(&mut network, is_it, fate);
            network.wait(200_000);
            assert_eq!(
                network.shown(S).streams[0].acked_offset,
                "0000000000000000_0000000000000001",
                "{fate:?}"
            );
            while !network.late.is_empty() {
                network.deliver(0);
                network.settle();
            }
            network.append("a");
            network.wait(1_000);
            let acked = network.shown(S).streams[0].acked_offset.clone();
            assert_eq!(
                acked, "0000000000000000_0000000000000002",
                "{fate:?}: a late call may not hide the next message"
            );
        }
    }
}

/// The answer to a notification arrives after the subscription has processed everything and sent its new cursor.
#[test]
fn a_late_answer_does_not_hide_the_next_message() {
    let mut network = subscribed();
    network.begin(APPEND);
    step_call(&mut network, |call| matches!(call, Call::Notify(_)), Fate::Arrives);
    // Takes every step but the answer: the wake, its delivery, and the new cursor.
    for _ in 0..100 {
        let next = (0..network.tasks.len()).find(|index| network.tasks[*index].path == S);
        let Some(next) = next else { break };
        network.step(next, Fate::Arrives, None);
    }
    network.settle();
    network.append("a");
    assert_eq!(network.shown(S).streams[0].acked_offset, "0000000000000000_0000000000000002");
}

/// The stream is linked again before the call to stop notifications arrives.
#[test]
fn a_late_unwatch_does_not_end_the_next_link() {
    let mut network = subscribed();
    let _begun = network.begin_request(S, SubscriptionRequest::RemoveStream("a".into()));
    step_call(&mut network, |call| matches!(call, Call::Unwatch(_)), Fate::Late);
    network.wait(1_000);
    network.request(S, SubscriptionRequest::AddStreams(vec!["a".into()]));
    network.wait(120_000);
    network.deliver(0);
    network.settle();
    network.append("a");
    network.wait(120_000);
    assert_eq!(network.delivered.len(), 1);
}

/// An ended subscription removes its pattern. The answer arrives after the next subscription exists.
#[test]
fn a_late_answer_to_an_earlier_subscription_does_not_count() {
    let mut network = Network::new(1);
    let body = json!({ "type": "webhook", "pattern": "e/*", "webhook": { "url": "https://example.com/" } });
    network.subscribe(S, &body);
    let _begun = network.begin_request(S, SubscriptionRequest::Delete);
    step_call(&mut network, |call| matches!(call, Call::Enlist(_)), Fate::Arrives);
    network.subscribe(S, &body);
    network.create(&["e/a"]);
    network.append("e/a");
    assert_eq!(network.delivered.len(), 1);
}

/// The call that adds the pattern arrives after the one that removed it. The first message of a stream that the pattern
/// then finds reveals it.
#[test]
fn a_pattern_that_arrives_after_its_removal_is_removed_again() {
    let body = json!({ "type": "webhook", "pattern": "e/*", "webhook": { "url": "https://example.com/" } });
    for next in [None, Some(hook(&["a"])), Some(body.clone())] {
        let mut network = Network::new(1);
        let _begun = network.begin_request(S, put_request(S, &body));
        step_call(&mut network, |call| matches!(call, Call::Enlist(_)), Fate::Late);
        network.settle();
        network.request(S, SubscriptionRequest::Delete);
        network.wait(120_000);
        if let Some(next) = &next {
            network.subscribe(S, next);
        }
        network.deliver(0);
        network.settle();
        network.now += 60_000;
        network.create(&["e/a"]);
        network.append("e/a");
        network.wait(120_000);
        network.calls.clear();
        network.create(&["e/b"]);
        network.append("e/b");
        network.wait(120_000);
        let notices = network.calls.iter().filter(|sent| matches!(sent.call, Call::Notify(_))).count();
        let is_wanted = next.as_ref() == Some(&body);
        assert_eq!(notices, usize::from(is_wanted), "{next:?}: {:?}", network.calls);
        assert_eq!(network.delivered.len(), if is_wanted { 2 } else { 0 }, "{next:?}");
    }
}

/// The streams of the deleted subscription have not answered for an hour, so they rest for another.
#[test]
fn a_subscription_rests_for_at_most_a_minute_after_the_one_before_it() {
    let mut network = subscribed();
    let _begun = network.begin_request(S, SubscriptionRequest::Delete);
    network.now += 3_600_000;
    step_call(&mut network, |call| matches!(call, Call::Unwatch(_)), Fate::Lost);
    network.settle();
    network.calls.clear();
    network.subscribe(S, &hook(&["a"]));
    network.wait(59_000);
    assert!(network.calls.iter().all(|sent| sent.to != "a"), "a PUT does not end the rest");
    network.wait(1_000);
    assert_eq!(network.shown(S).phase, "active");
}

/// The deletion was stored, but its answer is that it failed. The link rests for an hour.
#[test]
fn a_link_does_not_rest_after_its_subscription_was_deleted() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    let _begun = network.begin_request(S, put_request(S, &hook(&["a"])));
    for _ in 0..2 {
        step_call(&mut network, |call| matches!(call, Call::Watch(_)), Fate::Lost);
        network.settle();
        network.now += 3_600_000;
        network.ring(S);
    }
    step_call(&mut network, |call| matches!(call, Call::Watch(_)), Fate::Lost);
    network.settle();
    network.member(S).sql.arm(Fault::CommitButStored);
    assert!(matches!(network.begin_request(S, SubscriptionRequest::Delete), Begun::Failed));
    network.subscribe(S, &hook(&["a"]));
    network.wait(60_000);
    assert_eq!(network.shown(S).phase, "active");
}

/// The answer to a call that links a stream says nothing about the end of the link.
#[test]
fn a_deletion_while_a_stream_is_called_is_no_failure() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    let _begun = network.begin_request(S, put_request(S, &hook(&["a"])));
    step_call(&mut network, |call| matches!(call, Call::Watch(_)), Fate::Arrives);
    let _begun = network.begin_request(S, SubscriptionRequest::Delete);
    network.wait(120_000);
    let of_stream: Vec<&Call> =
        network.calls.iter().filter(|sent| sent.to == "a").map(|sent| &sent.call).collect();
    assert!(matches!(of_stream[..], [Call::Watch(_), Call::Unwatch(_)]), "{of_stream:?}");
}

/// No request follows, so only the alarm can report the creation.
#[test]
fn a_stream_that_crashes_right_after_its_creation_wakes_its_subscription() {
    for requests in [
        &["PUT /v1/stream/e/a | content-type: application/json << [1]"][..],
        &["PUT /v1/stream/e/a | content-type: application/json", "POST /v1/stream/e/a | stream-closed: true"],
    ] {
        let mut network = Network::new(1);
        let body =
            json!({ "type": "webhook", "pattern": "e/*", "webhook": { "url": "https://example.com/" } });
        network.subscribe(S, &body);
        for request in requests {
            network.begin(request);
        }
        network.crash("e/a", false);
        network.wait(120_000);
        assert_eq!(network.delivered.len(), 1, "{requests:?}");
    }
}

/// The call that links a stream arrives a second time, after the stream was closed.
#[test]
fn a_repeated_link_does_not_hide_a_closure() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    network.wait(600_000);
    let _begun = network.begin_request(S, put_request(S, &hook(&["a"])));
    step_call(&mut network, |call| matches!(call, Call::Watch(_)), Fate::Twice);
    network.begin("POST /v1/stream/a | stream-closed: true");
    network.deliver(0);
    network.wait(120_000);
    assert_eq!(network.delivered.len(), 1);
}

/// A link is removed and added again while the first call to its stream is under way. The stream has dropped it meanwhile.
#[test]
fn an_answer_from_before_a_link_was_added_again_settles_nothing() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    let _begun = network.begin_request(S, put_request(S, &hook(&["a"])));
    step_call(&mut network, |call| matches!(call, Call::Watch(_)), Fate::Arrives);
    network.begin_request(S, SubscriptionRequest::RemoveStream("a".into()));
    network.begin(APPEND);
    while let Some(index) = network.tasks.iter().position(|task| task.path == "a") {
        network.step(index, Fate::Arrives, None);
    }
    network.begin_request(S, SubscriptionRequest::AddStreams(vec!["a".into()]));
    network.settle();
    network.wait(120_000);
    network.delivered.clear();
    network.append("a");
    assert_eq!(network.delivered.len(), 1);
}

/// The answer about the first cursor arrives after a worker has moved the cursor.
#[test]
fn a_late_answer_about_an_older_cursor_settles_nothing() {
    let mut network = Network::new(1);
    network.create(&["w"]);
    let body = json!({ "type": "pull-wake", "streams": ["a"], "wake_stream": "w" });
    let _begun = network.begin_request(S, put_request(S, &body));
    step_call(&mut network, |call| matches!(call, Call::Watch(_)), Fate::Arrives);
    network.begin("PUT /v1/stream/a | content-type: application/json << [1]");
    step_call(&mut network, |call| matches!(call, Call::Notify(_)), Fate::Arrives);
    let claim = SubscriptionRequest::Claim { holder: "w1".into() };
    let Begun::Answered(SubscriptionAnswer::Claimed(claimed)) = network.begin_request(S, claim) else {
        panic!("it is pending")
    };
    let done = SubscriptionRequest::Ack(wake_request(S, &claimed, true));
    let _begun = network.begin_request(S, done);
    network.settle();
    network.append("a");
    network.wait(1_000);
    assert_eq!(network.shown(S).pending, ["a"]);
}

/// The registry's answer names the watchers of a new stream, and arrives after the stream has lost its memory.
#[test]
fn an_answer_of_the_registry_counts_after_memory_was_lost() {
    let mut network = Network::new(1);
    let body = json!({ "type": "webhook", "pattern": "e/*", "webhook": { "url": "https://example.com/" } });
    network.subscribe(S, &body);
    network.begin("PUT /v1/stream/e/a | content-type: application/json");
    step_call(&mut network, |call| matches!(call, Call::Record(_)), Fate::Arrives);
    network.member("e/a").sql.arm(Fault::Statement(0));
    let failed = network.begin("POST /v1/stream/e/a | content-type: application/json << [1]");
    assert_eq!(failed.status, 500);
    network.wait(120_000);
    network.append("e/a");
    network.wait(120_000);
    assert!(!network.delivered.is_empty());
}

/// The stream's end is reported late, after the next stream at its URL was linked and processed.
#[test]
fn a_late_end_does_not_remove_the_link_of_the_next_stream() {
    let mut network = Network::new(1);
    network.create(&["e/a"]);
    let body = json!({ "type": "webhook", "pattern": "e/*", "webhook": { "url": "https://example.com/" } });
    network.subscribe(S, &body);
    network.append("e/a");
    network.begin("DELETE /v1/stream/e/a");
    let is_end = |call: &Call| matches!(call, Call::Notify(notify) if notify.has_ended);
    step_call(&mut network, is_end, Fate::Late);
    network.create(&["e/a"]);
    let processed = network.append("e/a");
    network.wait(120_000);
    network.deliver(0);
    network.settle();
    network.delivered.clear();
    network.append("e/a");
    network.wait(120_000);
    assert_eq!(network.delivered[0].body["streams"][0]["acked_offset"], processed);
}

/// The stream's end is reported late, while the wake of its messages is in flight.
#[test]
fn a_late_end_does_not_hide_the_next_stream() {
    for is_told_of_the_next in [false, true] {
        let mut network = Network::new(1);
        network.create(&["e/a"]);
        let body =
            json!({ "type": "webhook", "pattern": "e/*", "webhook": { "url": "https://example.com/" } });
        network.subscribe(S, &body);
        network.is_slow = true;
        network.append("e/a");
        network.begin("DELETE /v1/stream/e/a");
        let is_end = |call: &Call| matches!(call, Call::Notify(notify) if notify.has_ended);
        step_call(&mut network, is_end, Fate::Late);
        network.create(&["e/a"]);
        let tail = network.append("e/a");
        if is_told_of_the_next {
            network.wait(70_000);
        }
        network.deliver(0);
        network.is_slow = false;
        network.wait(400_000);
        assert_eq!(network.shown(S).streams[0].acked_offset, tail, "told of the next: {is_told_of_the_next}");
    }
}

/// A stream that the pattern matches is also added by hand, before the registry has reported it.
#[test]
fn a_link_that_is_added_before_the_report_begins_with_the_stream() {
    for is_removed in [false, true] {
        let mut network = Network::new(1);
        let body =
            json!({ "type": "webhook", "pattern": "e/*", "webhook": { "url": "https://example.com/" } });
        network.subscribe(S, &body);
        network.begin("PUT /v1/stream/e/a | content-type: application/json");
        step_call(&mut network, |call| matches!(call, Call::Record(_)), Fate::Lost);
        network.append("e/a");
        let _begun = network.begin_request(S, SubscriptionRequest::AddStreams(vec!["e/a".into()]));
        if is_removed {
            let _begun = network.begin_request(S, SubscriptionRequest::RemoveStream("e/a".into()));
        }
        network.wait(130_000);
        assert_eq!(network.delivered.len(), 1, "removed again: {is_removed}");
    }
}

/// The client repeats a PUT that has not been answered yet.
#[test]
fn a_repeated_put_is_answered_once_all_streams_are_linked() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    let _first = network.begin_request(S, put_request(S, &hook(&["a"])));
    let Begun::Waits(second) = network.begin_request(S, put_request(S, &hook(&["a"]))) else {
        panic!("it settles first")
    };
    let SubscriptionAnswer::Confirmed(shown) = network.finish(second) else { panic!("it exists") };
    assert_eq!(shown.phase, "active");
}

/// The stream answers only after the reply to the PUT. Any append after the reply must cause a wake.
#[test]
fn a_stream_that_is_linked_after_the_reply_loses_no_message() {
    let mut network = Network::new(1);
    network.create(&["a", "b"]);
    let before = network.append("a");
    network.wait(600_000);
    let _begun = network.begin_request(S, put_request(S, &hook(&["a", "b"])));
    step_call(&mut network, |call| matches!(call, Call::Watch(_)), Fate::Lost);
    network.wait(0);
    assert_eq!(network.shown(S).phase, "linking");
    network.wait(1_000);
    let after = network.append("a");
    network.wait(130_000);
    let shown = network.shown(S);
    assert_eq!((shown.phase.as_str(), network.delivered.len()), ("active", 1), "{before} {after}");
    assert_eq!(network.delivered[0].body["streams"][0]["tail_offset"], after);
    assert_eq!(shown.streams[0].acked_offset, after);
}

#[test]
fn a_subscription_that_was_parked_while_it_linked_links_the_rest() {
    let mut network = Network::new(1);
    network.create(&["a", "e/x"]);
    let mut body = hook(&["a"]);
    body["pattern"] = json!("e/*");
    let _begun = network.begin_request(S, put_request(S, &body));
    step_call(&mut network, |call| matches!(call, Call::List(_)), Fate::Lost);
    network.wait(0);
    network.hooks.push_back(Hook::Gone);
    network.append("a");
    assert_eq!(network.shown(S).phase, "parked");
    network.request(S, SubscriptionRequest::Resume);
    network.wait(130_000);
    assert_eq!(network.shown(S).phase, "active");
    network.delivered.clear();
    network.append("e/x");
    assert_eq!(network.delivered.len(), 1);
}

#[test]
fn an_unwatched_stream_writes_and_calls_nothing_more() {
    let mut network = subscribed();
    network.wait(120_000);
    network.calls.clear();
    network.member("b").sql.take_rows_written();
    let alarms = network.member("b").shell.alarms_set;
    network.append("b");
    network.wait(120_000);
    assert_eq!(network.member("b").sql.take_rows_written(), 1, "the message");
    assert_eq!(network.member("b").shell.alarms_set, alarms);
    assert_eq!(network.calls, []);
}

#[test]
fn an_append_while_a_wake_is_in_flight_writes_one_row_and_calls_nothing() {
    let mut network = subscribed();
    network.is_slow = true;
    network.append("a");
    network.wait(0);
    network.calls.clear();
    network.member("a").sql.take_rows_written();
    network.member(S).sql.take_rows_written();
    let alarms = network.member("a").shell.alarms_set;
    for _ in 0..10 {
        network.append("a");
    }
    assert_eq!(network.member("a").sql.take_rows_written(), 10);
    assert_eq!(network.member("a").shell.alarms_set, alarms);
    assert_eq!(network.member(S).sql.take_rows_written(), 0);
    assert_eq!(network.calls, []);
}

#[test]
fn a_wake_costs_two_rows_and_two_calls() {
    let mut network = subscribed();
    network.append("a");
    network.wait(120_000);
    network.calls.clear();
    network.member("a").sql.take_rows_written();
    network.member(S).sql.take_rows_written();
    network.append("a");
    assert_eq!(network.delivered.len(), 2);
    assert_eq!(network.member("a").sql.take_rows_written(), 1, "the message");
    assert_eq!(network.member(S).sql.take_rows_written(), 2, "the wake, and its end");
    assert_eq!(network.calls.len(), 2, "notify and watch: {:?}", network.calls);
    network.calls.clear();
    network.wait(600_000);
    assert_eq!(network.member(S).sql.take_rows_written(), 0);
    assert_eq!(network.next_alarm(), None, "what is idle has no alarm");
}
