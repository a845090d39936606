//! A network of objects: streams, subscriptions and the registry, each with its own storage and alarm, and webhook
//! endpoints. The test decides the fate of each call between objects and of each delivery. Everything that waits is a
//! task, which continues when the test decides. Any event may occur between two steps of a task.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};

use durable_streams::object::effect::{CallResult, Calling, Calls, Effect, Outcome as Ended, Post};
use durable_streams::object::said::{SETTLES_MAX, Said};
use durable_streams::object::subscription::{After, Responded};
use durable_streams::object::{Answer, Settings};
use durable_streams::protocol::Millis;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::registry::Registries;
use durable_streams::protocol::subscription::SubscriptionName;
use durable_streams::protocol::subscription::answer::{Claimed, Shown, SubscriptionAnswer, WokenStream};
use durable_streams::protocol::subscription::config::SubscriptionConfig;
use durable_streams::protocol::subscription::request::{SubscriptionRequest, WakeRequest};
use durable_streams::protocol::subscription::webhook_url::UrlRules;
use durable_streams::storage::Failure;
use durable_streams::storage::subscription::load;
use durable_streams::subscription::delivery::Delivered;
use serde_json::Value;

use super::objects::{Fate, Objects, Sent, Task, TaskId, Work, settings};
use super::{Request, Response};

/// The URL of the control root in answers and deliveries.
pub(crate) const BASE: &str = "https://streams.test/v1/stream/__ds";
/// The most steps before the network must be idle.
const STEPS_MAX: usize = 100_000;

/// The objects, and the deliveries that endpoints have received.
pub(crate) struct Network {
    objects: Objects<Doing>,
    /// The next answers of endpoints. When there are none left, `hook` is the answer.
    pub(crate) hooks: VecDeque<Hook>,
    pub(crate) hook: Hook,
    /// Whether endpoints are slow. If so, their deliveries are tasks that `settle` skips.
    pub(crate) is_slow: bool,
    /// The deliveries that arrived, the oldest first.
    pub(crate) delivered: Vec<Delivery>,
    /// All calls made so far, regardless of their fate.
    pub(crate) calls: Vec<Sent>,
    /// The deliveries that have failed, by the names of their subscriptions.
    backoffs: BTreeMap<String, Backoff>,
}

/// The failed deliveries of a subscription.
#[derive(Clone, Copy, Default, Debug)]
struct Backoff {
    failures: u32,
    /// The earliest time of the next delivery.
    until: Millis,
}

impl Deref for Network {
    type Target = Objects<Doing>;

    fn deref(&self) -> &Objects<Doing> {
        &self.objects
    }
}

impl DerefMut for Network {
    fn deref_mut(&mut self) -> &mut Objects<Doing> {
        &mut self.objects
    }
}

/// A delivery that an endpoint has received.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) at: Millis,
    pub(crate) url: String,
    pub(crate) body: Value,
}

/// The answer of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hook {
    /// 200 with `{"done":true}`.
    Done,
    /// 200 without this body.
    Accepts,
    /// A status other than 2xx.
    Fails,
    /// A status other than 2xx, with `Retry-After`.
    FailsFor(Millis),
    /// 410.
    Gone,
    /// The endpoint never answers.
    Silent,
    /// The server cannot sign the delivery.
    Unsigned,
}

#[expect(clippy::large_enum_variant, reason = "a test has few tasks at a time")]
pub(crate) enum Doing {
    /// An effect that a driver started, with the results of its calls so far, and its outcome if it has ended.
    Effect { effect: Effect, results: Vec<CallResult>, ended: Option<Ended> },
    /// A client's request, which waits for the object to settle.
    Request { after: After, since: Millis },
}

impl Work for Doing {
    fn of_effect(effect: Effect) -> Doing {
        Doing::Effect { effect, results: Vec::new(), ended: None }
    }

    fn next_call(&self) -> Option<Sent> {
        match self {
            Doing::Effect { effect: Effect::Call(Calling { to, call, .. }), ended: None, .. } => {
                Some(Sent::new(to, call))
            }
            Doing::Effect { effect: Effect::Calls(Calls { calls, .. }), results, ended: None } => {
                let (to, call) = calls.get(results.len())?;
                Some(Sent::new(to, call))
            }
            Doing::Effect { .. } | Doing::Request { .. } => None,
        }
    }
}

/// The immediate result of a client's request to a subscription.
#[derive(Debug)]
pub(crate) enum Begun {
    Answered(SubscriptionAnswer),
    /// The object failed.
    Failed,
    Waits(TaskId),
}

impl Network {
    pub(crate) fn new(seed: u64) -> Network {
        let settings = Settings { registries: Registries::One, ..settings() };
        Network {
            objects: Objects::new(seed, settings),
            hooks: VecDeque::new(),
            hook: Hook::Done,
            is_slow: false,
            delivered: Vec::new(),
            calls: Vec::new(),
            backoffs: BTreeMap::new(),
        }
    }

    // Requests to streams.

    /// Sends a request to a stream, and finishes all tasks.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str) -> Response {
        let response = self.begin(request);
        self.settle();
        response
    }

    /// Sends a request to a stream, and starts the resulting tasks.
    #[track_caller]
    pub(crate) fn begin(&mut self, request: &str) -> Response {
        let answer = self.serve(&Request::parse(request)).answer;
        let Answer::Reply(reply) = answer else { panic!("{answer:?}") };
        Response::of_reply(reply)
    }

    /// Creates streams of JSON messages.
    #[track_caller]
    pub(crate) fn create(&mut self, paths: &[&str]) {
        for path in paths {
            let response = self.ask(&format!("PUT /v1/stream/{path} | content-type: application/json"));
            assert!(response.status < 300, "{path}: {response:?}");
        }
    }

    /// Appends one message.
    #[track_caller]
    pub(crate) fn append(&mut self, path: &str) -> String {
        let response =
            self.ask(&format!("POST /v1/stream/{path} | content-type: application/json << [{{\"a\":1}}]"));
        assert!(response.status < 300, "{path}: {response:?}");
        response.header("stream-next-offset").expect("an offset").to_owned()
    }

    /// The messages of a stream.
    #[track_caller]
    pub(crate) fn messages(&mut self, path: &str) -> Vec<Value> {
        let response = self.begin(&format!("GET /v1/stream/{path}"));
        if response.status == 404 { Vec::new() } else { serde_json::from_slice(&response.body).unwrap() }
    }

    // Requests to subscriptions.

    /// Sends a request to a subscription, and finishes all tasks.
    #[track_caller]
    pub(crate) fn request(&mut self, name: &str, request: SubscriptionRequest) -> SubscriptionAnswer {
        match self.begin_request(name, request) {
            Begun::Answered(answer) => {
                self.settle();
                answer
            }
            Begun::Waits(id) => self.finish(id),
            Begun::Failed => panic!("{name} failed"),
        }
    }

    /// Sends a request to a subscription, serialized as on the platform.
    pub(crate) fn begin_request(&mut self, name: &str, request: SubscriptionRequest) -> Begun {
        self.member(name);
        if matches!(
            request,
            SubscriptionRequest::Put { .. } | SubscriptionRequest::Delete | SubscriptionRequest::Resume
        ) {
            self.backoffs.remove(name);
        }
        let call = Call::parse(&Call::Subscription(request).to_json());
        let random = self.random();
        let said =
            self.touch(name, |object, ports, now, path| object.answer(ports, path, &call, &random, now));
        match said {
            Ok(Said { after: Some(after), .. }) => {
                let since = self.now;
                Begun::Waits(self.wait_for(name, Doing::Request { after, since }))
            }
            Ok(Said { answered, .. }) => {
                let answered = Answered::parse(&answered.to_json());
                let Answered::Subscription(answer) = answered else { panic!("{answered:?}") };
                Begun::Answered(answer)
            }
            Err(_) => Begun::Failed,
        }
    }

    /// Finishes all tasks, including this request.
    #[track_caller]
    pub(crate) fn finish(&mut self, id: TaskId) -> SubscriptionAnswer {
        for _ in 0..2 {
            for (task, begun) in self.settle() {
                match begun {
                    Begun::Answered(answer) if task == id => return answer,
                    Begun::Failed if task == id => panic!("the object failed"),
                    Begun::Answered(_) | Begun::Failed | Begun::Waits(_) => {}
                }
            }
            // A request that does not settle is answered after this time.
            self.now += SETTLES_MAX;
        }
        panic!("the request is never answered");
    }

    /// Sends a PUT with this body.
    #[track_caller]
    pub(crate) fn put(&mut self, name: &str, body: &Value) -> SubscriptionAnswer {
        let request = put_request(name, body);
        self.request(name, request)
    }

    /// Sends a PUT that must create the subscription.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, name: &str, body: &Value) -> Shown {
        let answer = self.put(name, body);
        let SubscriptionAnswer::Created(shown) = answer else { panic!("{name}: {answer:?}") };
        *shown
    }

    #[track_caller]
    pub(crate) fn shown(&mut self, name: &str) -> Shown {
        let answer = self.request(name, SubscriptionRequest::Get);
        let SubscriptionAnswer::Shown(shown) = answer else { panic!("{name}: {answer:?}") };
        *shown
    }

    #[track_caller]
    pub(crate) fn claim(&mut self, name: &str) -> Claimed {
        let answer = self.request(name, SubscriptionRequest::Claim { holder: "w1".into() });
        let SubscriptionAnswer::Claimed(claimed) = answer else { panic!("{name}: {answer:?}") };
        claimed
    }

    // Tasks.

    /// Takes steps until no work is left at this time. Returns the answers of requests.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> Vec<(TaskId, Begun)> {
        let mut answers = Vec::new();
        for _ in 0..STEPS_MAX {
            let next = (0..self.tasks.len()).find(|index| {
                let is_held = self.is_slow && self.is_delivery(*index);
                self.may_step(*index) && !is_held
            });
            let Some(index) = next else { return answers };
            answers.extend(self.step(index, Fate::Arrives, None));
        }
        panic!("there is no end of it: {:?}", self.calls.iter().rev().take(6).collect::<Vec<_>>());
    }

    /// Whether the next step of a task is a delivery to a webhook.
    pub(crate) fn is_delivery(&self, index: usize) -> bool {
        matches!(&self.tasks[index].doing, Doing::Effect { effect: Effect::Post(_), ended: None, .. })
    }

    /// Whether a task can take a step. A request can do so only after its object has settled.
    pub(crate) fn may_step(&self, index: usize) -> bool {
        let Task { path, doing, .. } = &self.tasks[index];
        match doing {
            Doing::Effect { .. } => true,
            Doing::Request { since, .. } => {
                self.now >= since + SETTLES_MAX || self.members[path].object.is_settled(self.now)
            }
        }
    }

    /// Takes one step of a task. `fate` applies to the call or delivery of this step. `hook` is the endpoint's answer,
    /// instead of the next one in `hooks`. Returns the answer of a request that has finished.
    pub(crate) fn step(&mut self, index: usize, fate: Fate, hook: Option<Hook>) -> Option<(TaskId, Begun)> {
        let Task { id, path, doing } = self.tasks.remove(index);
        match doing {
            Doing::Request { after, .. } => self.step_request(id, path, after),
            Doing::Effect { effect, results, ended } => {
                let call = || Failure::new("call", "it was lost");
                let (results, ended) = match (&effect, ended) {
                    (_, Some(ended)) => {
                        self.note_failure(&path, &effect, &ended);
                        self.end(&path, effect, ended);
                        return None;
                    }
                    (Effect::NextTurn, None) => {
                        self.end(&path, effect, Ended::Done);
                        return None;
                    }
                    (Effect::Call(Calling { to, call: sent, .. }), None) => {
                        let said = self.call(Sent::new(to, sent), fate);
                        (results, Some(said.map_or_else(Ended::Failed, Ended::Answered)))
                    }
                    (Effect::Calls(Calls { calls, .. }), None) => {
                        let mut results = results;
                        if let Some((to, sent)) = calls.get(results.len()) {
                            results.push(self.call(Sent::new(to, sent), fate));
                        }
                        let ended =
                            (results.len() >= calls.len()).then(|| Ended::AllAnswered(results.clone()));
                        (results, ended)
                    }
                    (Effect::Post(post), None) => {
                        self.check_backoff(&path);
                        let answered = self.post(post, fate, hook);
                        (results, Some(answered.map_or_else(|| Ended::Failed(call()), Ended::Delivered)))
                    }
                    (other, None) => panic!("{other:?} is not a task"),
                };
                self.tasks.insert(index, Task { id, path, doing: Doing::Effect { effect, results, ended } });
                None
            }
        }
    }

    fn step_request(&mut self, id: TaskId, path: String, after: After) -> Option<(TaskId, Begun)> {
        let went_on = self.touch(&path, |object, ports, now, _| object.go_on_after(ports, after, now));
        match went_on {
            Ok(Responded::Answer(answer)) => Some((id, Begun::Answered(answer))),
            Ok(Responded::Settle(after)) => {
                let since = self.now;
                self.tasks.push(Task { id, path, doing: Doing::Request { after, since } });
                None
            }
            Err(_) => Some((id, Begun::Failed)),
        }
    }

    fn call(&mut self, sent: Sent, fate: Fate) -> CallResult {
        self.calls.push(sent.clone());
        self.objects.call(sent, fate).map(|said| said.answered)
    }

    fn post(&mut self, post: &Post, fate: Fate, hook: Option<Hook>) -> Option<Delivered> {
        if fate != Fate::Lost {
            self.receive(post);
        }
        let next = self.hooks.pop_front().unwrap_or(self.hook);
        let failed = |retry_after, is_gone| {
            let message = "status 500".to_owned();
            Delivered::Failed { message, retry_after, is_gone }
        };
        let answered = match hook.unwrap_or(next) {
            Hook::Done => Some(Delivered::Done),
            Hook::Accepts => Some(Delivered::Accepted),
            Hook::Fails => Some(failed(None, false)),
            Hook::FailsFor(wait) => Some(failed(Some(wait), false)),
            Hook::Gone => Some(failed(None, true)),
            Hook::Silent => None,
            Hook::Unsigned => Some(Delivered::Unsent { message: "no key".to_owned() }),
        };
        answered.filter(|_| matches!(fate, Fate::Arrives | Fate::Twice))
    }

    /// Notes the outcome of a delivery, which the subscription is about to store.
    fn note_failure(&mut self, name: &str, effect: &Effect, ended: &Ended) {
        let Effect::Post(post) = effect else { return };
        let retry_after = match ended {
            Ended::Delivered(Delivered::Failed { retry_after, is_gone: false, .. }) => *retry_after,
            Ended::Failed(_) => None,
            Ended::Done | Ended::Answered(_) | Ended::AllAnswered(_) | Ended::Delivered(_) => {
                self.backoffs.remove(name);
                return;
            }
        };
        let now = self.now;
        let sql = &self.member(name).sql;
        if sql.is_armed() {
            // The failure may not be stored.
            self.backoffs.remove(name);
            return;
        }
        let stored = load(sql).expect("it is readable").and_then(|stored| stored.state.wake);
        if stored.is_none_or(|wake| wake.generation != post.generation) {
            // The wake has ended meanwhile, so its outcome does not count.
            return;
        }
        let backoff = self.backoffs.entry(name.to_owned()).or_default();
        let wait = 1_000 << backoff.failures.min(16);
        backoff.failures += 1;
        backoff.until = now + (wait.min(60_000) * 4 / 5).max(retry_after.unwrap_or(0));
    }

    /// I9: an endpoint that fails is called ever less often, and about once a minute in the end.
    #[track_caller]
    fn check_backoff(&self, name: &str) {
        let backoff = self.backoffs.get(name).copied().unwrap_or_default();
        assert!(self.now >= backoff.until, "I9: {name} was delivered at {}, after {backoff:?}", self.now);
    }

    fn receive(&mut self, post: &Post) {
        let body = serde_json::from_str(&post.body).expect("a delivery is JSON");
        self.delivered.push(Delivery { at: self.now, url: post.url.clone(), body });
    }

    /// Crashes the object. Its calls and deliveries in flight arrive if `calls_arrive` is set, or else never. Returns
    /// the requests that are never answered.
    pub(crate) fn crash(&mut self, path: &str, calls_arrive: bool) -> Vec<TaskId> {
        for index in 0..self.tasks.len() {
            let Task { path: of, doing, .. } = &self.tasks[index];
            if let Doing::Effect { effect: Effect::Post(post), ended: None, .. } = doing
                && calls_arrive
                && of == path
            {
                let post = post.clone();
                self.receive(&post);
            }
        }
        self.objects.crash(path, calls_arrive)
    }

    // Time.

    /// Lets time pass. Alarms ring when due, and all tasks are finished.
    #[track_caller]
    pub(crate) fn wait(&mut self, time: Millis) {
        let until = self.now + time;
        self.settle();
        while let Some((at, path)) = self.next_alarm().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.ring(&path);
            self.settle();
        }
        self.now = until;
    }
}

/// A PUT with this body. The webhook may be on the server's own machine.
#[track_caller]
pub(crate) fn put_request(name: &str, body: &Value) -> SubscriptionRequest {
    let parsed = SubscriptionName::parse(name).expect("the name of a subscription");
    let rules = UrlRules { allows_loopback: true, ..UrlRules::default() };
    let config = SubscriptionConfig::parse(&parsed, body.to_string().as_bytes(), &rules)
        .expect("a valid configuration");
    SubscriptionRequest::Put { config, base: BASE.to_owned() }
}

/// A callback, an ack or a release of a claimed wake, with acks up to all its tails.
pub(crate) fn wake_request(name: &str, claimed: &Claimed, done: bool) -> WakeRequest {
    let parsed = SubscriptionName::parse(name).expect("the name of a subscription");
    let ack =
        |stream: &WokenStream| serde_json::json!({ "stream": stream.path, "offset": stream.tail_offset });
    let acks: Vec<Value> = claimed.streams.iter().map(ack).collect();
    let body = serde_json::json!({
        "wake_id": claimed.wake_id, "generation": claimed.generation, "acks": acks, "done": done,
    });
    WakeRequest::parse(&parsed, Some(&claimed.token), body.to_string().as_bytes()).expect("a valid request")
}

/// The claim in a delivery, which has the same members as the answer to a claim.
pub(crate) fn claimed_by(delivery: &Value) -> Claimed {
    Claimed {
        wake_id: delivery["wake_id"].as_str().expect("a wake").to_owned(),
        generation: delivery["generation"].as_u64().expect("a generation"),
        token: delivery["callback_token"].as_str().expect("a token").to_owned(),
        streams: serde_json::from_value(delivery["streams"].clone()).expect("streams"),
        lease_ttl_ms: 0,
    }
}
