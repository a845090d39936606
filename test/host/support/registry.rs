//! The registry: an object of its own, which fails on demand, loses its memory, and is told things late.

use ::http::Method;
use durable_streams::object::effect::{Calling, Outcome};
use durable_streams::object::{Answer, Object, Ports, Settings};
use durable_streams::protocol::Millis;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::command::{Command, RequestHead};
use durable_streams::protocol::listing::{ListQuery, ListedStreams};
use durable_streams::storage::Failure;
use serde_json::Value;

use super::sockets::HostSockets;
use super::sql::HostSql;

/// What goes wrong next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RegistryFault {
    /// It fails, and nothing is recorded.
    Fails,
    /// It fails, but it is recorded.
    FailsButRecorded,
    /// It fails, and is recorded some time later: when [`HostRegistry::let_one_arrive`] says so.
    FailsAndArrivesLate,
}

/// The registry's object.
pub(crate) struct HostRegistry {
    pub(crate) sql: HostSql,
    pub(crate) sockets: HostSockets,
    object: Object,
    settings: Settings,
    path: Option<String>,
    fault: Option<RegistryFault>,
    late: Vec<Calling>,
}

impl HostRegistry {
    pub(crate) fn new(settings: Settings) -> HostRegistry {
        // It is read in one piece.
        let settings = Settings { chunk_max_bytes: 1 << 24, ..settings };
        HostRegistry {
            sql: HostSql::in_memory(),
            sockets: HostSockets::default(),
            object: Object::new(settings),
            settings,
            path: None,
            fault: None,
            late: Vec::new(),
        }
    }

    /// Arms a fault; it strikes once.
    pub(crate) fn arm(&mut self, fault: RegistryFault) {
        self.fault = Some(fault);
    }

    /// It loses its memory; storage and sockets stay.
    pub(crate) fn restart(&mut self) {
        self.object = Object::new(self.settings);
    }

    /// Takes a report: what it answers.
    pub(crate) fn take(&mut self, calling: &Calling, now: Millis) -> Outcome {
        let fault = self.fault.take();
        let failed = Outcome::Failed(Failure::new("registry", "injected fault"));
        match fault {
            None => self.record(calling, now),
            Some(RegistryFault::FailsButRecorded) => {
                let _lost = self.record(calling, now);
                failed
            }
            Some(RegistryFault::FailsAndArrivesLate) => {
                self.late.push(calling.clone());
                failed
            }
            Some(RegistryFault::Fails) => failed,
        }
    }

    /// One of the reports that failed arrives after all; whether there was one.
    pub(crate) fn let_one_arrive(&mut self, random: &mut fastrand::Rng, now: Millis) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let report = self.late.swap_remove(random.usize(0..self.late.len()));
        let _nobody_waits = self.record(&report, now);
        true
    }

    fn record(&mut self, calling: &Calling, now: Millis) -> Outcome {
        let answered = self.answer(&calling.to, &calling.call.to_json(), now);
        answered.map_or_else(Outcome::Failed, Outcome::Answered)
    }

    /// What it answers to a call, in the form in which that crosses the platform.
    pub(crate) fn answer(&mut self, path: &str, text: &str, now: Millis) -> Result<Answered, Failure> {
        let known = self.path.get_or_insert_with(|| path.to_owned());
        assert_eq!(known, path, "a stream is in one registry");
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let said = self.object.answer(&ports, path, &Call::parse(text), &String::new, now)?;
        Ok(Answered::parse(&said.answered.to_json()))
    }

    /// What it is asked for a listing.
    pub(crate) fn listed(&mut self, query: &ListQuery) -> ListedStreams {
        let path = self.path.clone().unwrap_or_default();
        match self.answer(&path, &Call::List(query.clone()).to_json(), 0) {
            Ok(Answered::Listed(listed)) => listed,
            other => panic!("{other:?}"),
        }
    }

    /// Its messages, as somebody reads them who asks for the whole of it; none before the first.
    pub(crate) fn messages(&mut self) -> Vec<Value> {
        let Some(path) = &self.path else { return Vec::new() };
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let head =
            RequestHead { method: &Method::GET, url: "https://x/", header: &|_| None, random: &String::new };
        let served = self.object.serve(&ports, path, &Command::parse(&head, b"").unwrap(), 0);
        match served {
            Ok(Answer::Reply(reply)) => serde_json::from_slice(&reply.body).unwrap(),
            Err(_) => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    /// The same in short: `insert text/plain 5`, with the time since `start` at which the stream was created.
    pub(crate) fn events(&mut self, start: Millis) -> Vec<String> {
        let short = |event: Value| {
            let (value, operation) = (&event["value"], &event["headers"]["operation"]);
            assert_eq!(event["type"], "stream");
            assert_eq!(event["key"], value["path"]);
            let created_at = value["createdAt"].as_u64().unwrap() - start;
            format!("{} {} {created_at}", operation.as_str().unwrap(), value["contentType"].as_str().unwrap())
        };
        self.messages().into_iter().map(short).collect()
    }
}
