//! Wake tokens (PROTOCOL.md 12.9), the waits between deliveries (7.1), and fencing (7.3), tested on the state machine
//! alone.

use durable_streams::protocol::Millis;
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::subscription::SubscriptionName;
use durable_streams::protocol::subscription::answer::Claimed;
use durable_streams::protocol::subscription::config::{SubscriptionConfig, WakeChannel};
use durable_streams::protocol::subscription::refusal::SubscriptionRefusal;
use durable_streams::protocol::subscription::request::{Ack, WakeRequest};
use durable_streams::protocol::subscription::wake_token::{TOKEN_VALID, WAKE_TOKEN_MAX_BYTES, WakeClaims};
use durable_streams::protocol::subscription::watch::Progress;
use durable_streams::subscription::delivery::Delivered;
use durable_streams::subscription::lease::{Acking, Claiming, NotAcked};
use durable_streams::subscription::link::StreamLink;
use durable_streams::subscription::retry::{after_failures, after_idle_wakes, unclaimed};
use durable_streams::subscription::{Predecessor, Subscription};

const NOW: Millis = 1_000_000;

fn at(position: u64) -> Progress {
    Progress { offset: Offset { segment: 0, position }, closed: false }
}

/// A subscription with a stream `a` that is pending up to position 5.
fn pending(id: &str, channel: WakeChannel, before: Predecessor) -> Subscription {
    let name = SubscriptionName { root: None, id: id.to_owned() };
    let config = SubscriptionConfig {
        channel,
        pattern: None,
        streams: vec!["a".into()],
        lease_ttl_ms: 10_000,
        description: None,
    };
    let mut subscription =
        Subscription::new(name, config, "https://x/__ds".into(), "key".into(), before, NOW);
    let link = StreamLink { acked: Some(at(0)), tail: Some(at(5)), ..StreamLink::explicit() };
    subscription.links.insert("a".into(), link);
    subscription.finish_linking();
    subscription
}

fn pull(id: &str) -> Subscription {
    pending(id, WakeChannel::PullWake { wake_stream: "w".into() }, Predecessor::default())
}

fn webhook() -> Subscription {
    pending("s", WakeChannel::Webhook { url: "https://example.com/".into() }, Predecessor::default())
}

fn claim(subscription: &mut Subscription, now: Millis) -> Claimed {
    match subscription.claim("w1", now) {
        Ok(Claiming::Claimed(claimed)) => claimed,
        other => panic!("{other:?}"),
    }
}

fn request(claimed: &Claimed) -> WakeRequest {
    WakeRequest {
        token: claimed.token.clone(),
        wake_id: claimed.wake_id.clone(),
        generation: claimed.generation,
        acks: Vec::new(),
        done: false,
    }
}

#[test]
fn a_token_is_read_by_its_key_only() {
    let claims = WakeClaims { subscription: "s".into(), incarnation: 1, generation: 2, expires_at: 3 };
    let token = claims.sign("key");
    assert_eq!(WakeClaims::verify("key", &token), Some(claims.clone()));
    assert_eq!(WakeClaims::verify("other", &token), None);
    let (body, signature) = token.split_once('.').expect("two parts");
    let other = WakeClaims { generation: 3, ..claims }.sign("other");
    let (other_body, other_signature) = other.split_once('.').expect("two parts");
    for forged in [
        "",
        ".",
        "a",
        body,
        signature,
        &format!("{body}."),
        &format!(".{signature}"),
        &format!("{other_body}.{signature}"),
        &format!("{body}.{other_signature}"),
        &format!("{body}.{signature}."),
        &format!("{body}.{signature}="),
        &format!("{body}.{}", &signature[..20]),
        &format!(" {token}"),
        &format!("Bearer {token}"),
        &"a.".repeat(WAKE_TOKEN_MAX_BYTES),
    ] {
        assert_eq!(WakeClaims::verify("key", forged), None, "{forged:.80}");
    }
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        // Only the first four bits of a signature's last character count. This changes one of them.
        bytes[at] = if bytes[at] == b'A' { b'Q' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        if changed != token && at + 1 < token.len() {
            assert_eq!(WakeClaims::verify("key", &changed), None, "changed at {at}");
        }
    }
}

#[test]
fn a_request_is_fenced_by_token_generation_and_wake() {
    let mut subscription = pull("s");
    let claimed = claim(&mut subscription, NOW);
    let valid = request(&claimed);
    assert_eq!(subscription.fence(&valid, NOW), Ok(()));
    let with = |change: &dyn Fn(&mut WakeRequest)| {
        let mut request = valid.clone();
        change(&mut request);
        subscription.fence(&request, NOW)
    };
    assert_eq!(with(&|request| request.token.clear()), Err(SubscriptionRefusal::TokenInvalid));
    assert_eq!(with(&|request| request.token.push('a')), Err(SubscriptionRefusal::TokenInvalid));
    assert_eq!(with(&|request| request.generation += 1), Err(SubscriptionRefusal::Fenced));
    assert_eq!(with(&|request| request.wake_id.push('a')), Err(SubscriptionRefusal::Fenced));
    let mut other = pull("t");
    let others = claim(&mut other, NOW);
    assert_eq!(
        with(&|request| request.token.clone_from(&others.token)),
        Err(SubscriptionRefusal::TokenInvalid)
    );
    let expired = SubscriptionRefusal::TokenExpired;
    assert_eq!(subscription.fence(&valid, NOW + TOKEN_VALID), Err(expired));
    assert_eq!(
        subscription.fence(&valid, NOW + 10_000),
        Err(SubscriptionRefusal::Fenced),
        "its lease is over"
    );
    // The token is checked before the generation. A wake that has ended is fenced, not unauthorized.
    let stale = WakeRequest { token: "a".into(), generation: 0, ..valid.clone() };
    assert_eq!(subscription.fence(&stale, NOW), Err(SubscriptionRefusal::TokenInvalid));
    let done = WakeRequest { done: true, ..valid.clone() };
    assert_eq!(subscription.ack(&done, true, NOW), Ok(Acking::Over));
    assert_eq!(subscription.fence(&done, NOW), Err(SubscriptionRefusal::Fenced));
    let next = claim(&mut subscription, NOW);
    assert_eq!(next.generation, claimed.generation + 1);
    assert_ne!(next.wake_id, claimed.wake_id);
    assert_eq!(subscription.fence(&valid, NOW), Err(SubscriptionRefusal::Fenced));
}

#[test]
fn generations_and_tokens_outlive_a_deletion() {
    let mut subscription = pull("s");
    let claimed = claim(&mut subscription, NOW);
    subscription.end(NOW);
    let before = subscription.as_predecessor();
    let mut next = pending("s", WakeChannel::PullWake { wake_stream: "w".into() }, before);
    assert_eq!(next.state.incarnation, 2);
    assert_eq!(next.fence(&request(&claimed), NOW), Err(SubscriptionRefusal::Fenced));
    let again = claim(&mut next, NOW);
    assert_eq!(again.generation, 2);
    assert_ne!(again.wake_id, claimed.wake_id);
    assert_eq!(next.fence(&request(&claimed), NOW), Err(SubscriptionRefusal::Fenced));
}

#[test]
fn all_acks_are_checked_before_one_is_applied() {
    let mut subscription = pull("s");
    subscription
        .links
        .insert("b".into(), StreamLink { acked: Some(at(3)), tail: Some(at(3)), ..StreamLink::explicit() });
    let claimed = claim(&mut subscription, NOW);
    let ack = |path: &str, offset: Option<u64>| Ack {
        path: path.into(),
        offset: offset.map(|position| at(position).offset),
    };
    let before = subscription.clone();
    for bad in [ack("c", Some(1)), ack("b", Some(2)), ack("b", None)] {
        let request = WakeRequest { acks: vec![ack("a", Some(5)), bad], done: true, ..request(&claimed) };
        let refused = subscription.ack(&request, true, NOW).expect_err("it is invalid");
        assert!(
            matches!(&refused, NotAcked::Refused(SubscriptionRefusal::InvalidOffset { .. })),
            "{refused:?}"
        );
        assert_eq!(subscription, before);
    }
    let beyond = WakeRequest { acks: vec![ack("a", Some(2)), ack("b", Some(4))], ..request(&claimed) };
    assert_eq!(subscription.ack(&beyond, true, NOW), Err(NotAcked::Look(vec!["b".into()])));
    assert_eq!(subscription, before);
    assert!(matches!(subscription.ack(&beyond, false, NOW), Err(NotAcked::Refused(_))));
    let equal = WakeRequest { acks: vec![ack("a", Some(4)), ack("b", Some(3))], ..request(&claimed) };
    assert_eq!(subscription.ack(&equal, true, NOW), Ok(Acking::Extended));
    assert_eq!(subscription.links["a"].acked, Some(at(4)));
}

#[test]
fn retries_back_off_from_one_second_to_sixty_with_a_fifth_of_jitter() {
    for (failures, wait) in
        [(1, 1_000), (2, 2_000), (3, 4_000), (4, 8_000), (5, 16_000), (6, 32_000), (7, 60_000)]
    {
        let waits = (0..2_000).map(|random| after_failures(failures, random * 7_919));
        let (low, high) = (waits.clone().min().unwrap(), waits.max().unwrap());
        assert!(low >= wait * 4 / 5 && high <= wait * 6 / 5, "{failures}: {low} to {high}");
        assert!(low < wait * 17 / 20 && high > wait * 23 / 20, "{failures}: {low} to {high} is no jitter");
    }
    for failures in [8, 20, 64, 1_000, u64::MAX] {
        assert!((48_000..=72_000).contains(&after_failures(failures, 5)), "{failures}");
        assert!((48_000..=72_000).contains(&after_failures(failures, u64::MAX)), "{failures}");
    }
}

#[test]
fn wakes_without_progress_and_unclaimed_events_back_off() {
    let waits = [0, 1, 2, 3, 4, 8, 9, 100, u64::MAX].map(after_idle_wakes);
    assert_eq!(waits, [0, 0, 1_000, 2_000, 4_000, 60_000, 60_000, 60_000, 60_000]);
    assert_eq!(
        [1, 2, 3, 4, 100].map(|events| unclaimed(1_000, events)),
        [600_000, 1_200_000, 2_400_000, 3_600_000, 3_600_000]
    );
    assert_eq!(unclaimed(600_000, 1), 6_000_000);
    assert_eq!(unclaimed(600_000, 9), 6_000_000);
}

#[test]
fn an_answer_with_done_acks_the_snapshot_and_not_what_came_later() {
    let mut subscription = webhook();
    assert!(subscription.start_wake(NOW));
    subscription.links.get_mut("a").expect("it is linked").reaches(at(9));
    assert!(subscription.delivered(1, &Delivered::Done, 1_000, NOW));
    assert_eq!(subscription.links["a"].acked, Some(at(5)));
    assert!(subscription.start_wake(NOW));
    assert_eq!(subscription.state.generation, 2);
    assert!(
        !subscription.delivered(1, &Delivered::Done, 1_000, NOW),
        "what comes of an older wake is too late"
    );
    assert_eq!(subscription.links["a"].acked, Some(at(5)));
}

/// The handler calls back before it answers the delivery.
#[test]
fn an_answer_with_done_moves_no_cursor_back() {
    let mut subscription = webhook();
    assert!(subscription.start_wake(NOW));
    subscription.links.get_mut("a").expect("it is linked").reaches(at(9));
    let wake = subscription.state.wake.clone().expect("it has begun");
    let request = WakeRequest {
        token: subscription.token(NOW),
        wake_id: wake.id,
        generation: wake.generation,
        acks: vec![Ack { path: "a".into(), offset: Some(at(9).offset) }],
        done: false,
    };
    assert_eq!(subscription.ack(&request, true, NOW), Ok(Acking::Extended));
    assert!(subscription.delivered(1, &Delivered::Done, 1_000, NOW));
    assert_eq!(subscription.links["a"].acked, Some(at(9)));
}

#[test]
fn a_dead_endpoint_is_parked_and_keeps_its_cursors() {
    let mut subscription = webhook();
    let failed = Delivered::Failed { message: "m".into(), retry_after: None, is_gone: false };
    assert!(subscription.start_wake(NOW));
    assert!(subscription.delivered(1, &failed, 60_000, NOW));
    assert!(subscription.is_awake() && !subscription.delivery_is_due(NOW));
    subscription.delivered(1, &failed, 60_000, NOW + 60_000);
    assert!(!subscription.is_awake());
    assert_eq!(subscription.due_at(), None);
    assert!(subscription.has_pending());
    assert!(subscription.resume(NOW + 70_000) && subscription.start_wake(NOW + 70_000));
    let gone = Delivered::Failed { message: "m".into(), retry_after: None, is_gone: true };
    assert!(subscription.delivered(2, &gone, 60_000, NOW + 70_000));
    assert!(!subscription.is_awake());
}

#[test]
fn the_wait_that_an_endpoint_names_is_respected_up_to_an_hour() {
    for (named, at_least, at_most) in
        [(5_000, 5_000, 5_000), (1, 800, 1_200), (9_999_999, 3_600_000, 3_600_000)]
    {
        let mut subscription = webhook();
        subscription.start_wake(NOW);
        let failed = Delivered::Failed { message: "m".into(), retry_after: Some(named), is_gone: false };
        subscription.delivered(1, &failed, 60_000, NOW);
        let wait = subscription.state.not_before.expect("it waits") - NOW;
        assert!((at_least..=at_most).contains(&wait), "{named}: {wait}");
    }
}
