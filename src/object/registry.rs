//! The registry's end: it is a stream like any other, which takes each event that a stream reports (`reports.rs`) once, because
//! that stream is its producer, and a life an epoch.

use http::Method;

use super::answer::Error;
use super::live::Sockets;
use super::ports::Ports;
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::command::{Append, Command, RequestHead};
use crate::protocol::listing::{Ask, Described};
use crate::protocol::names::header;
use crate::protocol::producer::Producer;
use crate::protocol::refusal::Refusal;
use crate::storage::Failure;
use crate::storage::registry::{Listed, listed};

/// The type of a registry's stream.
const EVENT_TYPE: &str = "application/json";

impl Object {
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
        self.state.producers().are_listed();
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
            Err(Error::Failed(failure)) => Err(failure),
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
