//! The registry's end: it is a stream like any other, which takes each event that a stream reports (`reports.rs`) once, because
//! that stream is its producer, and a life an epoch.

use std::borrow::Cow;

use super::answer::Error;
use super::live::Sockets;
use super::ports::Ports;
use super::state::Object;
use crate::protocol::command::{Append, Command, Create};
use crate::protocol::content_type::ContentType;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::listing::{Described, ListQuery, ListedStreams};
use crate::protocol::producer::{self, Producer};
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::{Record, RegistryEvent};
use crate::protocol::{Millis, SAFE_INTEGER_MAX};
use crate::storage::Failure;
use crate::storage::registry::listed;

/// The type of a registry's stream.
const EVENT_TYPE: &str = "application/json";

impl Object {
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
        self.state.producers().are_listed();
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
            Err(Error::Failed(failure)) => Err(failure),
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
