//! The registry, from both ends. A stream reports its lives to it; nothing waits for that, and it may fail for as long as
//! it likes. The registry is a stream like any other, which takes each event once because a stream is its producer, and
//! a life an epoch.

use http::Method;

use super::{Error, Object, Ports};
use crate::object::live::Sockets;
use crate::protocol::command::{Append, Command, RequestHead};
use crate::protocol::listing::{Ask, Described};
use crate::protocol::names::header;
use crate::protocol::producer::Producer;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::{Registries, event};
use crate::protocol::{Millis, lifetime};
use crate::storage::Failure;
use crate::storage::commit::{Change, commit};
use crate::storage::registry::{Listed, ReportMark, Unreported, listed, unreported};
use crate::stream::Life;

/// How many lives are reported at a time: with paths and content types at their longest some 250 kB.
pub const LIVES_AT_ONCE_MAX: u64 = 50;

/// The type of a registry's stream.
const EVENT_TYPE: &str = "application/json";

/// How soon the registry is told again when it failed.
pub const REST_MIN: Millis = 60_000;
/// How late at the latest.
pub const REST_MAX: Millis = 3_600_000;

/// Whether there is something to report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reported {
    Unknown,
    All,
}

/// What the registry is to be told; then [`Object::reported`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The path of the registry.
    pub registry: String,
    /// What [`Object::record`] takes: the stream's path, and then epoch, sequence and text of each event.
    pub words: Vec<String>,
    through: ReportMark,
    since: Millis,
}

impl Report {
    /// A life is reported from its beginning, also where the registry should know that: so it finds its way back from
    /// whatever became of the registry.
    fn of(Unreported { path, registry, lives, through, since }: Unreported) -> Report {
        let mut words = vec![path.clone()];
        for life in lives {
            for operation in life.operations() {
                let text = event(&path, &life.content_type, life.created_at, *operation);
                words.extend([life.incarnation.to_string(), operation.seq().to_string(), text]);
            }
        }
        Report { registry, words, through, since }
    }

    /// It failed: why, and when it is tried again. The longer the registry should have known, the longer it rests.
    pub fn failed(&self, cause: &str, now: Millis) -> (Failure, Millis) {
        let since = lifetime::rfc3339(self.since);
        let rest = now.saturating_sub(self.since).clamp(REST_MIN, REST_MAX);
        (Failure::new("report stream", format_args!("what happened {since}: {cause}")), now + rest)
    }
}

impl Object {
    /// Whether there may be something to report.
    pub fn may_have_reports(&self) -> bool {
        self.settings.registries != Registries::Off
            && self.reported == Reported::Unknown
            && !matches!(self.life, Some(Life::Unborn) | None)
    }

    /// Whether that may be the end of a stream.
    pub(super) fn owes_end(&self) -> bool {
        self.may_have_reports() && !matches!(self.life, Some(Life::Live(_)))
    }

    /// The next thing to report.
    pub fn next_report<S: Sockets>(&mut self, ports: &Ports<'_, S>) -> Result<Option<Report>, Failure> {
        self.load(ports.sql)?;
        if !self.may_have_reports() {
            return Ok(None);
        }
        let unreported = unreported(ports.sql, self.settings.registries, LIVES_AT_ONCE_MAX)?;
        if unreported.is_none() {
            self.reported = Reported::All;
        }
        Ok(unreported.map(Report::of))
    }

    /// The registry has been told.
    pub fn reported<S: Sockets>(&mut self, ports: &Ports<'_, S>, report: &Report) -> Result<(), Failure> {
        let change = Change::Report { through: report.through, registries: self.settings.registries };
        let committed = commit(ports.sql, &change);
        if committed.is_err() {
            self.forget();
        }
        committed
    }

    /// The registry's part: appends what a stream reports, as that stream's producer would, and begins itself with the
    /// first of all.
    pub fn record<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        (path, random): (&str, &dyn Fn() -> String),
        words: &[String],
        now: Millis,
    ) -> Result<(), Failure> {
        let (producer, events) =
            words.split_first().ok_or_else(|| Failure::new("record stream", "no path"))?;
        // They are what a listing reads.
        self.producers.are_listed();
        for event in events.chunks(3) {
            let append = append_of(producer, event)?;
            let mut appended = self.serve(ports, path, &append, now);
            if appended == Err(Error::Refused(Refusal::NotFound)) {
                let json = |name: &str| (name == header::CONTENT_TYPE).then(|| EVENT_TYPE.to_owned());
                let head = RequestHead { method: &Method::PUT, url: "", header: &json, random };
                let create = Command::parse(&head, b"").map_err(Error::Refused);
                appended = create.and_then(|create| self.serve(ports, path, &create, now));
                appended = appended.and_then(|_| self.serve(ports, path, &append, now));
            }
            match appended {
                // A newer life is known: this is an old report that was on its way for long.
                Ok(_) | Err(Error::Refused(Refusal::StaleEpoch { .. })) => {}
                Err(Error::Refused(refusal)) => return Err(Failure::new("record stream", refusal.message())),
                Err(Error::Failed(failure)) => return Err(failure),
            }
        }
        Ok(())
    }

    /// The registry's part of a listing.
    pub fn listed<S: Sockets>(&mut self, ports: &Ports<'_, S>, ask: &Ask) -> Result<Listed, Failure> {
        self.load(ports.sql)?;
        listed(ports.sql, ask)
    }

    /// The stream as a listing shows it, if it is there. That is no read of it, and slides no TTL.
    pub fn described<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        now: Millis,
    ) -> Result<Option<String>, Failure> {
        match self.stream(ports, now) {
            Ok(stream) => {
                let described = Described {
                    path,
                    content_type: Some(stream.content_type.as_str()),
                    created_at: Some(stream.created_at),
                    closed: Some(stream.closure.is_closed()),
                    tail: Some(stream.tail),
                };
                Ok(Some(described.to_json().get().to_owned()))
            }
            Err(Error::Refused(_)) => Ok(None),
            Err(Error::Failed(failure)) => {
                self.forget();
                Err(failure)
            }
        }
    }
}

/// The append of one event: its epoch, its sequence and its text. No request of a client, because the producer's id is a path,
/// which may have any character.
fn append_of<'e>(producer: &str, event: &'e [String]) -> Result<Command<'e>, Failure> {
    let failed = |cause: &dyn std::fmt::Display| Failure::new("record stream", cause);
    let [epoch, seq, text] = event else { return Err(failed(&format_args!("half an event: {event:?}"))) };
    let [id, epoch, seq] = [producer, epoch, seq].map(|text| Some(text.to_owned()));
    Ok(Command::Append(Append {
        content_type: Some(EVENT_TYPE.to_owned()),
        stream_seq: None,
        expected_offset: None,
        producer: Producer::parse(id, epoch, seq).map_err(|refusal| failed(&refusal.message()))?,
        closes: false,
        body: text.as_bytes(),
    }))
}
