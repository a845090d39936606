//! A fake registry: an object that fails on demand, loses its memory, and receives reports late.

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

/// A fault of the next report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RegistryFault {
    /// The report fails and is not recorded.
    Fails,
    /// The report fails, but is recorded.
    FailsButRecorded,
    /// The report fails, and is recorded when [`HostRegistry::let_one_arrive`] is called.
    FailsAndArrivesLate,
}

/// The registry's object, with its storage.
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
        // The tests read it in one request.
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

    /// Arms a fault for one report.
    pub(crate) fn arm(&mut self, fault: RegistryFault) {
        self.fault = Some(fault);
    }

    /// Loses the object's memory, but keeps storage and sockets.
    pub(crate) fn restart(&mut self) {
        self.object = Object::new(self.settings);
    }

    /// Receives a report, and returns the outcome.
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

    /// Records one of the late reports. Returns whether there was one.
    pub(crate) fn let_one_arrive(&mut self, random: &mut fastrand::Rng, now: Millis) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let report = self.late.swap_remove(random.usize(0..self.late.len()));
        let _not_awaited = self.record(&report, now);
        true
    }

    fn record(&mut self, calling: &Calling, now: Millis) -> Outcome {
        let answered = self.answer(&calling.to, &calling.call.to_json(), now);
        answered.map_or_else(Outcome::Failed, Outcome::Answered)
    }

    /// Answers a call, both in serialized form as on the platform.
    pub(crate) fn answer(&mut self, path: &str, text: &str, now: Millis) -> Result<Answered, Failure> {
        let known = self.path.get_or_insert_with(|| path.to_owned());
        assert_eq!(known, path, "all streams of a test report to one registry");
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let said = self.object.answer(&ports, path, &Call::parse(text), &String::new, now)?;
        Ok(Answered::parse(&said.answered.to_json()))
    }

    /// Answers a listing's query.
    pub(crate) fn listed(&mut self, query: &ListQuery) -> ListedStreams {
        let path = self.path.clone().unwrap_or_default();
        match self.answer(&path, &Call::List(query.clone()).to_json(), 0) {
            Ok(Answered::Listed(listed)) => listed,
            other => panic!("{other:?}"),
        }
    }

    /// The registry's messages, read from the start. There are none before the first report.
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

    /// The messages in short form, such as `insert text/plain 5`. The number is the stream's creation time
    /// since `start`.
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
