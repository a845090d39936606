//! Forks (PROTOCOL.md 4.2): the two ends of what holds a source for its fork. Every step is one transaction; between two of
//! them anything may be lost, come late or come twice (ARCHITECTURE.md, "The life of a fork").

use super::answering::Said;
use super::ends::Ends;
use super::live::Sockets;
use super::{Answer, Error, Object, Ports};
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
use crate::storage::commit::{Change, Released, commit};
use crate::storage::forks::{self, Hold, Link};
use crate::storage::message_row::ROW_MAX_BYTES;
use crate::storage::messages;
use crate::stream::create::{Creating, fork};
use crate::stream::fork::{Step, Way, owners_until};
use crate::stream::{Life, Stream};

/// How many creations of one fork may wait for their source at the same time.
pub const FORKS_ASKED_MAX: usize = 16;

/// How many links are kept whose sources have refused them.
pub const REFUSED_KEPT_MAX: usize = 16;

/// Whether links to sources are to be let go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Links {
    Unknown,
    Nothing,
}

/// Somebody to be asked about a fork that is to be created; then [`Object::confirm`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asking {
    /// Which stream.
    pub path: String,
    /// What; [`Object::answer`] answers.
    pub call: Call,
    link: String,
    /// What the source has granted, once it has, and how far it is from there.
    way: Option<Way>,
}

/// The fork's end.
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
        self.give_up_asking(now);
        if self.asking.len() >= FORKS_ASKED_MAX {
            return Err(Refusal::TooManyForks.into());
        }
        let valid_until = now + REFERENCE_VALID;
        let link = Link { id: asked.link.clone(), source: source.to_owned(), valid_until };
        commit(ports.sql, &Change::Intend { link: &link })?;
        self.asking.push(link.clone());
        self.links = Links::Unknown;
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
            // Unless it has become the stream's own, it is to be let go.
            self.asking.retain(|asked| asked.id != link);
            self.links = Links::Unknown;
        }
        if let Err(Error::Failed(_)) = confirmed {
            self.forget();
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
                self.keep_refused(&link);
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
                if !self.asking.iter().any(|asked| asked.id == link) {
                    return Err(Failure::new("create fork", "its source was given up").into());
                }
                self.born(ports, (path, request), (stream, &content), now)
            }
            Creating::Exists => self.found(ports, request, now),
            Creating::Fork(_) => Err(Failure::new("create fork", "its source has granted it").into()),
        }
    }

    /// Should the same question arrive once more, it may be granted: so the link stays until nothing grants it any more, and
    /// its source has nothing to remember then. Where there are too many, the oldest is let go at once.
    fn keep_refused(&mut self, link: &str) {
        let Some(refused) = self.asking.iter().find(|asked| asked.id == link) else { return };
        if self.refused.len() == REFUSED_KEPT_MAX {
            self.refused.remove(0);
        }
        self.refused.push(refused.clone());
    }

    /// Whoever waited for an answer so long may be gone: an answer that comes after all is none. What was refused is granted
    /// by nobody any more, and let go like all else; the alarm rings for it.
    pub(super) fn give_up_asking(&mut self, now: Millis) {
        self.asking.retain(|asked| now < asked.valid_until + REFERENCE_VALID);
        let count = self.refused.len();
        self.refused.retain(|refused| now <= refused.valid_until);
        if self.refused.len() < count {
            self.links = Links::Unknown;
        }
    }

    /// Whether there may be sources to let go.
    pub fn may_have_releases(&self) -> bool {
        self.links == Links::Unknown
    }

    /// The next source to let go, after one that cannot be now if there was one; then [`Object::let_go`].
    pub fn next_release<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        failed: Option<&Link>,
    ) -> Result<Option<Link>, Failure> {
        let kept = self.load(ports.sql)?.stored().and_then(|stream| stream.fork.as_ref());
        let kept = kept.map_or(String::new(), |fork| fork.link.clone());
        let mut after = failed.map_or(String::new(), |failed| failed.id.clone());
        while let Some(link) = forks::next_link(ports.sql, &kept, &after)? {
            if !self.asking.contains(&link) && !self.refused.contains(&link) {
                return Ok(Some(link));
            }
            after = link.id;
        }
        if self.asking.is_empty() && failed.is_none() {
            self.links = Links::Nothing;
        }
        Ok(None)
    }

    /// A source knows that it is let go.
    pub fn let_go<S: Sockets>(&mut self, ports: &Ports<'_, S>, link: &Link) -> Result<(), Failure> {
        let forgone = commit(ports.sql, &Change::Forgo { link: &link.id });
        if forgone.is_err() {
            self.forget();
        }
        forgone
    }
}

/// The source's end.
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
            Err(Error::Failed(failure)) => {
                self.forget();
                Err(failure)
            }
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
        commit(ports.sql, &change)?;
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
            let committed = commit(ports.sql, &Change::Release(released));
            if committed.is_err() {
                self.forget();
            }
            committed?;
        }
        self.garbage_was_freed(now);
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
