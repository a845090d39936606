//! Simulation of subscriptions: seeded histories of streams, subscriptions, their registry and webhook endpoints. Calls
//! are lost, late, repeated or unanswered; objects crash between any two steps; storage fails; time jumps. Every step
//! is followed by a check of stored data. At the end, a wake must have covered every message. `SEEDS=100000 cargo test
//! --release --test host simulation` runs more histories, and `SEED=n` replays one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Arguments;
use std::rc::Rc;

use durable_streams::object::reports::REST_MAX;
use durable_streams::object::{Object, Ports};
use durable_streams::protocol::Millis;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::subscription::answer::{Claimed, SubscriptionAnswer};
use durable_streams::protocol::subscription::glob::Pattern;
use durable_streams::protocol::subscription::refusal::SubscriptionRefusal;
use durable_streams::protocol::subscription::request::{Ack, SubscriptionRequest};
use durable_streams::protocol::subscription::watch::{CLOCKS_DIFFER_MAX, Progress};
use durable_streams::storage::registry::unreported;
use durable_streams::storage::subscription::{load, next_links};
use durable_streams::storage::watchers;
use durable_streams::subscription::link::StreamLink;
use durable_streams::subscription::{Phase, Subscription};
use serde_json::{Value, json};

use crate::support::histories::{History, Trace, assert_repeats, play};
use crate::support::network::{Begun, Hook, Network, claimed_by, put_request, wake_request};
use crate::support::objects::{Fate, TaskId};
use crate::support::sockets::HostSockets;
use crate::support::sql::Fault;

const SEEDS_DEFAULT: u64 = 500;
const STEPS_MAX: u32 = 160;
/// The streams of most histories. Some histories add as many as a subscription's row has links.
const STREAMS: [&str; 5] = ["e/a", "e/b", "e/c/d", "f/a", "f/b"];
const MANY: usize = 66;
const WAKES: &str = "w/pool";
const REGISTRY: &str = "__registry__";
/// The longest time to a wake once faults have ended: an interrupted wake, its retry, and the wake itself.
const WITHIN: Millis = 400_000;

#[test]
fn simulation_of_subscriptions() {
    play::<Simulation>(SEEDS_DEFAULT);
}

#[test]
fn simulation_of_subscriptions_repeats_itself() {
    assert_repeats::<Simulation>();
}

struct Simulation {
    random: fastrand::Rng,
    network: Network,
    streams: Vec<String>,
    /// The bodies of the subscriptions' PUTs, by the names of their objects.
    subscriptions: BTreeMap<String, Value>,
    seen: BTreeMap<String, Seen>,
    /// Everything that workers and endpoints have received, of any age, with the subscription's name.
    held: Vec<(String, Claimed)>,
    /// Claims whose workers are waiting for an answer.
    claiming: BTreeMap<TaskId, String>,
    /// Acks with `done` and PUTs waiting for their answers, and the number of deliveries examined.
    finishing: BTreeMap<TaskId, (String, u64)>,
    putting: BTreeMap<TaskId, String>,
    looked_at: usize,
    /// The last read of each stream from storage, and the number of changes to that storage before it.
    tails: BTreeMap<String, (u64, Option<Progress>)>,
    /// The objects whose storage has failed. An alarm may be left to be set.
    faulted: BTreeSet<String>,
    /// The tails of each stream so far, and when a request has moved it there.
    written: BTreeMap<String, Vec<(Millis, Offset)>>,
    read: BTreeMap<String, (u64, Option<Rc<Read>>)>,
    checked: BTreeMap<String, u64>,
    has_faults: bool,
    trace: Trace,
}

/// A subscription in storage, with all its links.
struct Read {
    stored: Subscription,
    links: BTreeMap<String, StreamLink>,
}

/// The test's knowledge of a subscription.
#[derive(Default)]
struct Seen {
    incarnation: u64,
    generation: u64,
    wake_id: String,
    /// The highest generation that a worker or an endpoint has received.
    issued: u64,
    /// The holder's generation, and the earliest end of its lease.
    leased: Option<(u64, Millis)>,
    /// The generations that their holders have ended.
    ended: BTreeSet<u64>,
    is_parked: bool,
    /// A request has ended parking, or the subscription, since it was parked.
    resumes: bool,
    /// The tails of all streams when the creation was answered, if all of them were linked by then.
    at_reply: Option<BTreeMap<String, Offset>>,
    acked: BTreeMap<String, Progress>,
    /// Links removed since. Their next cursors begin at the tail, or before what was written since they were added again.
    restarts: BTreeSet<String>,
    /// The streams that requests have added, and when each was last added without being linked.
    added: BTreeMap<String, Millis>,
    /// The legitimate positions of cursors: delivered snapshots, and acks that were sent.
    explained: BTreeSet<(String, Offset)>,
    /// The explicit links according to the requests, and those of uncertain state.
    explicit: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

impl History for Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut streams: Vec<String> = STREAMS.iter().map(|path| (*path).to_owned()).collect();
        if random.u8(..32) == 0 {
            streams.extend((0..MANY).map(|number| format!("e/{number:02}")));
        }
        let mut subscriptions = BTreeMap::new();
        for number in 0..random.usize(1..=3) {
            let name = format!("__ds/subscriptions/s{number}");
            subscriptions.insert(name, configuration(&mut random, &streams));
        }
        let has_faults = random.u8(..8) > 0;
        Simulation {
            network: Network::new(seed),
            random,
            streams,
            subscriptions,
            seen: BTreeMap::new(),
            held: Vec::new(),
            claiming: BTreeMap::new(),
            finishing: BTreeMap::new(),
            putting: BTreeMap::new(),
            looked_at: 0,
            tails: BTreeMap::new(),
            faulted: BTreeSet::new(),
            written: BTreeMap::new(),
            read: BTreeMap::new(),
            checked: BTreeMap::new(),
            has_faults,
            trace: Trace::default(),
        }
    }

    fn run(&mut self) {
        self.network.create(&[WAKES]);
        if self.streams.len() > STREAMS.len() {
            let paths = self.streams.clone();
            for path in paths {
                if self.random.u8(..4) > 0 {
                    self.network.create(&[&path]);
                }
            }
        }
        for _ in 0..self.random.u32(20..STEPS_MAX) {
            self.step();
            self.check_deliveries();
            self.check_stored();
        }
        self.end();
    }

    fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }
}

impl Simulation {
    fn log(&mut self, what: Arguments<'_>) {
        let now = self.network.now % 100_000_000;
        self.trace.log(format_args!("{now} {what}"));
    }

    // The history.

    fn step(&mut self) {
        match self.random.u8(..100) {
            0..16 => self.append(),
            16..21 => self.change_stream(),
            21..25 => self.put(),
            25..26 => self.delete(),
            26..31 => self.change_links(),
            31..37 => self.claim(),
            37..46 => self.speak(),
            46..49 if self.has_faults => self.arm_fault(),
            46..52 => self.pass_time(),
            52..55 if self.has_faults => self.crash(),
            55..57 => self.deliver_late(),
            57..60 => self.ring(),
            60..63 => self.settle(),
            _ => self.step_task(),
        }
    }

    fn stream(&mut self) -> String {
        let index = self.random.usize(..self.streams.len());
        self.streams[index].clone()
    }

    /// All streams.
    fn paths(&self) -> Vec<String> {
        let own = [WAKES.to_owned(), REGISTRY.to_owned()];
        self.streams.iter().cloned().chain(own).collect()
    }

    fn subscription(&mut self) -> String {
        let index = self.random.usize(..self.subscriptions.len());
        self.subscriptions.keys().nth(index).expect("there is one").clone()
    }

    fn append(&mut self) {
        let path = self.stream();
        if self.random.u8(..4) == 0 {
            self.write(&path, &format!("PUT /v1/stream/{path} | content-type: application/json << [1]"));
        } else {
            let (counts, is_cheap) = (self.cost(&path), self.is_unwatched(&path));
            let status = self.post(&path);
            let (rows, alarms) = self.cost(&path);
            let expected = (counts.0 + u64::from(status < 300), counts.1);
            assert!(
                !is_cheap || status >= 500 || (rows, alarms) == expected,
                "I7: {path}: {rows} rows, {alarms} alarms, not {expected:?}"
            );
        }
    }

    fn post(&mut self, path: &str) -> u16 {
        self.write(path, &format!("POST /v1/stream/{path} | content-type: application/json << [1]"))
    }

    fn write(&mut self, path: &str, request: &str) -> u16 {
        let status = self.network.begin(request).status;
        self.log(format_args!("{request} {status}"));
        let written = self.truth(path).map(|tail| (self.network.now, tail.offset));
        self.written.entry(path.to_owned()).or_default().extend(written);
        status
    }

    /// The tail of a stream before everything written at this time or later.
    fn tail_before(&self, path: &str, since: Millis) -> Offset {
        let written = self.written.get(path).into_iter().flatten();
        written.filter(|(at, _)| *at < since).map(|(_, tail)| *tail).max().unwrap_or(Offset::segment_start(0))
    }

    /// The rows that a stream has written, and how often it has set its alarm.
    fn cost(&mut self, path: &str) -> (u64, u64) {
        let member = self.network.member(path);
        (member.sql.rows_written(), member.shell.alarms_set)
    }

    /// Whether nothing but the append itself is due at a stream: no subscription watches it, the registry knows it, and
    /// its storage has never failed.
    fn is_unwatched(&mut self, path: &str) -> bool {
        let registries = self.network.settings.registries;
        !self.faulted.contains(path)
            && self.network.member(path).sql.undisturbed(|sql| {
                let watchers = watchers::load(sql).unwrap_or_default();
                watchers.is_empty() && sql.presence().is_some() && unreported(sql, registries, 1) == Ok(None)
            })
    }

    fn change_stream(&mut self) {
        let path = self.stream();
        let request = match self.random.u8(..6) {
            0 => format!("DELETE /v1/stream/{path}"),
            1 => format!("POST /v1/stream/{path} | stream-closed: true"),
            _ => format!("PUT /v1/stream/{path} | content-type: application/json"),
        };
        self.write(&path, &request);
    }

    fn request(&mut self, name: &str, request: SubscriptionRequest) -> Begun {
        let text = if self.trace.is_on() { format!("{request:.200?}") } else { String::new() };
        let resumes = matches!(
            request,
            SubscriptionRequest::Put { .. } | SubscriptionRequest::Delete | SubscriptionRequest::Resume
        );
        self.seen.entry(name.to_owned()).or_default().resumes |= resumes;
        let begun = self.network.begin_request(name, request);
        self.log(format_args!("{name} {text:.200} -> {begun:?}"));
        begun
    }

    fn put(&mut self) {
        let name = self.subscription();
        let body = self.subscriptions[&name].clone();
        let existed = self.exists(&name);
        let begun = self.request(&name, put_request(&name, &body));
        let exists = self.exists(&name);
        if exists && !existed {
            let seen = self.seen.entry(name.clone()).or_default();
            seen.unknown.clear();
            seen.at_reply = None;
            if let Begun::Waits(id) = begun {
                self.putting.insert(id, name.clone());
            }
            let named = body["streams"].as_array().cloned().unwrap_or_default();
            seen.explicit = named.iter().map(|path| path.as_str().unwrap().to_owned()).collect();
        }
    }

    fn delete(&mut self) {
        let name = self.subscription();
        let _begun = self.request(&name, SubscriptionRequest::Delete);
    }

    fn exists(&mut self, name: &str) -> bool {
        self.stored(name).is_some_and(|read| !read.stored.has_ended())
    }

    fn change_links(&mut self) {
        let (name, path) = (self.subscription(), self.stream());
        if !self.exists(&name) {
            return;
        }
        let adds = self.random.bool();
        let request = match adds {
            true => SubscriptionRequest::AddStreams(vec![path.clone()]),
            false => SubscriptionRequest::RemoveStream(path.clone()),
        };
        let before = self.stored(&name).and_then(|read| read.links.get(&path).cloned());
        let begun = self.request(&name, request);
        let now = self.network.now;
        let seen = self.seen.entry(name.clone()).or_default();
        if adds {
            let is_new = before.as_ref().is_none_or(|link| link.removed);
            let added_at = seen.added.get(&path).copied().filter(|_| !is_new).unwrap_or(now);
            seen.added.insert(path.clone(), added_at);
        }
        match begun {
            Begun::Failed => {
                seen.unknown.insert(path);
            }
            Begun::Waits(_) | Begun::Answered(_) if adds => {
                seen.unknown.remove(&path);
                seen.explicit.insert(path);
            }
            Begun::Waits(_) | Begun::Answered(_) => {
                seen.unknown.remove(&path);
                seen.explicit.remove(&path);
                let Some(before) = before.filter(|link| !link.removed) else { return };
                let read = self.stored(&name).expect("it has a subscription");
                let link = read.links.get(&path).filter(|link| !link.removed);
                assert!(
                    !matches(&read.stored, &path)
                        || link.is_some_and(|link| link.glob && link.acked == before.acked),
                    "I8: {name}: the pattern's link to {path} was removed or moved: {link:?}"
                );
            }
        }
    }

    fn claim(&mut self) {
        let name = self.subscription();
        let worker = format!("w{}", self.random.u8(..2));
        let begun = self.request(&name, SubscriptionRequest::Claim { holder: worker });
        self.claim_ended(&name, begun);
    }

    fn claim_ended(&mut self, name: &str, begun: Begun) {
        match begun {
            Begun::Answered(SubscriptionAnswer::Claimed(claimed)) => {
                let now = self.network.now;
                let lease = claimed.lease_ttl_ms;
                let seen = self.seen.entry(name.to_owned()).or_default();
                let is_free = seen.leased.is_none_or(|(_, until)| now >= until);
                assert!(is_free, "I2: two holders of {name}: {:?}, {claimed:?}", seen.leased);
                assert!(
                    claimed.generation >= seen.issued,
                    "I3: an older generation was claimed: {claimed:?}"
                );
                assert!(claimed.streams.iter().any(|stream| stream.has_pending), "I5: {claimed:?}");
                seen.leased = Some((claimed.generation, now + lease));
                self.hold(name, claimed);
            }
            Begun::Waits(id) => drop(self.claiming.insert(id, name.to_owned())),
            Begun::Answered(SubscriptionAnswer::Refused(SubscriptionRefusal::AlreadyClaimed {
                generation,
                ..
            })) => {
                let seen = self.seen.entry(name.to_owned()).or_default();
                assert!(!seen.ended.contains(&generation), "I2: {name}: {generation} was released");
            }
            Begun::Answered(_) | Begun::Failed => {}
        }
    }

    fn hold(&mut self, name: &str, claimed: Claimed) {
        let seen = self.seen.entry(name.to_owned()).or_default();
        seen.issued = seen.issued.max(claimed.generation);
        for stream in &claimed.streams {
            let offset = Offset::parse(&stream.tail_offset).expect("an offset");
            seen.explained.insert((stream.path.clone(), offset));
        }
        self.held.push((name.to_owned(), claimed));
    }

    /// A current or former holder of a wake sends a request.
    fn speak(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let recent =
            if self.random.bool() { self.held.len() - 1 } else { self.random.usize(..self.held.len()) };
        let (name, claimed) = self.held[recent].clone();
        let mut request = wake_request(&name, &claimed, self.random.u8(..3) > 0);
        match self.random.u8(..8) {
            0 => request.acks.clear(),
            1 => drop(request.acks.pop()),
            2 => {
                // One ack is invalid, so none is applied.
                let offset = request.acks.first().and_then(|ack| ack.offset);
                request.acks.push(Ack { path: "nobody/links/this".into(), offset });
            }
            3 | 4 => {
                // The true tail, which the subscription may not know yet. A later ack of the snapshot is then older.
                if let Some(path) = request.acks.first().map(|ack| ack.path.clone()) {
                    self.post(&path);
                }
                for ack in &mut request.acks {
                    ack.offset = self.truth(&ack.path).map(|tail| tail.offset).or(ack.offset);
                }
            }
            _ => {}
        }
        let seen = self.seen.entry(name.clone()).or_default();
        let explained = seen.explained.clone();
        for ack in &request.acks {
            seen.explained.extend(ack.offset.map(|offset| (ack.path.clone(), offset)));
        }
        let generation = claimed.generation;
        let is_webhook = self.subscriptions[&name]["type"] == "webhook";
        let is_done = request.done;
        let request = match self.random.u8(..5) {
            0 if !is_webhook => SubscriptionRequest::Release(request),
            _ if is_webhook => SubscriptionRequest::Callback(request),
            _ => SubscriptionRequest::Ack(request),
        };
        let releases = matches!(request, SubscriptionRequest::Release(_));
        let newest = seen.issued;
        let leased = seen.leased;
        let begun = self.request(&name, request);
        let is_accepted =
            matches!(begun, Begun::Answered(SubscriptionAnswer::Acked { .. } | SubscriptionAnswer::Done));
        let seen = self.seen.entry(name.clone()).or_default();
        if matches!(begun, Begun::Answered(SubscriptionAnswer::Refused(_))) {
            seen.explained = explained;
        }
        if is_accepted {
            assert!(generation >= newest, "I2: {name} has accepted generation {generation} after {newest}");
        }
        if let Some((holder, _)) = leased.filter(|(holder, _)| *holder == generation) {
            // The wake may have ended, or its lease was extended.
            let is_extended = is_accepted && !is_done && !releases;
            seen.leased = is_extended.then_some((holder, self.network.now + 1_000));
        }
        match begun {
            Begun::Answered(_) if is_accepted && (is_done || releases) => drop(seen.ended.insert(generation)),
            Begun::Waits(id) if is_done => drop(self.finishing.insert(id, (name, generation))),
            Begun::Answered(_) | Begun::Waits(_) | Begun::Failed => {}
        }
    }

    fn arm_fault(&mut self) {
        let index = self.random.usize(..self.network.members.len());
        let path = self.network.members.keys().nth(index).expect("there is one").clone();
        let fault = match self.random.u8(..4) {
            0 => Fault::Commit,
            1 => Fault::CommitButStored,
            _ => Fault::Statement(self.random.u32(..6)),
        };
        self.log(format_args!("FAULT {path} {fault:?}"));
        self.network.member(&path).sql.arm(fault);
        self.faulted.insert(path);
    }

    fn pass_time(&mut self) {
        let time = match self.random.u8(..8) {
            0..4 => self.random.u64(..2_000),
            4..6 => self.random.u64(..20_000),
            6 => self.random.u64(..90_000),
            _ => self.random.u64(..4_000_000),
        };
        self.network.now += time;
        self.log(format_args!("WAIT {time}"));
    }

    fn crash(&mut self) {
        let index = self.random.usize(..self.network.members.len());
        let path = self.network.members.keys().nth(index).expect("there is one").clone();
        let arrives = self.random.bool();
        self.log(format_args!("CRASH {path} {arrives}"));
        self.crash_one(&path, arrives);
    }

    fn crash_one(&mut self, path: &str, arrives: bool) {
        for id in self.network.crash(path, arrives) {
            self.claiming.remove(&id);
            self.finishing.remove(&id);
            self.putting.remove(&id);
        }
        // A fault planned for the lost object must not hit its successor.
        self.network.member(path).sql.disarm();
    }

    fn deliver_late(&mut self) {
        if !self.network.late.is_empty() {
            let index = self.random.usize(..self.network.late.len());
            let sent = self.network.late[index].clone();
            self.log(format_args!("LATE {sent:?}"));
            self.network.deliver(index);
        }
    }

    fn ring(&mut self) {
        let due = self.network.next_alarm().filter(|(at, _)| *at <= self.network.now);
        if let Some((_, path)) = due {
            self.log(format_args!("RING {path}"));
            self.network.ring(&path);
        }
    }

    fn settle(&mut self) {
        self.log(format_args!("SETTLE"));
        let answers = self.network.settle();
        self.answered(answers);
    }

    fn answered(&mut self, answers: Vec<(TaskId, Begun)>) {
        for (id, begun) in answers {
            self.log(format_args!("ANSWER {begun:?}"));
            if let Some(name) = self.claiming.remove(&id) {
                self.claim_ended(&name, begun);
            } else if let Begun::Answered(SubscriptionAnswer::Acked { .. }) = begun
                && let Some((name, generation)) = self.finishing.remove(&id)
            {
                self.seen.entry(name).or_default().ended.insert(generation);
            } else if let Begun::Answered(SubscriptionAnswer::Created(_)) = begun
                && let Some(name) = self.putting.remove(&id)
            {
                let is_linked =
                    self.stored(&name).is_some_and(|read| read.stored.state.phase == Phase::Active);
                let mut tails = BTreeMap::new();
                for path in self.paths() {
                    // The cursor of a stream that was deleted meanwhile may be anywhere.
                    let ended =
                        self.network.member(&path).sql.presence().map(|_| Offset::segment_start(u64::MAX));
                    let tail = self.truth(&path).map(|tail| tail.offset).or(ended);
                    tails.extend(tail.map(|tail| (path, tail)));
                }
                self.seen.entry(name).or_default().at_reply = is_linked.then_some(tails);
            }
        }
    }

    fn step_task(&mut self) {
        if self.network.tasks.is_empty() {
            return self.ring();
        }
        let index = self.random.usize(..self.network.tasks.len());
        if !self.network.may_step(index) {
            return;
        }
        let fate = match self.random.u8(..40) {
            _ if !self.has_faults => Fate::Arrives,
            0 => Fate::Lost,
            1 => Fate::Late,
            2 => Fate::Unanswered,
            3 => Fate::Twice,
            _ => Fate::Arrives,
        };
        let hook = match self.random.u8(..20) {
            0..3 => Hook::Fails,
            3 => Hook::FailsFor(30_000),
            4 => Hook::Silent,
            5..9 => Hook::Accepts,
            9 if self.random.u8(..4) == 0 => Hook::Gone,
            _ => Hook::Done,
        };
        if self.trace.is_on() {
            let task = &self.network.tasks[index];
            let (path, sent) = (task.path.clone(), self.network.next_call(index));
            let hook = self.network.is_delivery(index).then_some(hook);
            self.log(format_args!("STEP {path} {sent:?} {hook:?} {fate:?}"));
        }
        let answers = self.network.step(index, fate, Some(hook));
        self.answered(answers.into_iter().collect());
    }

    // The checks after every step.

    fn stored(&mut self, name: &str) -> Option<Rc<Read>> {
        let changes = self.network.members.get(name)?.sql.changes();
        if let Some((_, read)) = self.read.get(name).filter(|(at, _)| *at == changes) {
            return read.clone();
        }
        let read = self.network.member(name).sql.undisturbed(|sql| {
            let stored = if sql.tables().contains(&"subscription".to_owned()) { load(sql) } else { Ok(None) };
            let stored = stored.expect("it is readable")?;
            let mut links: BTreeMap<String, StreamLink> =
                next_links(sql, "", 100_000).expect("they are readable").into_iter().collect();
            links.extend(stored.links.clone());
            Some(Rc::new(Read { stored, links }))
        });
        self.read.insert(name.to_owned(), (changes, read.clone()));
        read
    }

    /// The true tail of a stream, if it exists.
    fn truth(&mut self, path: &str) -> Option<Progress> {
        let (settings, now) = (self.network.settings, self.network.now);
        let changes = self.network.members.get(path)?.sql.changes();
        if let Some((_, tail)) = self.tails.get(path).filter(|(at, _)| *at == changes) {
            return *tail;
        }
        let tail = self.network.member(path).sql.undisturbed(|sql| {
            let (mut object, sockets) = (Object::new(settings), HostSockets::default());
            let ports = Ports { sql, sockets: &sockets };
            let said = object.answer(&ports, path, &Call::Describe, &String::new, now);
            let Answered::Described(Some(described)) = said.expect("it is readable").answered else {
                return None;
            };
            Some(Progress { offset: described.tail?, closed: described.closed? })
        });
        self.tails.insert(path.to_owned(), (changes, tail));
        tail
    }

    fn check_stored(&mut self) {
        let names: Vec<String> = self.subscriptions.keys().cloned().collect();
        for name in names {
            let changes = self.network.members.get(&name).map(|member| member.sql.changes());
            if self.checked.get(&name).copied() != changes {
                self.check_subscription(&name);
                self.checked.extend(changes.map(|changes| (name, changes)));
            }
        }
    }

    fn check_subscription(&mut self, name: &str) {
        let Some(read) = self.stored(name) else { return };
        let mut seen = self.seen.remove(name).unwrap_or_default();
        self.check_state(name, &read, &mut seen);
        if !read.stored.has_ended() {
            self.check_cursors(name, &read, &mut seen);
        }
        self.seen.insert(name.to_owned(), seen);
    }

    fn check_state(&mut self, name: &str, Read { stored, links }: &Read, seen: &mut Seen) {
        let state = &stored.state;
        let is_parked = state.phase == Phase::Parked;
        assert!(is_parked || !seen.is_parked || seen.resumes, "{name}: no request has ended parking");
        assert!(!is_parked || state.wake.is_none(), "{name}: a wake while it is parked: {:?}", state.wake);
        if is_parked && !seen.is_parked {
            seen.resumes = false;
        }
        seen.is_parked = is_parked;
        assert!(state.incarnation >= seen.incarnation, "{name}: the incarnation went back");
        assert!(state.generation >= seen.generation, "I3: {name}: the generation went back");
        if state.incarnation > seen.incarnation {
            (seen.incarnation, seen.acked) = (state.incarnation, BTreeMap::new());
            seen.added.clear();
            // The end of the last subscription has ended its wake.
            seen.leased = None;
        }
        if let Some(wake) = &state.wake {
            assert_eq!(wake.generation, state.generation, "{name}");
            assert!(!seen.ended.contains(&wake.generation), "I2: {name}: its holder has ended {wake:?}");
            if wake.generation > seen.generation {
                assert_ne!(wake.id, seen.wake_id, "I3: {name}: the id of a wake was used again");
                assert!(!wake.streams.is_empty(), "I5: {name}: a wake of nothing");
                for snapshot in &wake.streams {
                    let tail = self.truth(&snapshot.path);
                    assert!(
                        tail.is_none_or(|tail| tail >= snapshot.tail),
                        "I5: {name} {snapshot:?} {tail:?}"
                    );
                    let acked = links
                        .get(&snapshot.path)
                        .map_or(Some(Progress { closed: false, offset: Offset::segment_start(0) }), |link| {
                            link.acked
                        });
                    assert!(
                        acked.is_some_and(|acked| snapshot.tail > acked),
                        "I5: {name} {snapshot:?} {acked:?}"
                    );
                }
            } else {
                assert!(seen.wake_id.is_empty() || wake.id == seen.wake_id, "I3: {name}");
            }
            seen.wake_id.clone_from(&wake.id);
        }
        seen.generation = state.generation;
    }

    fn check_cursors(&mut self, name: &str, Read { stored, links }: &Read, seen: &mut Seen) {
        let is_left = |path: &&String| links.get(*path).is_none_or(|link| link.removed);
        seen.restarts.extend(seen.acked.keys().filter(is_left).cloned().collect::<Vec<_>>());
        for (path, link) in links {
            let Some(acked) = link.acked.filter(|_| !link.removed) else { continue };
            let restarts = seen.restarts.remove(path);
            let before = seen.acked.insert(path.clone(), acked);
            if before == Some(acked) {
                continue;
            }
            let is_explained = seen.explained.contains(&(path.clone(), acked.offset));
            let is_of_put =
                !link.explicit || stored.config.streams.contains(path) && !seen.added.contains_key(path);
            if (before.is_none() || restarts)
                && is_of_put
                && let Some(tails) = &seen.at_reply
            {
                let tail = tails.get(path).copied().unwrap_or(Offset::segment_start(0));
                assert!(
                    is_explained || acked.offset.position == 0 || acked.offset <= tail,
                    "I8: {name}: the link to {path} begins at {acked:?}, after {tail:?} when it was created"
                );
            }
            let life = self.truth(path);
            assert!(
                life.is_none_or(|tail| tail >= acked),
                "I4: {name}: {path} was acked beyond its tail {life:?}"
            );
            let Some(before) = before else { continue };
            let is_late = |added_at: &Millis| {
                acked.offset >= self.tail_before(path, added_at.saturating_sub(CLOCKS_DIFFER_MAX))
            };
            // A late notification of an earlier stream may link its URL again, and wakes once for nothing.
            let is_of_earlier = life.is_none_or(|tail| tail.offset.segment > before.offset.segment);
            assert!(
                acked > before || restarts && (is_of_earlier || seen.added.get(path).is_some_and(is_late)),
                "I4: {name}: the cursor of {path} went from {before:?} to {acked:?}"
            );
            let is_birth =
                link.glob && acked.offset.position == 0 && acked.offset.segment > before.offset.segment;
            assert!(
                is_explained || is_birth || restarts,
                "I6: {name}: nobody acked {acked:?} of {path}, after {before:?}"
            );
        }
    }

    fn check_deliveries(&mut self) {
        while let Some(delivery) = self.network.delivered.get(self.looked_at) {
            self.looked_at += 1;
            let body = delivery.body.clone();
            let name = format!("__ds/subscriptions/{}", body["subscription_id"].as_str().expect("an id"));
            let claimed = claimed_by(&body);
            self.log(format_args!("DELIVERED {name} {:?}", claimed.streams));
            let seen = self.seen.entry(name.clone()).or_default();
            assert!(
                claimed.generation >= seen.issued,
                "I3: {name}: {} after {}",
                claimed.generation,
                seen.issued
            );
            self.hold(&name, claimed);
        }
    }

    // The end, when faults have stopped.

    fn end(&mut self) {
        self.log(format_args!("END"));
        (self.network.hook, self.has_faults) = (Hook::Done, false);
        let paths: Vec<String> = self.network.members.keys().cloned().collect();
        for path in &paths {
            self.network.member(path).sql.disarm();
        }
        self.settle();
        if self.random.bool() {
            self.network.late.clear();
        }
        let names: Vec<String> = self.subscriptions.keys().cloned().collect();
        for name in &names {
            if self.stored(name).is_some_and(|read| read.stored.state.phase == Phase::Parked) {
                let _begun = self.request(name, SubscriptionRequest::Resume);
            }
        }
        if self.random.u8(..8) == 0 {
            self.let_endpoints_fail();
        }
        let rests = if self.owes_birth() { REST_MAX } else { self.links_rest_for() };
        self.let_all_be_woken(rests + WITHIN);
        self.check_end("at the end");
        // Very late calls change nothing.
        while !self.network.late.is_empty() {
            self.deliver_late();
        }
        self.let_all_be_woken(WITHIN);
        self.check_end("after what came very late");
        self.append_to_all(false);
        self.let_all_be_woken(WITHIN);
        self.check_end("after another message");
        self.append_to_all(true);
        self.let_all_be_woken(WITHIN);
        self.check_end("after a message whose stream has crashed");
        for path in &paths {
            self.crash_one(path, false);
        }
        self.append_to_all(false);
        self.let_all_be_woken(WITHIN);
        self.check_end("after all have crashed");
        self.check_idle();
        let mut events = BTreeSet::new();
        // A holder that links the wake stream has also posted to it.
        let is_posted = |message: &Value| *message == json!(1);
        for event in self.network.messages(WAKES).into_iter().filter(|message| !is_posted(message)) {
            let of = (event["subscription_id"].to_string(), event["generation"].as_u64());
            assert!(events.insert(of), "a wake was written twice: {event}");
        }
    }

    /// Whether a report of a stream's creation to the registry rests. Patterns find the stream once it has arrived.
    fn owes_birth(&mut self) -> bool {
        let registries = self.network.settings.registries;
        let is_owed = |path: &String| {
            self.network.members.get(path).is_some_and(|member| {
                member.sql.presence().is_some_and(|stored| stored.live == 1)
                    && unreported(&member.sql, registries, 1) != Ok(None)
            })
        };
        self.streams.iter().any(is_owed)
    }

    /// The longest time for which a stream rests that has not answered. Its link follows once it is called again.
    fn links_rest_for(&mut self) -> Millis {
        let now = self.network.now;
        let names: Vec<String> = self.subscriptions.keys().cloned().collect();
        let read: Vec<Rc<Read>> = names.iter().filter_map(|name| self.stored(name)).collect();
        let links = read.iter().filter(|read| !read.stored.has_ended()).flat_map(|read| read.links.values());
        let rests = links.filter_map(|link| link.failing_since).map(|since| now - since);
        rests.max().map_or(0, |rests| rests.min(REST_MAX))
    }

    /// Endpoints fail for some minutes. Subscriptions crash between their retries, and requests load them again.
    fn let_endpoints_fail(&mut self) {
        self.network.hook = Hook::Fails;
        self.append_to_all(false);
        for _ in 0..12 {
            let time = self.random.u64(..70_000);
            self.let_all_be_woken(time);
            let name = self.subscription();
            self.crash_one(&name, false);
            let _begun = self.request(&name, SubscriptionRequest::Get);
        }
        self.network.hook = Hook::Done;
    }

    fn append_to_all(&mut self, crashes: bool) {
        self.log(format_args!("APPEND TO ALL {crashes}"));
        let streams = self.streams.clone();
        for path in &streams {
            self.post(path);
            if crashes {
                let arrives = self.random.bool();
                self.crash_one(path, arrives);
            }
        }
    }

    /// Lets time pass, while endpoints and workers behave correctly.
    fn let_all_be_woken(&mut self, time: Millis) {
        let until = self.network.now + time;
        loop {
            self.settle();
            self.work();
            self.check_deliveries();
            self.check_stored();
            let Some((at, path)) = self.network.next_alarm().filter(|(at, _)| *at <= until) else { break };
            self.network.now = self.network.now.max(at);
            self.log(format_args!("RING {path}"));
            self.network.ring(&path);
        }
        self.network.now = until;
    }

    /// Workers claim in response to wake events, ack, and finish.
    fn work(&mut self) {
        let names: Vec<String> = self.subscriptions.keys().cloned().collect();
        for name in names {
            let Some(read) = self.stored(&name) else { continue };
            let Read { stored, .. } = &*read;
            let Some(wake) = stored.state.wake.as_ref().filter(|wake| wake.holder.is_none()) else {
                continue;
            };
            let id = &stored.name.id;
            let is_of_wake = |event: &Value| {
                event["subscription_id"] == id.as_str() && event["generation"] == wake.generation
            };
            if stored.config.pattern.is_none() && stored.config.streams.is_empty()
                || !self.network.messages(WAKES).iter().any(is_of_wake)
            {
                continue;
            }
            let begun = self.request(&name, SubscriptionRequest::Claim { holder: "last".into() });
            let Begun::Answered(SubscriptionAnswer::Claimed(claimed)) = begun else { continue };
            self.hold(&name, claimed.clone());
            let request = SubscriptionRequest::Ack(wake_request(&name, &claimed, true));
            let _begun = self.request(&name, request);
            self.seen.entry(name).or_default().leased = None;
            self.settle();
        }
    }

    fn check_end(&mut self, when: &str) {
        let names: Vec<String> = self.subscriptions.keys().cloned().collect();
        for name in names {
            let Some(read) = self.stored(&name).filter(|read| !read.stored.has_ended()) else { continue };
            let Read { stored, links } = &*read;
            assert_eq!(stored.state.phase, Phase::Active, "{when}: {name}");
            self.check_links(&name, &read, when);
            for (path, link) in links {
                let acked = link.acked.expect("every link has a cursor");
                let Some(tail) = self.truth(path) else { continue };
                // An empty stream begins after the cursor and has nothing to read.
                let is_empty = tail.offset.position == 0 && !tail.closed;
                assert!(
                    acked == tail || is_empty && acked < tail,
                    "I1: {when}: {name} was not woken for {path}: {link:?}, tail {tail:?}"
                );
            }
        }
    }

    fn check_links(&mut self, name: &str, Read { stored, links }: &Read, when: &str) {
        for path in &self.paths() {
            // An empty stream is linked by its first append.
            let is_live = self.truth(path).is_some_and(|tail| tail.offset.position > 0 || tail.closed);
            let matches = matches(stored, path);
            let seen = &self.seen[name];
            let is_explicit = seen.explicit.contains(path);
            let link = links.get(path).filter(|link| !link.removed);
            let shown = link.map(|link| (link.explicit, link.glob));
            if seen.unknown.contains(path) {
                continue;
            }
            assert!(!matches || !is_live || link.is_some(), "I8: {when}: {name} does not link {path}");
            assert!(
                !is_explicit || shown.is_some_and(|(explicit, _)| explicit),
                "I8: {when}: {name} lost {path}"
            );
            assert!(
                is_explicit || shown.is_none_or(|(explicit, _)| !explicit),
                "I8: {when}: {name} still has {path}"
            );
            assert!(is_explicit || matches || link.is_none(), "I8: {when}: {name} links {path}: {link:?}");
        }
    }

    /// Checks that no idle object has an alarm.
    fn check_idle(&mut self) {
        for _ in 0..self.network.members.len() * 12 {
            let Some((at, path)) = self.network.next_alarm() else { return };
            self.network.now = self.network.now.max(at);
            self.log(format_args!("RING {path}"));
            self.network.ring(&path);
            self.settle();
        }
        panic!("alarms go on: {:?}", self.network.next_alarm());
    }
}

fn configuration(random: &mut fastrand::Rng, streams: &[String]) -> Value {
    let mut body = json!({ "lease_ttl_ms": ([1_000, 10_000, 60_000][random.usize(..3)]) });
    if random.bool() {
        body["type"] = json!("webhook");
        body["webhook"] = json!({ "url": "https://example.com/" });
    } else {
        body["type"] = json!("pull-wake");
        body["wake_stream"] = json!(WAKES);
    }
    let has_pattern = random.bool();
    if has_pattern {
        body["pattern"] = json!((["e/*", "**", "e/**", "*/a"][random.usize(..4)]));
    }
    let explicit: Vec<&String> = if streams.len() > STREAMS.len() && random.bool() {
        streams.iter().collect()
    } else {
        streams.iter().take(STREAMS.len()).filter(|_| random.u8(..3) == 0).collect()
    };
    if !explicit.is_empty() || !has_pattern {
        let named = if explicit.is_empty() { vec![&streams[0]] } else { explicit };
        body["streams"] = json!(named);
    }
    body
}

/// Whether the subscription's pattern links a stream.
fn matches(stored: &Subscription, path: &str) -> bool {
    let pattern = stored.config.whole_pattern(&stored.name);
    let is_own = stored.config.channel.is_wake_stream(path);
    path != REGISTRY
        && !is_own
        && pattern.is_some_and(|text| Pattern::parse(&text).expect("a pattern").matches(path))
}
