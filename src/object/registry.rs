//! Serves a registry, which is a stream like any other. The reporting stream is its producer and the
//! incarnation its epoch, so each reported event (`reports.rs`) is recorded once.

use std::borrow::Cow;

use super::answer::Error;
use super::live::Sockets;
use super::ports::Ports;
use super::state::Object;
use crate::protocol::command::{Append, Command, Create};
use crate::protocol::content_type::ContentType;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::listing::{Described, ListQuery, ListedStreams};
use crate::protocol::metrics::RegistryCounts;
use crate::protocol::producer::{self, Producer};
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::{Record, RegistryEvent};
use crate::protocol::subscription::summary::SubscriptionSummary;
use crate::protocol::subscription::watch::{WakeAppend, WakeAppended};
use crate::protocol::{Millis, SAFE_INTEGER_MAX};
use crate::storage::commit::Change;
use crate::storage::registry::{counted, lag, listed};
use crate::storage::{Failure, Sql, summaries};

/// The content type of a registry's stream.
const EVENT_TYPE: &str = "application/json";

impl Object {
    /// Appends reported events in the name of the reporting stream. The first report creates the registry.
    /// Fails if an append is refused for any reason but a stale epoch.
    pub(super) fn record<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        record: &Record,
        random: &dyn Fn() -> String,
        now: Millis,
    ) -> Result<(), Failure> {
        // A listing reads the producers from the table.
        self.state.producers().are_listed();
        for event in &record.events {
            let append = append_of(&record.path, event)?;
            let mut appended = self.serve(ports, path, &append, now);
            if appended == Err(Error::Refused(Refusal::NotFound)) {
                let created = self.serve(ports, path, &creation(random()), now);
                // A registry is in none.
                self.reports.loaded(None, false);
                appended = created.and_then(|_| self.serve(ports, path, &append, now));
            }
            match appended {
                // The report was delayed: the registry already knows a newer incarnation.
                Ok(_) | Err(Error::Refused(Refusal::StaleEpoch { .. })) => {}
                Err(Error::Refused(refusal)) => return Err(Failure::new("record stream", refusal.message())),
                Err(Error::Failed(failure)) => return Err(failure),
            }
        }
        match &record.summary {
            Some(summary) => self.summarize(ports.sql, &record.path, summary),
            None => Ok(()),
        }
    }

    /// Stores the summary of a subscription, unless it has nothing new.
    fn summarize(
        &mut self,
        sql: &dyn Sql,
        subscription: &str,
        summary: &SubscriptionSummary,
    ) -> Result<(), Failure> {
        let known = summaries::load(sql, subscription, &summary.kind)?;
        let merged = known.as_ref().map_or_else(|| summary.clone(), |known| summary.merged(known));
        if known.is_some_and(|known| known == merged) {
            return Ok(());
        }
        self.commit(sql, &Change::Summarize { subscription, summary: &merged })
    }

    /// A wake stream's part: appends the event of a generation, once.
    pub(super) fn append_wake<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        wake: &WakeAppend,
        now: Millis,
    ) -> Result<WakeAppended, Failure> {
        let event = RegistryEvent { incarnation: wake.generation, seq: 0, message: wake.message.clone() };
        let append = append_of(&wake.producer, &event)?;
        match self.serve(ports, path, &append, now) {
            Ok(_) | Err(Error::Refused(Refusal::StaleEpoch { .. })) => Ok(WakeAppended::Done),
            Err(Error::Refused(refusal)) => Ok(WakeAppended::Refused(refusal.message())),
            Err(Error::Failed(failure)) => Err(failure),
        }
    }

    /// Lists the registry's streams.
    pub(super) fn listed<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        query: &ListQuery,
    ) -> Result<ListedStreams, Failure> {
        self.load(ports.sql)?;
        listed(ports.sql, query)
    }

    /// Counts the registry's streams and subscriptions.
    pub(super) fn counted(&mut self, sql: &dyn Sql, now: Millis) -> Result<RegistryCounts, Failure> {
        self.load(sql)?;
        let stream = self.state.live();
        let written_at = stream.map(|stream| stream.written_at);
        let lag = stream.map(|stream| lag(sql, stream, now)).transpose()?.flatten();
        let counted = counted(sql)?;
        let summaries = if counted.is_some() { summaries::counted(sql)? } else { Vec::new() };
        Ok(RegistryCounts { counted, written_at, summaries, lag })
    }

    /// Describes the stream for a listing, if it exists. This is not a read, so it does not renew the TTL.
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
            Err(Error::Failed(failure)) => Err(failure),
        }
    }
}

/// The append of one event. It is not parsed from a request, because the producer's id is a path, which may
/// contain any character.
fn append_of<'e>(path: &str, event: &'e RegistryEvent) -> Result<Command<'e>, Failure> {
    let RegistryEvent { incarnation, seq, message } = event;
    if !producer::is_id(path) || incarnation.max(seq) > &SAFE_INTEGER_MAX {
        return Err(Failure::new(
            "record stream",
            format_args!("the event is not valid for a stream: {path} {event:?}"),
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
