//! The registry: an object of its own, which fails on demand, loses its memory, and is told things late.

use ::http::Method;
use durable_streams::object::effect::Outcome;
use durable_streams::object::reports::Report;
use durable_streams::object::{Answer, Object, Ports, Settings};
use durable_streams::protocol::Millis;
use durable_streams::protocol::command::{Command, RequestHead};
use durable_streams::protocol::listing::Ask;
use durable_streams::storage::Failure;
use durable_streams::storage::registry::Listed;
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
    late: Vec<Report>,
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

    /// Takes a report, and says whether it has.
    pub(crate) fn take(&mut self, report: &Report, now: Millis) -> Outcome {
        let fault = self.fault.take();
        let taken = match fault {
            None | Some(RegistryFault::FailsButRecorded) => self.record(report, now),
            Some(RegistryFault::FailsAndArrivesLate) => {
                self.late.push(report.clone());
                Ok(())
            }
            Some(RegistryFault::Fails) => Ok(()),
        };
        match fault {
            None => taken.map_or_else(Outcome::Failed, |()| Outcome::Done),
            Some(_) => Outcome::Failed(Failure::new("registry", "injected fault")),
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

    fn record(&mut self, report: &Report, now: Millis) -> Result<(), Failure> {
        self.record_words(&report.registry, &report.words, now)
    }

    pub(crate) fn record_words(&mut self, path: &str, words: &[String], now: Millis) -> Result<(), Failure> {
        let known = self.path.get_or_insert_with(|| path.to_owned());
        assert_eq!(known, path, "a stream is in one registry");
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        self.object.record(&ports, (path, &String::new), words, now)
    }

    /// What it is asked for a listing.
    pub(crate) fn listed(&mut self, ask: &Ask) -> Listed {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        self.object.listed(&ports, ask).unwrap()
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
