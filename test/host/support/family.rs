//! Many streams, each with its own object, storage and alarm, and one bucket for all. The test decides the
//! fate of each call between objects. Everything that waits is a task, which continues when the test says so.
//! Between two of its steps, anything may happen.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ::http::Method;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::target::Target;
use durable_streams::object::effect::{Calling, Effect, Outcome as Ended};
use durable_streams::object::fetch::{Fetch, Fetched, PendingRead};
use durable_streams::object::links::Asking;
use durable_streams::object::producers::ProducerLimits;
use durable_streams::object::said::Said;
use durable_streams::object::{Answer, Error, Object, Ports, Settings};
use durable_streams::protocol::Millis;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::command::{Command, Create, Read, RequestHead};
use durable_streams::protocol::fork::InheritedEvents;
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::registry::Registries;
use durable_streams::protocol::reply::Reply;
use durable_streams::storage::Failure;
use durable_streams::storage::chunk::Chunk;
use durable_streams::storage::segment_file;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;

use super::bucket::HostBucket;
use super::http::{Request, Response};
use super::shell::Shell;
use super::sockets::HostSockets;
use super::sql::HostSql;
use super::world::{CHUNK_MAX_BYTES, Outcome, START, millis};

/// The most alarms that ring until none is left.
const ALARMS_MAX: usize = 1_000;

/// The streams, their bucket, and their tasks.
pub(crate) struct Family {
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) bucket: HostBucket,
    pub(crate) now: Millis,
    /// The tasks, oldest first.
    pub(crate) tasks: Vec<Task>,
    /// Calls that were held back. No task waits for their answers.
    pub(crate) late: Vec<Sent>,
    settings: Settings,
    random: Rc<RefCell<fastrand::Rng>>,
    tasks_begun: u64,
    /// Whether owners answer like a build without `Answered::InheritedEvents`.
    pub(crate) has_older_owners: bool,
}

/// One stream's object, with everything that survives the loss of its memory.
pub(crate) struct Member {
    pub(crate) sql: HostSql,
    pub(crate) sockets: HostSockets,
    pub(crate) shell: Shell,
    object: Object,
}

impl Member {
    /// The time for which the alarm is set.
    pub(crate) fn alarm_at(&self) -> Option<Millis> {
        self.shell.alarm_at
    }
}

/// A call to the object at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) to: String,
    pub(crate) call: Call,
}

pub(crate) type TaskId = u64;

/// Something that waits.
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// The stream that the task belongs to.
    pub(crate) path: String,
    pub(crate) doing: Doing,
}

/// The work of a task. Its steps alternate: something happens elsewhere, and then the object continues.
pub(crate) enum Doing {
    /// The creation of a fork.
    Create { request: Box<Create<'static>>, asking: Asking, answered: Option<Result<Answered, Failure>> },
    /// A read of data that is elsewhere.
    Read { request: Read, pending: Box<PendingRead>, fetched: Vec<Fetched> },
    /// An effect that a driver started, and its outcome if it has ended.
    Effect { effect: Effect, ended: Option<Ended> },
}

/// The fate of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Arrives,
    /// The call does not arrive, and fails.
    Lost,
    /// The call fails for the caller, and arrives later.
    Late,
    /// The call arrives, but its answer does not.
    Unanswered,
    /// The call arrives now, and again later.
    Twice,
}

/// The immediate result of a request.
pub(crate) enum Begun {
    Done(Outcome),
    Waits(TaskId),
}

impl Family {
    pub(crate) fn new(seed: u64) -> Family {
        Family::with(seed, CHUNK_MAX_BYTES, None, RetentionDefaults::default())
    }

    pub(crate) fn with(
        seed: u64,
        chunk_max_bytes: usize,
        segments: Option<SegmentLimits>,
        retention: RetentionDefaults,
    ) -> Family {
        let settings = Settings {
            long_poll_timeout: 20_000,
            chunk_max_bytes,
            segments,
            guarded: false,
            hides_public: false,
            has_index: false,
            registries: Registries::Off,
            webhooks_give_up_after: 259_200_000,
            producers: ProducerLimits::SERVED,
            retention,
        };
        Family {
            members: BTreeMap::new(),
            bucket: HostBucket::default(),
            now: START,
            tasks: Vec::new(),
            late: Vec::new(),
            settings,
            random: Rc::new(RefCell::new(fastrand::Rng::with_seed(!seed))),
            tasks_begun: 0,
            has_older_owners: false,
        }
    }

    /// The stream's object, which exists whether or not the stream does.
    pub(crate) fn member(&mut self, path: &str) -> &mut Member {
        let settings = self.settings;
        self.members.entry(path.to_owned()).or_insert_with(|| Member {
            sql: HostSql::in_memory(),
            sockets: HostSockets::default(),
            shell: Shell::default(),
            object: Object::new(settings),
        })
    }

    /// Runs steps one after the other: requests that must succeed, `WAIT 10s`, `CRASH a`, `RING a`.
    #[track_caller]
    pub(crate) fn run(&mut self, steps: &[&str]) {
        for step in steps {
            match step.split_once(' ') {
                Some(("WAIT", time)) => self.now += millis(time),
                Some(("CRASH", path)) => drop(self.crash(path, false)),
                Some(("RING", path)) => {
                    self.ring(path);
                    self.settle();
                }
                _ => {
                    let response = self.ask(step);
                    assert!(response.status < 300, "{step} gave {response:?}");
                }
            }
        }
    }

    /// Sends a request, and finishes all tasks without faults.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str) -> Response {
        self.send_answered(&Request::parse(request))
    }

    #[track_caller]
    pub(crate) fn send_answered(&mut self, request: &Request) -> Response {
        match self.send_request(request) {
            Outcome::Answered(response) => response,
            Outcome::Parked(_, head) => panic!("{request:?} was parked: {head:?}"),
        }
    }

    /// Like `ask`, for an answer that may be a socket.
    pub(crate) fn send(&mut self, request: &str) -> Outcome {
        self.send_request(&Request::parse(request))
    }

    fn send_request(&mut self, request: &Request) -> Outcome {
        let outcome = match self.begin(request) {
            Begun::Done(outcome) => outcome,
            Begun::Waits(id) => self.finish(id),
        };
        self.settle();
        outcome
    }

    /// Finishes one request.
    pub(crate) fn finish(&mut self, id: TaskId) -> Outcome {
        loop {
            if let Some(outcome) = self.advance(id, Fate::Arrives) {
                return outcome;
            }
        }
    }

    /// Takes one step of a task.
    pub(crate) fn advance(&mut self, id: TaskId, fate: Fate) -> Option<Outcome> {
        let index = self.tasks.iter().position(|task| task.id == id).expect("the task waits");
        self.step(index, fate)
    }

    /// Finishes all tasks.
    pub(crate) fn settle(&mut self) -> Vec<(TaskId, Outcome)> {
        let mut outcomes = Vec::new();
        while let Some(task) = self.tasks.first() {
            let id = task.id;
            outcomes.extend(self.step(0, Fate::Arrives).map(|outcome| (id, outcome)));
        }
        outcomes
    }

    /// Sends a request through the Worker's part, and the object's up to where it waits.
    pub(crate) fn begin(&mut self, request: &Request) -> Begun {
        let method: Method = request.method.parse().unwrap();
        let path = match route(&method, &Target::of(&request.url)) {
            Route::Forward(path) | Route::LongPoll(path) | Route::Sse(path) => path.as_str().to_owned(),
            Route::Reply(reply) => return answered(reply),
            Route::Preflight
            | Route::Health
            | Route::Orphans
            | Route::Console(_)
            | Route::Subscriptions(_)
            | Route::Listing => {
                panic!("{request:?} does not address a stream")
            }
        };
        self.member(&path);
        let header = |name: &str| {
            let found = request.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let random = Rc::clone(&self.random);
        let random = || format!("{:032x}", random.borrow_mut().u128(..));
        let head = RequestHead { method: &method, url: &request.url, header: &header, random: &random };
        let command = match Command::parse(&head, &request.body) {
            Ok(command) => command,
            Err(refusal) => return answered(Reply::refused(&refusal)),
        };
        let served = self.touch(&path, |object, ports, now, path| object.serve(ports, path, &command, now));
        match (served, command) {
            (Ok(Answer::Fetch(pending)), Command::Read(request)) => {
                // However many owners the read calls, together they return one chunk.
                let is_inherited = pending.fetches.iter().all(|fetch| matches!(fetch, Fetch::Inherit { .. }));
                assert!(
                    !is_inherited || pending.bytes() <= self.settings.chunk_max_bytes as u64,
                    "{pending:?}"
                );
                let (pending, fetched) = (Box::new(pending), Vec::new());
                Begun::Waits(self.wait(&path, Doing::Read { request, pending, fetched }))
            }
            (Ok(Answer::Ask(asking)), Command::Create(create)) => {
                let request = Box::new(create.into_owned());
                Begun::Waits(self.wait(&path, Doing::Create { request, asking, answered: None }))
            }
            (served, _) => Begun::Done(self.outcome(&path, served)),
        }
    }

    /// Takes one step of a task. If the step makes a call, `fate` decides what becomes of it. Returns the
    /// answer of a request that has finished.
    pub(crate) fn step(&mut self, index: usize, fate: Fate) -> Option<Outcome> {
        let Task { id, path, doing } = self.tasks.remove(index);
        let (doing, outcome) = match doing {
            Doing::Create { request, asking, answered } => {
                self.step_create(&path, request, asking, answered, fate)
            }
            Doing::Read { request, pending, fetched } => {
                self.step_read(&path, request, pending, fetched, fate)
            }
            Doing::Effect { effect, ended } => (self.step_effect(&path, effect, ended, fate), None),
        };
        if let Some(doing) = doing {
            self.tasks.insert(index, Task { id, path, doing });
        }
        outcome
    }

    /// The stream whose storage the next step of a task touches, if any.
    pub(crate) fn touches(&self, index: usize) -> Option<String> {
        let Task { path, doing, .. } = &self.tasks[index];
        let called = self.next_call(index);
        let is_elsewhere = match doing {
            Doing::Read { pending, fetched, .. } => fetched.len() < pending.fetches.len(),
            Doing::Effect { effect, ended } => ended.is_none() && *effect != Effect::NextTurn,
            Doing::Create { .. } => false,
        };
        called.map(|sent| sent.to).or((!is_elsewhere).then(|| path.clone()))
    }

    /// The call that the next step of a task makes, if any.
    pub(crate) fn next_call(&self, index: usize) -> Option<Sent> {
        match &self.tasks[index].doing {
            Doing::Create { asking, answered: None, .. } => Some(sent_by(asking)),
            Doing::Read { pending, fetched, .. } => match pending.fetches.get(fetched.len())? {
                Fetch::Inherit { path, ask } => {
                    Some(Sent { to: path.clone(), call: Call::Inherit(ask.clone()) })
                }
                Fetch::Object { .. } | Fetch::Ending { .. } => None,
            },
            Doing::Effect { effect: Effect::Call(calling), ended: None } => Some(sent_by_driver(calling)),
            Doing::Create { .. } | Doing::Effect { .. } => None,
        }
    }

    /// Delivers a call that was held back.
    pub(crate) fn deliver(&mut self, index: usize) {
        let sent = self.late.remove(index);
        let _not_awaited = self.answer(&sent);
    }

    /// Loses the object's memory and its tasks. Calls in flight arrive later if `calls_arrive`, or never.
    /// Returns the requests that are never answered.
    pub(crate) fn crash(&mut self, path: &str, calls_arrive: bool) -> Vec<TaskId> {
        let mut dropped = Vec::new();
        for index in
            (0..self.tasks.len()).rev().filter(|index| self.tasks[*index].path == path).collect::<Vec<_>>()
        {
            let call = self.next_call(index);
            self.late.extend(call.filter(|_| calls_arrive));
            dropped.push(self.tasks.remove(index).id);
        }
        let (settings, now) = (self.settings, self.now);
        let member = self.member(path);
        member.object = Object::new(settings);
        member.shell.lost_memory(now);
        dropped
    }

    /// Rings the alarm, whether or not it is due.
    pub(crate) fn ring(&mut self, path: &str) {
        let now = self.now;
        let member = self.member(path);
        let ports = Ports { sql: &member.sql, sockets: &member.sockets };
        let begun = member.shell.ring(&mut member.object, &ports, now);
        self.begun(path, begun);
    }

    /// Rings all alarms, each at its time, until none is left. No request is sent meanwhile.
    #[track_caller]
    pub(crate) fn let_alarms_ring(&mut self) {
        for _ in 0..ALARMS_MAX {
            let Some((at, path)) = self.next_alarm() else { return };
            self.now = self.now.max(at);
            self.ring(&path);
            self.settle();
        }
        panic!("alarms still ring after {ALARMS_MAX}");
    }

    /// The time of the next alarm, and its stream.
    pub(crate) fn next_alarm(&self) -> Option<(Millis, String)> {
        let alarms =
            self.members.iter().filter_map(|(path, member)| Some((member.shell.alarm_at?, path.clone())));
        alarms.min()
    }

    /// Runs a step of the object, and then lets its driver continue.
    fn touch<T>(
        &mut self,
        path: &str,
        act: impl FnOnce(&mut Object, &Ports<'_, HostSockets>, Millis, &str) -> T,
    ) -> T {
        let now = self.now;
        let member = self.members.get_mut(path).expect("the member was created before");
        let ports = Ports { sql: &member.sql, sockets: &member.sockets };
        let done = act(&mut member.object, &ports, now, path);
        let begun = member.shell.drive(&mut member.object, &ports, now);
        self.begun(path, begun);
        done
    }

    fn begun(&mut self, path: &str, effects: Vec<Effect>) {
        for effect in effects {
            self.wait(path, Doing::Effect { effect, ended: None });
        }
    }

    fn wait(&mut self, path: &str, doing: Doing) -> TaskId {
        self.tasks_begun += 1;
        self.tasks.push(Task { id: self.tasks_begun, path: path.to_owned(), doing });
        self.tasks_begun
    }

    fn outcome(&self, path: &str, served: Result<Answer, Error>) -> Outcome {
        match served {
            Ok(Answer::Reply(reply)) => Outcome::Answered(Response::of_reply(reply)),
            Ok(Answer::Park(park)) => {
                let head = Response::of_reply(park.head.clone());
                Outcome::Parked(self.members[path].sockets.accept(&park), head)
            }
            Ok(other @ (Answer::Fetch(_) | Answer::Ask(_))) => panic!("{other:?} must be a task"),
            Err(Error::Refused(refusal)) => Outcome::Answered(Response::of_reply(Reply::refused(&refusal))),
            Err(Error::Failed(_)) => Outcome::Answered(Response::of_reply(Reply::failed())),
        }
    }

    // Calls.

    fn call(&mut self, sent: Sent, fate: Fate) -> Result<Said, Failure> {
        let lost = Failure::new("call", "it was lost");
        match fate {
            Fate::Arrives => self.answer(&sent),
            Fate::Lost => Err(lost),
            Fate::Late => {
                self.late.push(sent);
                Err(lost)
            }
            Fate::Unanswered => self.answer(&sent).and(Err(lost)),
            Fate::Twice => {
                let said = self.answer(&sent);
                self.late.push(sent);
                said
            }
        }
    }

    /// Answers a call from one stream to another, both in serialized form as on the platform.
    fn answer(&mut self, Sent { to, call }: &Sent) -> Result<Said, Failure> {
        self.member(to);
        let call = Call::parse(&call.to_json());
        let said =
            self.touch(to, |object, ports, now, path| object.answer(ports, path, &call, &String::new, now));
        let Said { mut answered, bytes, .. } = said?;
        if let Answered::InheritedEvents(InheritedEvents { next, .. }) = &answered
            && self.has_older_owners
        {
            answered = Answered::Inherited(*next);
        }
        Ok(Said { bytes, ..Answered::parse(&answered.to_json()).into() })
    }

    // Tasks, as `src/cloudflare` performs them.

    fn step_create(
        &mut self,
        path: &str,
        request: Box<Create<'static>>,
        asking: Asking,
        answered: Option<Result<Answered, Failure>>,
        fate: Fate,
    ) -> (Option<Doing>, Option<Outcome>) {
        let Some(answered) = answered else {
            let answered = Some(self.call(sent_by(&asking), fate).map(|said| said.answered));
            return (Some(Doing::Create { request, asking, answered }), None);
        };
        let confirmed = self.touch(path, |object, ports, now, path| {
            object.confirm(ports, path, &request, asking, answered, now)
        });
        match confirmed {
            Ok(Answer::Ask(asking)) => (Some(Doing::Create { request, asking, answered: None }), None),
            served => (None, Some(self.outcome(path, served))),
        }
    }

    fn step_read(
        &mut self,
        path: &str,
        request: Read,
        pending: Box<PendingRead>,
        mut fetched: Vec<Fetched>,
        fate: Fate,
    ) -> (Option<Doing>, Option<Outcome>) {
        if let Some(fetch) = pending.fetches.get(fetched.len()) {
            fetched.push(self.fetch(fetch, fate).unwrap_or_else(Fetched::Failed));
            return (Some(Doing::Read { request, pending, fetched }), None);
        }
        let (fetched, passed) = pass_on(&pending, &request, fetched);
        let resumed =
            self.touch(path, |object, ports, now, _| object.resume(ports, &request, &pending, &fetched, now));
        let served = resumed.map(|answer| match answer {
            Answer::Reply(reply) => {
                let passed = passed.filter(|(next, _)| pending.has_bytes_of(*next, &reply));
                let body = passed.map_or_else(|| reply.body.clone(), |(_, body)| body);
                Answer::Reply(Reply { body, ..reply })
            }
            answer @ (Answer::Park(_) | Answer::Fetch(_) | Answer::Ask(_)) => answer,
        });
        match served {
            Ok(Answer::Fetch(pending)) => {
                (Some(Doing::Read { request, pending: Box::new(pending), fetched: Vec::new() }), None)
            }
            served => (None, Some(self.outcome(path, served))),
        }
    }

    fn fetch(&mut self, fetch: &Fetch, fate: Fate) -> Result<Fetched, Failure> {
        match fetch {
            Fetch::Object { .. } | Fetch::Ending { .. } if fate == Fate::Lost => {
                Err(Failure::new("read bucket", "it was lost"))
            }
            Fetch::Object { .. } | Fetch::Ending { .. } => Ok(self.bucket.fetch(fetch)),
            Fetch::Inherit { path, ask } => {
                Fetched::of(self.call(Sent { to: path.clone(), call: Call::Inherit(ask.clone()) }, fate)?)
            }
        }
    }

    fn step_effect(&mut self, path: &str, effect: Effect, ended: Option<Ended>, fate: Fate) -> Option<Doing> {
        let ended = match (&effect, ended) {
            (_, Some(ended)) => ended,
            (Effect::NextTurn, None) => Ended::Done,
            (Effect::Put(_) | Effect::Delete(_), None) => {
                let ended = Some(self.bucket.take(&effect));
                return Some(Doing::Effect { effect, ended });
            }
            (Effect::Call(calling), None) => {
                let said = self.call(sent_by_driver(calling), fate);
                let ended = said.map_or_else(Ended::Failed, |said| Ended::Answered(said.answered));
                return Some(Doing::Effect { effect, ended: Some(ended) });
            }
            (
                Effect::SetAlarm(_) | Effect::Log(_) | Effect::Index(_) | Effect::Calls(_) | Effect::Post(_),
                None,
            ) => {
                panic!("{effect:?} is not a task")
            }
        };
        let now = self.now;
        let member = self.member(path);
        let ports = Ports { sql: &member.sql, sockets: &member.sockets };
        let begun = member.shell.done(&mut member.object, &ports, effect, ended, now);
        self.begun(path, begun);
        None
    }

    // Assertions.

    /// Asserts that the bucket has a whole object for each row of all streams, and no other object.
    #[track_caller]
    pub(crate) fn assert_bucket_is_tidy(&self) {
        let mut keys: Vec<String> =
            self.members.values().flat_map(|member| member.sql.segment_keys()).collect();
        keys.sort_unstable();
        assert!(self.bucket.objects.keys().eq(keys.iter()), "{:?}, but {keys:?}", self.bucket.objects.keys());
        for (key, object) in &self.bucket.objects {
            segment_file::parse(object).unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
        }
    }

    /// Asserts that each fork's link is stored at its source, that no other links are stored, and that a
    /// deleted stream either has forks or is gone.
    #[track_caller]
    pub(crate) fn assert_edges_are_true(&self) {
        let mut at_sources = Vec::new();
        let mut at_forks = Vec::new();
        for (path, member) in &self.members {
            let holders = member.sql.holders();
            let live = member.sql.presence().map_or(0, |stored| stored.live);
            assert!(live != 2 || !holders.is_empty(), "{path} is gone but has no forks");
            assert!(live != 0 || holders.is_empty(), "{path} has ended but has the forks {holders:?}");
            at_sources.extend(holders.into_iter().map(|(link, fork)| (link, path.clone(), fork)));
            let own = member.sql.fork().map(|fork| (fork.link, fork.source));
            assert_eq!(member.sql.links(), Vec::from_iter(own.clone()), "the links of {path}");
            at_forks.extend(own.map(|(link, source)| (link, source, path.clone())));
        }
        at_sources.sort_unstable();
        at_forks.sort_unstable();
        assert_eq!(at_sources, at_forks, "links at sources (left) and at forks (right): link, source, fork");
    }

    /// Asserts that a stream that has ended retains only what prevents offsets from being reused, and that
    /// one that never existed stores nothing.
    #[track_caller]
    pub(crate) fn assert_nothing_is_left(&self) {
        for (path, member) in &self.members {
            let is_there = member.sql.presence().is_some_and(|stored| stored.live > 0);
            let tables = member.sql.tables();
            let has_content = |table: &String| table.starts_with("messages_") || table == "producers";
            assert!(is_there || !tables.iter().any(has_content), "{path} does not exist but has {tables:?}");
            assert!(
                is_there || member.sql.segment_keys().is_empty(),
                "{path} does not exist but has segments"
            );
        }
    }
}

/// Sets aside the bytes that go to the reader directly.
fn pass_on(
    pending: &PendingRead,
    request: &Read,
    fetched: Vec<Fetched>,
) -> (Vec<Fetched>, Option<(Offset, Vec<u8>)>) {
    match (&pending.fetches[..], &fetched[..]) {
        ([Fetch::Inherit { .. }], [Fetched::Chunk(Chunk { body, next, .. })])
            if pending.passes_on(*next, request.mode) =>
        {
            (vec![Fetched::Passed(*next)], Some((*next, body.clone())))
        }
        _ => (fetched, None),
    }
}

fn sent_by(asking: &Asking) -> Sent {
    Sent { to: asking.path.clone(), call: asking.call.clone() }
}

fn sent_by_driver(calling: &Calling) -> Sent {
    Sent { to: calling.to.clone(), call: calling.call.clone() }
}

fn answered(reply: Reply) -> Begun {
    Begun::Done(Outcome::Answered(Response::of_reply(reply)))
}
