//! Regression tests for faults that a review found.

use durable_streams::object::effect::Effect;
use durable_streams::protocol::call::Call;
use durable_streams::protocol::registry::Registries;
use durable_streams::protocol::subscription::SubscriptionName;
use durable_streams::protocol::subscription::answer::SubscriptionAnswer;
use durable_streams::protocol::subscription::config::SubscriptionConfig;
use durable_streams::protocol::subscription::request::{Ack, SubscriptionRequest, WakeRequest};
use durable_streams::protocol::subscription::webhook_url::UrlRules;
use serde_json::{Value, json};

use crate::support::network::{Begun, Doing, Hook, Network, claimed_by, wake_request};
use crate::support::objects::Fate;

const S: &str = "__ds/subscriptions/s";
const ZERO: &str = "0000000000000000_0000000000000000";

fn hook(streams: &[&str]) -> Value {
    json!({ "type": "webhook", "streams": streams, "webhook": { "url": "https://example.com/hook" } })
}

fn matching(pattern: &str) -> Value {
    json!({ "type": "webhook", "pattern": pattern, "webhook": { "url": "https://example.com/hook" } })
}

/// More streams than fit into memory become pending while a wake is in flight.
#[test]
fn what_is_pending_beyond_memory_is_woken_after_the_wake_in_flight() {
    for count in [66, 200] {
        let mut network = Network::new(1);
        let paths: Vec<String> = (0..count).map(|number| format!("m/{number:03}")).collect();
        let named: Vec<&str> = paths.iter().map(String::as_str).collect();
        network.create(&named);
        network.subscribe(S, &hook(&named));
        network.wait(120_000);
        network.hooks.push_back(Hook::Accepts);
        network.append(named[0]);
        for path in &named[1..] {
            network.append(path);
        }
        let claimed = claimed_by(&network.delivered[0].body);
        let callback = SubscriptionRequest::Callback(wake_request(S, &claimed, true));
        network.request(S, callback);
        network.wait(600_000);
        let shown = network.shown(S);
        let left = shown.streams.iter().filter(|link| link.acked_offset == ZERO).count();
        assert_eq!(left, 0, "{count} streams: {left} were never woken");
    }
}

/// More streams than fit into memory become pending while no wake may begin.
#[test]
fn what_is_pending_beyond_memory_is_woken_after_parking() {
    for count in [65, 130, 200] {
        let mut network = Network::new(1);
        let paths: Vec<String> = (0..count).map(|number| format!("m/{number:03}")).collect();
        let named: Vec<&str> = paths.iter().map(String::as_str).collect();
        network.create(&named);
        network.subscribe(S, &hook(&named));
        network.wait(120_000);
        network.hooks.push_back(Hook::Gone);
        network.append(named[0]);
        assert_eq!(network.shown(S).phase, "parked");
        for path in &named[1..] {
            network.append(path);
        }
        network.request(S, SubscriptionRequest::Resume);
        network.wait(600_000);
        let shown = network.shown(S);
        let left = shown.streams.iter().filter(|link| link.acked_offset == ZERO).count();
        assert_eq!(left, 0, "{count} streams: {left} were never woken");
        assert_eq!(shown.phase, "active");
    }
}

/// More streams than fit into memory become pending while deliveries fail.
#[test]
fn what_is_pending_beyond_memory_is_woken_after_failures() {
    for count in [130, 200] {
        let mut network = Network::new(1);
        let paths: Vec<String> = (0..count).map(|number| format!("m/{number:03}")).collect();
        let named: Vec<&str> = paths.iter().map(String::as_str).collect();
        network.create(&named);
        network.subscribe(S, &hook(&named));
        network.wait(120_000);
        network.hook = Hook::FailsFor(600_000);
        network.append(named[0]);
        network.wait(60_000);
        for path in &named[1..] {
            network.append(path);
        }
        network.hook = Hook::Done;
        network.wait(3_600_000);
        let shown = network.shown(S);
        let left = shown.streams.iter().filter(|link| link.acked_offset == ZERO).count();
        assert_eq!(left, 0, "{count} streams: {left} were never woken");
    }
}

/// A parked subscription receives many notifications. Each link is stored about once.
#[test]
fn what_is_pending_beyond_memory_costs_a_row_each() {
    let mut network = Network::new(1);
    let paths: Vec<String> = (0..400).map(|number| format!("m/{number:03}")).collect();
    let named: Vec<&str> = paths.iter().map(String::as_str).collect();
    network.create(&named);
    network.subscribe(S, &hook(&named));
    network.wait(120_000);
    network.hooks.push_back(Hook::Gone);
    network.append(named[0]);
    network.member(S).sql.take_rows_written();
    for path in &named[1..] {
        network.append(path);
    }
    let rows = network.member(S).sql.take_rows_written();
    assert!(rows <= 3 * 400, "{rows} rows for 399 notifications");
    network.calls.clear();
    network.wait(3_600_000);
    assert_eq!(network.next_alarm(), None, "what is parked has no alarm");
}

/// Callbacks need no project token. A wrong wake token must not load links, which would be written again later.
#[test]
fn a_wrong_wake_token_brings_no_links_into_memory() {
    let mut network = Network::new(1);
    let paths: Vec<String> = (0..300).map(|number| format!("m/{number:03}")).collect();
    let named: Vec<&str> = paths.iter().map(String::as_str).collect();
    network.create(&named);
    network.subscribe(S, &hook(&named));
    network.wait(120_000);
    network.append("m/299");
    network.wait(120_000);
    network.member(S).sql.take_rows_written();
    let acks = paths.iter().map(|path| Ack { path: path.clone(), offset: None }).collect();
    let request = WakeRequest { token: "x.y".into(), wake_id: "w".into(), generation: 1, acks, done: true };
    let answer = network.request(S, SubscriptionRequest::Callback(request));
    assert!(matches!(answer, SubscriptionAnswer::Refused(_)), "{answer:?}");
    network.append("m/299");
    let rows = network.member(S).sql.take_rows_written();
    assert!(rows <= 4, "{rows} rows for a wake");
}

/// The object of a stream that has never existed does not know its path.
#[test]
fn a_stream_that_never_was_does_not_notify() {
    let mut network = Network::new(1);
    let body = json!({
        "type": "webhook", "pattern": "*", "streams": ["x/y"], "webhook": { "url": "https://example.com/hook" },
    });
    network.subscribe(S, &body);
    network.request(S, SubscriptionRequest::RemoveStream("x/y".into()));
    network.wait(120_000);
    let nameless = |call: &Call| matches!(call, Call::Notify(notify) if notify.path.is_empty());
    assert!(
        !network.calls.iter().any(|sent| nameless(&sent.call) || sent.to.is_empty()),
        "{:?}",
        network.calls
    );
    assert_eq!(network.shown(S).streams.len(), 0);
    // Once the stream exists, its first message makes it drop the watcher.
    network.create(&["x/y"]);
    network.append("x/y");
    assert!(network.delivered.is_empty());
    assert!(!network.member("x/y").sql.tables().contains(&"watchers".to_owned()));
}

#[test]
fn a_late_unwatch_of_a_stream_that_never_was_loses_no_link() {
    let mut network = Network::new(1);
    network.subscribe(S, &hook(&["x/y", "z"]));
    let begun = network.begin_request(S, SubscriptionRequest::RemoveStream("x/y".into()));
    assert!(matches!(begun, Begun::Answered(_)), "{begun:?}");
    for _ in 0..20 {
        let unwatch = |call: &Call| matches!(call, Call::Unwatch(_));
        let found = (0..network.tasks.len())
            .find(|index| network.next_call(*index).is_some_and(|sent| unwatch(&sent.call)));
        if let Some(index) = found {
            network.step(index, Fate::Late, None);
            break;
        }
        network.step(0, Fate::Arrives, None);
    }
    network.settle();
    network.request(S, SubscriptionRequest::AddStreams(vec!["x/y".into()]));
    network.wait(120_000);
    assert_eq!(network.late.len(), 1);
    network.deliver(0);
    network.settle();
    network.create(&["x/y"]);
    network.append("x/y");
    assert_eq!(network.delivered.len(), 1, "the link was lost");
}

#[test]
fn a_pattern_that_is_too_long_with_its_root_is_refused() {
    let name = SubscriptionName::parse("root/__ds/subscriptions/s").unwrap();
    for pattern in ["a/".repeat(63) + "*", "a".repeat(739)] {
        let body = matching(&pattern).to_string();
        let parsed = SubscriptionConfig::parse(&name, body.as_bytes(), &UrlRules::default());
        assert!(parsed.is_err(), "{pattern:.20}");
        let unrooted = SubscriptionName { root: None, ..name.clone() };
        assert!(SubscriptionConfig::parse(&unrooted, body.as_bytes(), &UrlRules::default()).is_ok());
    }
}

/// A stream without room for watchers is added while a pattern is still being linked.
#[test]
fn a_refused_stream_does_not_end_a_subscription_that_was_created() {
    let mut network = Network::new(1);
    network.create(&["full", "m/a"]);
    for number in 0..64 {
        network.subscribe(&format!("__ds/subscriptions/o{number}"), &hook(&["full"]));
    }
    let put = crate::support::network::put_request(S, &matching("m/*"));
    let Begun::Waits(_) = network.begin_request(S, put) else { panic!() };
    network.crash(S, false);
    let added = network.request(S, SubscriptionRequest::AddStreams(vec!["full".into()]));
    assert!(matches!(added, SubscriptionAnswer::Refused(_)), "{added:?}");
    network.wait(60_000);
    assert_eq!(network.shown(S).phase, "active");
}

/// A stream whose storage was restored has lost its watcher and has no room for it.
#[test]
fn a_link_that_has_lost_its_room_rests() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    let pull = json!({ "type": "pull-wake", "streams": ["a"], "wake_stream": "w" });
    network.subscribe(S, &pull);
    network.members.remove("a");
    network.create(&["a"]);
    for number in 0..64 {
        network.subscribe(&format!("__ds/subscriptions/o{number}"), &hook(&["a"]));
    }
    network.calls.clear();
    let _no_work = network.request(S, SubscriptionRequest::Claim { holder: "w".into() });
    let watches = network.calls.iter().filter(|sent| matches!(sent.call, Call::Watch(_))).count();
    assert!(watches < 10, "{watches} calls");
}

/// Deliveries are signed with the keys that the Worker publishes, even without registries.
#[test]
fn without_registries_there_is_one_key_set() {
    let mut network = Network::new(1);
    network.settings.registries = Registries::Off;
    network.is_slow = true;
    network.subscribe("p/__ds/subscriptions/s", &hook(&["a"]));
    network.create(&["p/a"]);
    network.append("p/a");
    let posts: Vec<String> = network
        .tasks
        .iter()
        .filter_map(|task| match &task.doing {
            Doing::Effect { effect: Effect::Post(post), .. } => Some(post.registry.clone()),
            Doing::Effect { .. } | Doing::Request { .. } => None,
        })
        .collect();
    // `registry_is_that_of_the_project` in subscription_api.rs tests the same for the Worker.
    assert_eq!(posts, ["__registry__"]);
}

/// The registry was enabled after streams were created, or replaced. Loading such a stream sets no alarm.
#[test]
fn a_stream_that_is_older_than_its_registry_sets_no_alarm() {
    for after in [Registries::One, Registries::PerProject] {
        let mut network = Network::new(1);
        network.settings.registries =
            if after == Registries::One { Registries::Off } else { Registries::One };
        network.ask("PUT /v1/stream/p/a | content-type: application/json << [1]");
        network.wait(120_000);
        network.settings.registries = after;
        network.crash("p/a", false);
        let alarms = network.member("p/a").shell.alarms_set;
        network.ask("GET /v1/stream/p/a");
        assert_eq!(network.member("p/a").shell.alarms_set, alarms);
        let reports = network.calls.iter().filter(|sent| matches!(sent.call, Call::Record(_))).count();
        assert_eq!(reports, if after == Registries::One { 1 } else { 2 });
    }
}

/// More links than are in memory, at random: crashes, slow and failing endpoints, parking.
#[test]
fn nothing_is_lost_among_many_links() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut network = Network::new(seed);
        let paths: Vec<String> = (0..150).map(|number| format!("m/{number:03}")).collect();
        let named: Vec<&str> = paths.iter().map(String::as_str).collect();
        network.create(&named);
        network.subscribe(S, &if seed % 2 == 0 { hook(&named) } else { matching("m/*") });
        let mut tails = vec![ZERO.to_owned(); named.len()];
        for _ in 0..600 {
            network.hook = [Hook::Done, Hook::Accepts, Hook::Fails, Hook::Gone][random.usize(..4)];
            let at = random.usize(..named.len());
            match random.usize(..20) {
                0 => drop(network.crash(S, random.bool())),
                1 => drop(network.crash(named[at], random.bool())),
                2 => network.wait(random.u64(..90_000)),
                3 => drop(network.request(S, SubscriptionRequest::Resume)),
                4..12 => tails[at] = network.append(named[at]),
                _ => {
                    let request =
                        format!("POST /v1/stream/{} | content-type: application/json << [1]", named[at]);
                    let response = network.begin(&request);
                    response.header("stream-next-offset").expect("an offset").clone_into(&mut tails[at]);
                    for _ in 0..random.usize(..12) {
                        let may = (0..network.tasks.len()).filter(|index| network.may_step(*index));
                        let may: Vec<usize> = may.collect();
                        if let Some(index) = random.choice(may) {
                            network.step(index, Fate::Arrives, None);
                        }
                    }
                }
            }
        }
        network.hook = Hook::Done;
        network.wait(200_000);
        network.request(S, SubscriptionRequest::Resume);
        network.wait(3_600_000);
        let shown = network.shown(S);
        let behind =
            |(link, tail): &(&durable_streams::protocol::subscription::answer::ShownLink, &String)| {
                link.acked_offset != **tail
            };
        let left = shown.streams.iter().zip(&tails).filter(behind).count();
        assert_eq!((left, shown.streams.len(), shown.phase.as_str()), (0, 150, "active"), "seed {seed}");
        assert_eq!(network.next_alarm(), None, "seed {seed}: what is idle has no alarm");
    }
}

/// A deployment turns from one registry to one for each project. The registry of the project does not know the pattern.
#[test]
fn a_pattern_survives_another_kind_of_registry() {
    let mut network = Network::new(1);
    network.subscribe("p/__ds/subscriptions/s", &matching("m/*"));
    network.settings.registries = Registries::PerProject;
    network.crash("p/__ds/subscriptions/s", false);
    network.shown("p/__ds/subscriptions/s");
    network.create(&["p/m/a"]);
    network.append("p/m/a");
    network.wait(120_000);
    assert_eq!(network.delivered.len(), 1);
}

/// A stream is reported to the registry late, so its messages are older than the subscription.
#[test]
fn history_is_no_news_when_the_registry_hears_late_of_a_stream() {
    let mut network = Network::new(1);
    network.settings.registries = Registries::Off;
    network.create(&["m/a"]);
    network.append("m/a");
    network.settings.registries = Registries::One;
    network.now += 86_400_000;
    network.subscribe(S, &matching("m/*"));
    network.crash("m/a", false);
    network.ask("GET /v1/stream/m/a");
    network.wait(120_000);
    assert_eq!(network.delivered.len(), 0);
}

/// What the registry has recorded is stored with the next change only.
#[test]
fn a_subscription_that_is_loaded_again_reports_nothing_again() {
    let mut network = Network::new(1);
    network.create(&["a"]);
    network.subscribe(S, &matching("*"));
    network.hooks.push_back(Hook::Gone);
    network.append("a");
    network.wait(600_000);
    assert_eq!(network.shown(S).phase, "parked");
    network.calls.clear();
    for _ in 0..3 {
        network.crash(S, false);
        network.shown(S);
        network.wait(600_000);
    }
    assert_eq!(network.calls, []);
}

/// A page of the registry has a stream whose object fails: the streams of later pages are never linked.
#[test]
fn a_stream_that_fails_holds_up_no_other() {
    let mut network = Network::new(1);
    let paths: Vec<String> = (0..130).map(|number| format!("m/{number:03}")).collect();
    let named: Vec<&str> = paths.iter().map(String::as_str).collect();
    network.create(&named);
    network.member("m/000").sql.raw().execute("UPDATE stream SET schema_version = 99", []).unwrap();
    network.crash("m/000", false);
    network.put(S, &matching("m/*"));
    network.wait(3_600_000);
    network.append("m/129");
    assert_eq!(network.delivered.len(), 1);
}
