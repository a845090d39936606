//! Forks (PROTOCOL.md 4.2): the two ends of what holds a source for its fork. Every step is one transaction; between two of
//! them anything may be lost, come late or come twice (ARCHITECTURE.md, "The life of a fork").

use super::answer::{Answer, Error};
use super::ends::Ends;
use super::links::Asking;
use super::live::Sockets;
use super::ports::Ports;
use super::said::Said;
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

/// What the object of a fork does.
impl Object {
    /// Notes the link before anybody else knows of it. If this object dies, the alarm lets it go.
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
            sub_offset: asked.sub_offset,
            content_type: content_type.map(str::to_owned),
            valid_until,
        };
        let call = Call::Refer(reference);
        Ok(Answer::Ask(Asking { path: source.to_owned(), call, link: link.id, way: None }))
    }

    /// Whoever was asked has answered, or nobody knows what became of it.
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
        // It, or the network between, may only be unable to answer for now: so this is no verdict on the fork.
        let Ok(answered) = answered else { return Err(Refusal::SourceUnavailable.into()) };
        let way = match (way, answered) {
            (None, Answered::Referenced(Referenced::Granted(granted))) => Way::of(granted, asked.sub_offset),
            (None, Answered::Referenced(Referenced::Refused(refusal))) => {
                self.links.keep_refused(&link);
                return Err(Refusal::Fork(refusal).into());
            }
            (Some(mut way), Answered::Walked(walked)) => {
                way.walked(walked);
                way
            }
            (Some(_), Answered::Referenced(Referenced::Refused(refusal))) => {
                return Err(Refusal::Fork(refusal).into());
            }
            (Some(_) | None, _) => {
                return Err(Failure::new("create fork", "it was answered what was not asked").into());
            }
        };
        let granted = match way.step().map_err(Refusal::Fork)? {
            Step::There(granted) => granted,
            Step::Ask(path, walk) => {
                let call = Call::Walk(walk);
                return Ok(Answer::Ask(Asking { path, call, link, way: Some(way) }));
            }
        };
        // Somebody else may have been faster, and it may have expired since.
        let _there_or_not = self.stream(ports, now);
        match fork(self.load(ports.sql)?, request, &granted, now)? {
            Creating::Create(stream, content) => {
                // That it is still noted says nothing: its source may be let go at this moment.
                if !self.links.is_asking(&link) {
                    return Err(Failure::new("create fork", "its source was given up").into());
                }
                self.born(ports, path, request, stream, &content, now)
            }
            Creating::Exists => self.found(ports, request, now),
            Creating::Fork(_) => Err(Failure::new("create fork", "its source has granted it").into()),
        }
    }
}

/// What the object of a source does.
impl Object {
    /// A fork asks to hold this stream.
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
            return Err(Failure::new("grant fork", "it was asked for too long ago").into());
        }
        let stream = self.stream(ports, now)?;
        if let Some(content_type) = &asked.content_type
            && !stream.content_type.matches(content_type)
        {
            let expected = stream.content_type.as_str().to_owned();
            return Err(Refusal::Fork(ForkRefusal::ContentType { expected }).into());
        }
        let anchor = asked.offset.unwrap_or(stream.tail);
        let until = Ends { sql: ports.sql, stream }.leave(anchor, asked.sub_offset)?;
        let owners = owners_until(stream.owners(path), stream.start(), until.unwrap_or(stream.tail));
        if owners.len() > OWNERS_MAX {
            return Err(Refusal::Fork(ForkRefusal::TooDeep).into());
        }
        let granted = Inheritance {
            content_type: stream.content_type.as_str().to_owned(),
            lifetime: stream.lifetime,
            start: stream.start(),
            anchor,
            until,
            owners,
        };
        let change = Change::Hold { link, path: &asked.fork, first_segment: stream.first_segment };
        self.commit(ports.sql, &change)?;
        Ok(granted)
    }

    /// A fork lets this stream go, perhaps not for the first time. Without forks, one that was deleted ends.
    pub(super) fn release<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        release: &Release,
        now: Millis,
    ) -> Result<(), Failure> {
        let (link, valid_until) = (release.link.as_str(), release.valid_until);
        let is_gone = matches!(self.load(ports.sql)?, Life::Gone(_));
        // What is let go before it was asked for must not be granted when that comes.
        let released = Released { link, remember_until: (now <= valid_until).then_some(valid_until), now };
        if is_gone && !forks::is_held(ports.sql, link)? {
            return self.end_now(ports, Some(released), now);
        }
        let knows = forks::hold(ports.sql, link)? != Hold::Unknown;
        if knows || released.remember_until.is_some() {
            self.commit(ports.sql, &Change::Release(released))?;
        }
        // What was kept for the fork in the bucket may be kept for nobody now.
        self.rotation.has_garbage();
        let life = self.state.life();
        if self.rotation.alarm_at(life, self.settings.segments, now).is_some() {
            self.arm(now);
        }
        Ok(())
    }

    /// What a fork has inherited and is still in the hot log.
    pub(super) fn inherited<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        ask: &Inherit,
    ) -> Result<Said, Failure> {
        let stream = self.owned(ports, ask.incarnation)?;
        if ask.from.segment < stream.hot_from {
            return Ok(Answered::Rotated(stream.hot_from).into());
        }
        // Offsets that nobody gave lead beyond a segment's end; what is not there was not inherited.
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
            return Ok(Said { answered: Answered::Inherited(next), bytes: body });
        }
        // Fewer than there are marks: they go into a header.
        let begins = Events::of(format, &body, &marks).begins().to_vec();
        Ok(Said { answered: Answered::InheritedEvents(InheritedEvents { next, begins }), bytes: body })
    }

    /// Where so many messages or bytes lead, for a fork that is to leave there.
    pub(super) fn walk<S: Sockets>(&mut self, ports: &Ports<'_, S>, ask: &Walk) -> Result<Answered, Failure> {
        let stream = self.owned(ports, ask.incarnation)?;
        let ends = Ends { sql: ports.sql, stream };
        if ask.from.position > ends.end_of(ask.from.segment)? {
            let refusal = ForkRefusal::OffsetBeyond { tail: ask.until };
            return Ok(Answered::Referenced(Referenced::Refused(refusal)));
        }
        ends.walk(ask.from, ask.until, ask.count).map(Answered::Walked)
    }

    fn owned<S: Sockets>(&mut self, ports: &Ports<'_, S>, incarnation: u64) -> Result<&Stream, Failure> {
        let stream = self.load(ports.sql)?.stored().filter(|stream| stream.incarnation == incarnation);
        let gone = || Failure::new("read inherited part", format_args!("life {incarnation} has ended"));
        stream.ok_or_else(gone)
    }
}
