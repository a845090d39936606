//! The registry, from both ends. A stream reports its lives to it; nothing waits for that, and it may fail for as long as
//! it likes. The registry is a stream like any other, which takes each event once because a stream is its producer, and
//! a life an epoch.

use std::borrow::Cow;

use super::{Error, Object, Ports};
use crate::object::live::Sockets;
use crate::protocol::command::{Append, Command, Create};
use crate::protocol::content_type::ContentType;
use crate::protocol::lifetime::{Lifetime, rfc3339};
use crate::protocol::listing::{Described, ListQuery, ListedStreams};
use crate::protocol::producer::{self, Producer};
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::{Record, Registries, RegistryEvent, event};
use crate::protocol::{Millis, SAFE_INTEGER_MAX};
use crate::storage::Failure;
use crate::storage::commit::{Change, commit};
use crate::storage::registry::{ReportMark, Unreported, listed, unreported};
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
    /// What [`Object::record`] takes.
    pub record: Record,
    through: ReportMark,
    since: Millis,
}

impl Report {
    /// A life is reported from its beginning, also where the registry should know that: so it finds its way back from
    /// whatever became of the registry.
    fn of(Unreported { path, registry, lives, through, since }: Unreported) -> Report {
        let mut events = Vec::new();
        for life in lives {
            for operation in life.operations() {
                let message = event(&path, &life.content_type, life.created_at, *operation);
                events.push(RegistryEvent { incarnation: life.incarnation, seq: operation.seq(), message });
            }
        }
        Report { registry, record: Record { path, events }, through, since }
    }

    /// It failed: why, and when it is tried again. The longer the registry should have known, the longer it rests.
    pub fn failed(&self, cause: &str, now: Millis) -> (Failure, Millis) {
        let since = rfc3339(self.since);
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
    pub(super) fn record<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        record: &Record,
        random: &dyn Fn() -> String,
        now: Millis,
    ) -> Result<(), Failure> {
        // They are what a listing reads.
        self.producers.are_listed();
        for event in &record.events {
            let append = append_of(&record.path, event)?;
            let mut appended = self.serve(ports, path, &append, now);
            if appended == Err(Error::Refused(Refusal::NotFound)) {
                let created = self.serve(ports, path, &creation(random()), now);
                appended = created.and_then(|_| self.serve(ports, path, &append, now));
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
    pub(super) fn listed<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        query: &ListQuery,
    ) -> Result<ListedStreams, Failure> {
        self.load(ports.sql)?;
        listed(ports.sql, query)
    }

    /// The stream as a listing shows it, if it is there. That is no read of it, and slides no TTL.
    pub(super) fn described<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        now: Millis,
    ) -> Result<Option<Described>, Failure> {
        match self.stream(ports, now) {
            Ok(stream) => Ok(Some(Described {
                path: path.to_owned(),
                content_type: Some(stream.content_type.as_str().to_owned()),
                created_at: Some(stream.created_at),
                closed: Some(stream.closure.is_closed()),
                tail: Some(stream.tail),
            })),
            Err(Error::Refused(_)) => Ok(None),
            Err(Error::Failed(failure)) => {
                self.forget();
                Err(failure)
            }
        }
    }
}

/// The append of one event. No request of a client, because the producer's id is a path, which may have any character.
fn append_of<'e>(path: &str, event: &'e RegistryEvent) -> Result<Command<'e>, Failure> {
    let RegistryEvent { incarnation, seq, message } = event;
    if !producer::is_id(path) || incarnation.max(seq) > &SAFE_INTEGER_MAX {
        return Err(Failure::new(
            "record stream",
            format_args!("no stream has such an event: {path} {event:?}"),
        ));
    }
    Ok(Command::Append(Append {
        content_type: Some(EVENT_TYPE.to_owned()),
        stream_seq: None,
        expected_offset: None,
        producer: Some(Producer { id: path.to_owned(), epoch: *incarnation, seq: *seq }),
        closes: false,
        body: message.as_bytes(),
    }))
}

/// The creation of a registry's stream.
fn creation(reader_key: String) -> Command<'static> {
    Command::Create(Create {
        location: Cow::Borrowed(""),
        content_type: ContentType::parse(EVENT_TYPE).ok(),
        lifetime: Lifetime::Unlimited,
        retention: None,
        closed: false,
        public: false,
        reader_key,
        rekeys: false,
        fork: None,
        body: Cow::Borrowed(b""),
    })
}
