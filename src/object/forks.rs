//! Creates and releases forks (PROTOCOL.md 4.2): the fork's part and the source's. Each step is one
//! transaction. Between two steps, any message may be lost, late or repeated (ARCHITECTURE.md, "The life of a
//! fork").

use super::answer::{Answer, Error};
use super::ends::Ends;
use super::links::Asking;
use super::live::Sockets;
use super::ports::Ports;
use super::said::Said;
use super::seek::own_since;
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::command::Create;
use crate::protocol::fork::{
    ForkRequest, Inherit, Inheritance, InheritedEvents, OWNERS_MAX, REFERENCE_VALID, Reference, Referenced,
    Release, Walk,
};
use crate::protocol::fork_refusal::ForkRefusal;
use crate::protocol::offset::Offset;
use crate::protocol::refusal::Refusal;
use crate::protocol::sse::Events;
use crate::storage::Failure;
use crate::storage::chunk::Chunk;
use crate::storage::commit::{Change, Released};
use crate::storage::forks::{self, Hold, Link};
use crate::storage::message_row::ROW_MAX_BYTES;
use crate::storage::messages;
use crate::stream::create::{Creating, fork};
use crate::stream::fork::{Step, Way, owners_until};
use crate::stream::{Life, Stream};

/// The part of a fork's object.
impl Object {
    /// Stores the link before the source is called. If this object dies, the alarm releases the link.
    pub(super) fn intend<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        content_type: Option<&str>,
        asked: &ForkRequest,
        now: Millis,
    ) -> Result<Answer, Error> {
        let source = asked.source.as_str();
        if source == path {
            return Err(Refusal::Fork(ForkRefusal::SourceNotFound).into());
        }
        self.links.give_up(now);
        if self.links.is_asking_many() {
            return Err(Refusal::TooManyForks.into());
        }
        let valid_until = now + REFERENCE_VALID;
        let link = Link { id: asked.link.clone(), source: source.to_owned(), valid_until };
        self.commit(ports.sql, &Change::Intend { link: &link })?;
        self.links.ask(&link);
        self.arm(now);
        let reference = Reference {
            link: link.id.clone(),
            fork: path.to_owned(),
            offset: asked.offset,
            at: asked.at,
            sub_offset: asked.sub_offset,
            content_type: content_type.map(str::to_owned),
            valid_until,
        };
        let call = Call::Refer(reference);
        Ok(Answer::Ask(Asking { path: source.to_owned(), call, link: link.id, way: None }))
    }

    /// Continues the creation with the answer of the stream that was called, or with the failure of the call.
    pub fn confirm<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        request: &Create<'_>,
        asking: Asking,
        answered: Result<Answered, Failure>,
        now: Millis,
    ) -> Result<Answer, Error> {
        let link = asking.link.clone();
        let confirmed = self.decide(ports, path, request, asking, answered, now);
        if !matches!(confirmed, Ok(Answer::Ask(_))) {
            self.links.asked(&link);
        }
        confirmed
    }

    fn decide<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        request: &Create<'_>,
        asking: Asking,
        answered: Result<Answered, Failure>,
        now: Millis,
    ) -> Result<Answer, Error> {
        let Asking { link, way, .. } = asking;
        let asked = request.fork.as_ref().ok_or(Refusal::NotFound)?;
        // The source or the network may be down for now, so the client may retry.
        let Ok(answered) = answered else { return Err(Refusal::SourceUnavailable.into()) };
        let way = match (way, answered) {
            // A source of an older build ignores the time. Cloudflare updates it soon.
            (None, Answered::Referenced(Referenced::Granted(granted))) if granted.at != asked.at => {
                return Err(Refusal::SourceUnavailable.into());
            }
            (None, Answered::Referenced(Referenced::Granted(granted))) => Way::of(granted, asked.sub_offset),
            (None, Answered::Referenced(Referenced::Refused(refusal))) => {
                self.links.keep_refused(&link);
                return Err(Refusal::Fork(refusal).into());
            }
            (Some(mut way), Answered::Walked(walked)) => {
                way.walked(walked);
                way
            }
            (Some(mut way), Answered::Sought(sought)) => {
                way.sought(sought);
                way
            }
            (Some(_), Answered::Referenced(Referenced::Refused(refusal))) => {
                return Err(Refusal::Fork(refusal).into());
            }
            (Some(_) | None, _) => {
                return Err(Failure::new("create fork", "the answer does not match the call").into());
            }
        };
        let mut way = way;
        let granted = match way.step().map_err(Refusal::Fork)? {
            Step::There(granted) => granted,
            Step::Ask(path, call) => {
                return Ok(Answer::Ask(Asking { path, call, link, way: Some(way) }));
            }
        };
        // Another request may have created the stream, and it may have expired since.
        let _there_or_not = self.stream(ports, now);
        match fork(self.load(ports.sql)?, request, &granted, now)? {
            Creating::Create(stream, content) => {
                // A stored link is no proof: its release may be in progress.
                if !self.links.is_asking(&link) {
                    return Err(Failure::new("create fork", "the call to its source was given up").into());
                }
                self.born(ports, path, request, stream, &content, now)
            }
            Creating::Exists => self.found(ports, request, now),
            Creating::Fork(_) => Err(Failure::new("create fork", "its source was already granted").into()),
        }
    }
}

/// The part of a source's object.
impl Object {
    /// Lets a fork reference this stream, or refuses it.
    pub(super) fn refer<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        asked: &Reference,
        now: Millis,
    ) -> Result<Referenced, Failure> {
        let referred = self.grant(ports, path, asked, now);
        match referred {
            Ok(granted) => Ok(Referenced::Granted(Box::new(granted))),
            Err(Error::Refused(Refusal::Fork(refusal))) => Ok(Referenced::Refused(refusal)),
            Err(Error::Refused(Refusal::Gone)) => Ok(Referenced::Refused(ForkRefusal::SourceGone)),
            Err(Error::Refused(_)) => Ok(Referenced::Refused(ForkRefusal::SourceNotFound)),
            Err(Error::Failed(failure)) => Err(failure),
        }
    }

    fn grant<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        asked: &Reference,
        now: Millis,
    ) -> Result<Inheritance, Error> {
        let Reference { link, valid_until, .. } = asked;
        if now > *valid_until || forks::hold(ports.sql, link)? == Hold::Released {
            return Err(Failure::new("grant fork", "the request has expired").into());
        }
        let stream = self.stream(ports, now)?;
        if let Some(content_type) = &asked.content_type
            && !stream.content_type.matches(content_type)
        {
            let expected = stream.content_type.as_str().to_owned();
            return Err(Refusal::Fork(ForkRefusal::ContentType { expected }).into());
        }
        let found = match asked.at {
            Some(since) => own_since(ports.sql, stream, since)?,
            None => Some(asked.offset.unwrap_or(stream.tail)),
        };
        let anchor = found.unwrap_or(stream.tail);
        let until = match found {
            Some(anchor) => Ends { sql: ports.sql, stream }.leave(anchor, asked.sub_offset)?,
            None => None,
        };
        let owners = owners_until(stream.owners(path), stream.start(), until.unwrap_or(stream.tail));
        if owners.len() > OWNERS_MAX {
            return Err(Refusal::Fork(ForkRefusal::TooDeep).into());
        }
        let granted = Inheritance {
            content_type: stream.content_type.as_str().to_owned(),
            lifetime: stream.lifetime,
            start: stream.start(),
            anchor,
            at: asked.at,
            until,
            owners,
        };
        let change = Change::Hold { link, path: &asked.fork, first_segment: stream.first_segment };
        self.commit(ports.sql, &change)?;
        Ok(granted)
    }

    /// Removes a fork's reference, which may have been removed before. A deleted stream without forks ends.
    pub(super) fn release<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        release: &Release,
        now: Millis,
    ) -> Result<(), Failure> {
        let (link, valid_until) = (release.link.as_str(), release.valid_until);
        let is_gone = matches!(self.load(ports.sql)?, Life::Gone(_));
        // The fork's request may arrive after its release, and must then be refused.
        let released = Released { link, remember_until: (now <= valid_until).then_some(valid_until), now };
        if is_gone && !forks::is_held(ports.sql, link)? {
            return self.end_now(ports, Some(released), now);
        }
        let knows = forks::hold(ports.sql, link)? != Hold::Unknown;
        if knows || released.remember_until.is_some() {
            self.commit(ports.sql, &Change::Release(released))?;
        }
        // Segments in the bucket may have been retained only for this fork.
        self.rotation.has_garbage();
        let life = self.state.life();
        if self.rotation.alarm_at(life, self.settings.segments, now).is_some() {
            self.arm(now);
        }
        Ok(())
    }

    /// Reads a range for a fork that inherited it, if it is still in the hot log.
    pub(super) fn inherited<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        ask: &Inherit,
    ) -> Result<Said, Failure> {
        let stream = self.owned(ports, ask.incarnation)?;
        if ask.from.segment < stream.hot_from {
            return Ok(Answered::Rotated(stream.hot_from).into());
        }
        // A made-up offset may lie beyond its segment's end. Only existing data was inherited.
        let until = if ask.until.segment == stream.tail.segment {
            ask.until.min(stream.tail)
        } else {
            let end = Ends { sql: ports.sql, stream }.end_of(ask.until.segment)?;
            Offset { position: end.min(ask.until.position), ..ask.until }
        };
        let format = stream.content_type.format();
        let Chunk { body, next, marks } = messages::read(ports.sql, format, ask.from, until, ask.max_bytes)?;
        if !ask.any_size && body.len() > ask.max_bytes + ROW_MAX_BYTES {
            return Ok(Answered::Inherited(ask.from).into());
        }
        let next = if next >= until { ask.until } else { next };
        if !ask.events {
            return Ok(Said { bytes: body, ..Answered::Inherited(next).into() });
        }
        // Only the beginnings of events are sent: they go into a header, and are fewer than the marks.
        let begins = Events::of(format, &body, &marks).begins().to_vec();
        Ok(Said { bytes: body, ..Answered::InheritedEvents(InheritedEvents { next, begins }).into() })
    }

    /// Counts messages or bytes from an offset, for a fork that leaves this stream's data there.
    pub(super) fn walk<S: Sockets>(&mut self, ports: &Ports<'_, S>, ask: &Walk) -> Result<Answered, Failure> {
        let stream = self.owned(ports, ask.incarnation)?;
        let ends = Ends { sql: ports.sql, stream };
        if ask.from.position > ends.end_of(ask.from.segment)? {
            let refusal = ForkRefusal::OffsetBeyond { tail: ask.until };
            return Ok(Answered::Referenced(Referenced::Refused(refusal)));
        }
        ends.walk(ask.from, ask.until, ask.count).map(Answered::Walked)
    }

    pub(super) fn owned<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        incarnation: u64,
    ) -> Result<&Stream, Failure> {
        let stream = self.load(ports.sql)?.stored().filter(|stream| stream.incarnation == incarnation);
        let gone =
            || Failure::new("read inherited part", format_args!("incarnation {incarnation} has ended"));
        stream.ok_or_else(gone)
    }
}
