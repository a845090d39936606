//! Objects, each with its own storage and alarm, and the calls between them. The test decides the fate of each call.
//! Everything that waits is a task, which continues when the test decides. Any event may occur between two steps of a
//! task.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ::http::Method;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::target::Target;
use durable_streams::object::effect::{About, Calls, Effect, Outcome};
use durable_streams::object::producers::ProducerLimits;
use durable_streams::object::said::Said;
use durable_streams::object::{Answer, Error, Object, Ports, Settings};
use durable_streams::protocol::Millis;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::command::{Command, RequestHead};
use durable_streams::protocol::registry::Registries;
use durable_streams::protocol::reply::Reply;
use durable_streams::storage::{Failure, watchers};
use durable_streams::stream::retain::RetentionDefaults;

use super::http::Request;
use super::shell::Shell;
use super::sockets::HostSockets;
use super::sql::HostSql;
use super::world::{CHUNK_MAX_BYTES, START};

/// How long deliveries may fail before a subscription is parked.
pub(crate) const GIVE_UP: Millis = 259_200_000;

/// The objects and their tasks.
pub(crate) struct Objects<D> {
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) now: Millis,
    pub(crate) settings: Settings,
    /// The tasks, the oldest first.
    pub(crate) tasks: Vec<Task<D>>,
    /// Delayed calls. No task waits for their answers.
    pub(crate) late: Vec<Sent>,
    random: Rc<RefCell<fastrand::Rng>>,
    tasks_begun: TaskId,
}

/// One object, with everything that survives a loss of memory.
pub(crate) struct Member {
    pub(crate) sql: HostSql,
    pub(crate) sockets: HostSockets,
    pub(crate) shell: Shell,
    pub(crate) object: Object,
}

/// A call to the object at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) to: String,
    pub(crate) call: Call,
}

impl Sent {
    pub(crate) fn new(to: &str, call: &Call) -> Sent {
        Sent { to: to.to_owned(), call: call.clone() }
    }
}

pub(crate) type TaskId = u64;

/// A piece of work that waits.
pub(crate) struct Task<D> {
    pub(crate) id: TaskId,
    /// The object that the task belongs to.
    pub(crate) path: String,
    pub(crate) doing: D,
}

/// The work of a task. Its steps alternate: something happens elsewhere, and then the object continues.
pub(crate) trait Work {
    /// An effect that a driver started.
    fn of_effect(effect: Effect) -> Self;

    /// The call that the next step makes, if any.
    fn next_call(&self) -> Option<Sent>;
}

/// The fate of a call or a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Arrives,
    /// The call does not arrive, and fails.
    Lost,
    /// The call fails for the caller, but arrives later.
    Late,
    /// The call arrives, but its answer does not.
    Unanswered,
    /// The call arrives now, and again later.
    Twice,
}

/// Settings without segments and registries.
pub(crate) fn settings() -> Settings {
    Settings {
        long_poll_timeout: 20_000,
        chunk_max_bytes: CHUNK_MAX_BYTES,
        segments: None,
        guarded: false,
        hides_public: false,
        has_index: false,
        registries: Registries::Off,
        producers: ProducerLimits::SERVED,
        retention: RetentionDefaults::default(),
        webhooks_give_up_after: GIVE_UP,
        measures: true,
    }
}

/// The answer to a request.
pub(crate) struct Served {
    pub(crate) path: String,
    pub(crate) answer: Answer,
    /// The command, if the request waits.
    pub(crate) command: Option<Command<'static>>,
}

impl Served {
    fn by_worker(reply: Reply) -> Served {
        Served { path: String::new(), answer: Answer::Reply(reply), command: None }
    }
}

impl<D: Work> Objects<D> {
    pub(crate) fn new(seed: u64, settings: Settings) -> Objects<D> {
        Objects {
            members: BTreeMap::new(),
            now: START,
            settings,
            tasks: Vec::new(),
            late: Vec::new(),
            random: Rc::new(RefCell::new(fastrand::Rng::with_seed(!seed))),
            tasks_begun: 0,
        }
    }

    /// The object at a path, which exists whether or not the stream does.
    pub(crate) fn member(&mut self, path: &str) -> &mut Member {
        if !self.members.contains_key(path) {
            let member = Member {
                sql: HostSql::in_memory(),
                sockets: HostSockets::default(),
                shell: Shell::default(),
                object: Object::new(self.settings),
            };
            self.members.insert(path.to_owned(), member);
        }
        self.members.get_mut(path).expect("it was created above")
    }

    /// Runs a step of the object, and then lets its driver continue.
    pub(crate) fn touch<T>(
        &mut self,
        path: &str,
        act: impl FnOnce(&mut Object, &Ports<'_, HostSockets>, Millis, &str) -> T,
    ) -> T {
        let now = self.now;
        let Member { sql, sockets, shell, object } = self.member(path);
        let ports = Ports { sql, sockets };
        let done = act(object, &ports, now, path);
        let begun = shell.drive(object, &ports, now);
        self.begun(path, begun);
        done
    }

    /// Sends a request through the Worker's part, and the object's up to where it waits.
    pub(crate) fn serve(&mut self, request: &Request) -> Served {
        let method: Method = request.method.parse().unwrap();
        let path = match route(&method, &Target::of(&request.url)) {
            Route::Forward(path) | Route::LongPoll(path) | Route::Sse(path) => path.as_str().to_owned(),
            Route::Reply(reply) => return Served::by_worker(reply),
            Route::Preflight
            | Route::Health
            | Route::Description
            | Route::Ready
            | Route::Metrics
            | Route::Orphans
            | Route::Console(_)
            | Route::Subscriptions(_)
            | Route::Listing
            | Route::Details(_) => {
                panic!("{request:?} does not address a stream")
            }
        };
        let header = |name: &str| {
            let found = request.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let random = self.random();
        let head = RequestHead { method: &method, url: &request.url, header: &header, random: &random };
        let command = match Command::parse(&head, &request.body) {
            Ok(command) => command,
            Err(refusal) => return Served::by_worker(Reply::refused(&refusal)),
        };
        let answer =
            match self.touch(&path, |object, ports, now, path| object.serve(ports, path, &command, now)) {
                Ok(answer) => answer,
                Err(Error::Refused(refusal)) => Answer::Reply(Reply::refused(&refusal)),
                Err(Error::Failed(_)) => Answer::Reply(Reply::failed()),
            };
        let command = match (&answer, command) {
            (Answer::Fetch(_), Command::Read(read)) => Some(Command::Read(read)),
            (Answer::Ask(_), Command::Create(create)) => Some(Command::Create(create.into_owned())),
            _ => None,
        };
        Served { path, answer, command }
    }

    pub(crate) fn random(&self) -> Box<dyn Fn() -> String> {
        let random = Rc::clone(&self.random);
        Box::new(move || format!("{:032x}", random.borrow_mut().u128(..)))
    }

    // Tasks.

    fn begun(&mut self, path: &str, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Calls(Calls { calls, about: About::Watchers }) = &effect {
                self.assert_are_watchers(path, calls);
            }
            self.wait_for(path, D::of_effect(effect));
        }
    }

    /// I7: a stream notifies only subscriptions that it has stored as its watchers.
    #[track_caller]
    fn assert_are_watchers(&self, path: &str, calls: &[(String, Call)]) {
        let stored = self.members[path].sql.undisturbed(|sql| watchers::load(sql));
        let stored = stored.expect("they are readable");
        let is_watcher = |name: &String| stored.iter().any(|stored| stored.watcher.subscription == *name);
        assert!(calls.iter().all(|(name, _)| is_watcher(name)), "I7: {path} calls {calls:?}, not {stored:?}");
    }

    pub(crate) fn wait_for(&mut self, path: &str, doing: D) -> TaskId {
        self.tasks_begun += 1;
        self.tasks.push(Task { id: self.tasks_begun, path: path.to_owned(), doing });
        self.tasks_begun
    }

    /// The call that the next step of a task makes, if any.
    pub(crate) fn next_call(&self, index: usize) -> Option<Sent> {
        self.tasks[index].doing.next_call()
    }

    /// Reports the outcome of an effect to its driver.
    pub(crate) fn end(&mut self, path: &str, effect: Effect, ended: Outcome) {
        let now = self.now;
        let Member { sql, sockets, shell, object } = self.member(path);
        let begun = shell.done(object, &Ports { sql, sockets }, effect, ended, now);
        self.begun(path, begun);
    }

    /// Loses the object's memory and its tasks. Calls in flight arrive later if `calls_arrive` is set, or else never.
    /// Returns the lost tasks.
    pub(crate) fn crash(&mut self, path: &str, calls_arrive: bool) -> Vec<TaskId> {
        let mut lost = Vec::new();
        for index in (0..self.tasks.len()).rev() {
            if self.tasks[index].path == path {
                let task = self.tasks.remove(index);
                self.late.extend(task.doing.next_call().filter(|_| calls_arrive));
                lost.push(task.id);
            }
        }
        let (settings, now) = (self.settings, self.now);
        let member = self.member(path);
        member.object = Object::new(settings);
        member.shell.lost_memory(now);
        lost
    }

    // Calls.

    pub(crate) fn call(&mut self, sent: Sent, fate: Fate) -> Result<Said, Failure> {
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

    /// Answers a call to an object. Call and answer are serialized, as on the platform.
    pub(crate) fn answer(&mut self, Sent { to, call }: &Sent) -> Result<Said, Failure> {
        let call = Call::parse(&call.to_json());
        let random = self.random();
        let said =
            self.touch(to, |object, ports, now, path| object.answer(ports, path, &call, &random, now))?;
        Ok(Said { answered: Answered::parse(&said.answered.to_json()), ..said })
    }

    /// Delivers a delayed call.
    pub(crate) fn deliver(&mut self, index: usize) {
        let sent = self.late.remove(index);
        let _not_awaited = self.answer(&sent);
    }

    // Alarms.

    /// Rings the alarm, even if it is not due.
    pub(crate) fn ring(&mut self, path: &str) {
        let now = self.now;
        let Member { sql, sockets, shell, object } = self.member(path);
        let begun = shell.ring(object, &Ports { sql, sockets }, now);
        self.begun(path, begun);
    }

    /// The time of the next alarm, and its object.
    pub(crate) fn next_alarm(&self) -> Option<(Millis, String)> {
        let alarms = self.members.iter().filter_map(|(path, member)| Some((member.shell.alarm_at?, path)));
        alarms.min().map(|(at, path)| (at, path.clone()))
    }
}
