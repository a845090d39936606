//! Serves one stream. Every method is synchronous: between reading the state and committing a change nothing
//! can suspend, so requests of one stream cannot interleave.
//!
//! What is in memory is a cache of storage: it may be lost at any time, and is dropped when a commit fails.

pub mod ahead;
pub mod alarm;
pub mod answering;
mod ends;
pub mod fetch;
pub mod forks;
pub mod live;
pub mod mirror;
pub mod orphans;
pub mod plan;
pub mod producers;
pub mod read;
pub mod read_size;
pub mod registry;
pub mod retention;
pub mod rotation;
pub mod write;

use crate::protocol::cache_policy::Audience;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::offset::Offset;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::Registries;
use crate::protocol::reply::Reply;
use crate::protocol::{Millis, command::Command};
use crate::storage::commit::{Change, Released, commit};
use crate::storage::forks::{self as holds, Link};
use crate::storage::load::{Loaded, load};
use crate::storage::{Failure, Sql};
use crate::stream::delete::delete;
use crate::stream::retain::RetentionDefaults;
use crate::stream::rotate::{self, SegmentLimits};
use crate::stream::{Life, Stream};
use ahead::Ahead;
use alarm::Alarm;
use fetch::PendingRead;
use forks::{Asking, Links};
use live::{Park, Sockets};
use mirror::Outbox;
use plan::Shapes;
use producers::{ProducerLimits, Producers};
use registry::Reported;
use retention::TrimsAt;
use rotation::{Encoding, Garbage};

/// What the object reaches the world through.
pub struct Ports<'p, S> {
    /// Its storage.
    pub sql: &'p dyn Sql,
    /// Its live readers.
    pub sockets: &'p S,
}

/// Bounds that a deployment chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long a long-poll waits.
    pub long_poll_timeout: Millis,
    /// How many bytes one read gives, about (see `storage::messages::read`).
    pub chunk_max_bytes: usize,
    /// How large segments get; `None` where there is no bucket for them.
    pub segments: Option<SegmentLimits>,
    /// Whether reading takes a token, so that what is not public stays out of caches.
    pub guarded: bool,
    /// Whether streams that were created as public are served as private ones.
    pub hides_public: bool,
    /// Whether a mirror is to be told of them.
    pub mirrors: bool,
    /// Who is told that the stream is there, and that it is no more.
    pub registries: Registries,
    /// How many of its producers are remembered by rows of messages.
    pub producers: ProducerLimits,
    /// What is kept of streams that do not say themselves.
    pub retention: RetentionDefaults,
}

/// The server of one stream.
#[derive(Debug)]
pub struct Object {
    settings: Settings,
    life: Option<Life>,
    announced: Option<Announced>,
    producers: Producers,
    garbage: Garbage,
    encoding: Option<Encoding>,
    /// Of the tail's segment.
    ahead: Option<Ahead>,
    /// Of the oldest that is sealed.
    sealed_ahead: Option<Ahead>,
    trims_at: TrimsAt,
    shapes: Shapes,
    links: Links,
    /// The edges whose sources are being asked.
    asking: Vec<Link>,
    /// The edges that their sources have refused but might still grant.
    refused: Vec<Link>,
    outbox: Outbox,
    reported: Reported,
    /// How many sweeps are under way.
    sweeps: u32,
    alarm: Alarm,
}

/// How far the live readers that are connected have been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Announced {
    incarnation: u64,
    through: Offset,
    closed: bool,
}

impl Announced {
    fn all_of(stream: &Stream) -> Announced {
        Announced {
            incarnation: stream.incarnation,
            through: stream.tail,
            closed: stream.closure.is_closed(),
        }
    }
}

/// How a request ends when it does not end well: the protocol says no, or we could not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The protocol says no.
    Refused(Refusal),
    /// We could not.
    Failed(Failure),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(refusal)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Failed(failure)
    }
}

/// What a request gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A response.
    Reply(Reply),
    /// A socket, over which the response will come or go on.
    Park(Park),
    /// Bytes from elsewhere are needed first: [`Object::resume`] answers with them.
    Fetch(PendingRead),
    /// Another stream is to be asked first: [`Object::confirm`] answers with what it says.
    Ask(Asking),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}

impl Object {
    /// An object that has not read its state yet.
    pub fn new(settings: Settings) -> Object {
        Object {
            settings,
            life: None,
            announced: None,
            producers: Producers::new(settings.producers),
            garbage: Garbage::Unknown,
            encoding: None,
            ahead: None,
            sealed_ahead: None,
            trims_at: TrimsAt::Unknown,
            shapes: Shapes::default(),
            links: Links::Nothing,
            asking: Vec::new(),
            refused: Vec::new(),
            outbox: Outbox::Unknown,
            reported: Reported::Unknown,
            sweeps: 0,
            alarm: Alarm::default(),
        }
    }

    /// Serves one request of the stream at `path`; [`Object::take_alarm`] says what is to be done about it afterwards.
    pub fn serve<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        command: &Command<'_>,
        now: Millis,
    ) -> Result<Answer, Error> {
        let served = match command {
            Command::Create(create) => self.create(ports, path, create, now),
            Command::Append(append) => self.append(ports, append, now),
            Command::Close(close) => self.close(ports, close, now),
            Command::Delete => self.delete(ports, now),
            Command::Head => self.metadata(ports, now),
            Command::Read(read) => self.read(ports, path, read, now),
        };
        if let Err(Error::Failed(_)) = served {
            // What was committed is not known here: the next request reads it again.
            self.forget();
        }
        served
    }

    /// How much the next reads give, which depends on what others have not taken yet.
    pub fn give_at_most(&mut self, chunk_bytes: usize) {
        self.settings.chunk_max_bytes = chunk_bytes;
    }

    /// Drops what is in memory. What is being deleted or asked is so all the same.
    pub fn forget(&mut self) {
        let asking = std::mem::take(&mut self.asking);
        *self = Object { sweeps: self.sweeps, asking, alarm: Alarm::lost(), ..Object::new(self.settings) };
    }

    /// Whether anything is in memory yet.
    pub fn is_loaded(&self) -> bool {
        self.life.is_some()
    }

    /// Reads the state, once in the object's life.
    fn load(&mut self, sql: &dyn Sql) -> Result<&mut Life, Failure> {
        if self.life.is_none() {
            let Loaded { mut life, has_links } = load(sql)?;
            if let Some(stream) = life.stored_mut() {
                stream.public &= !self.settings.hides_public;
            }
            self.links = if has_links { Links::Unknown } else { Links::Nothing };
            // Whoever is connected was told before the object went to sleep. Where that is not so (it died between
            // commit and announcement), the edge sees the gap in the next frame and asks again.
            let stream = life.live().ok();
            self.announced = stream.map(Announced::all_of);
            self.alarm.load(stream);
            self.life = Some(life);
        }
        Ok(self.life.as_mut().expect("it was loaded above"))
    }

    /// The stream, if it is there. One that has expired is ended here and now, whether or not its alarm has come, so
    /// that it does not come back when memory is lost. A stream with a TTL does not expire while somebody reads it
    /// live (PROTOCOL.md 5.1). A segment whose time is over is dropped in the same way.
    fn stream<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<&mut Stream, Error> {
        if let Life::Live(stream) = self.load(ports.sql)?
            && stream.expires_at().is_some_and(|at| now >= at)
        {
            if is_read_live(stream, ports.sockets) {
                let _kept_in_memory = stream.touch(now);
            } else {
                self.end(ports, now)?;
            }
        }
        if self.trims_at.is_due(now) {
            self.trim(ports.sql, now)?;
        }
        match self.life.as_mut().expect("it was loaded above") {
            Life::Live(stream) => Ok(stream),
            Life::Gone(_) => Err(Refusal::Gone.into()),
            Life::Unborn | Life::Ended(_) => Err(Refusal::NotFound.into()),
        }
    }

    /// The stream, if it is there, and its producers.
    fn stream_and_producers<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        now: Millis,
    ) -> Result<(&mut Stream, &mut Producers), Error> {
        self.stream(ports, now)?;
        match &mut self.life {
            Some(Life::Live(stream)) => Ok((stream, &mut self.producers)),
            Some(Life::Unborn | Life::Ended(_) | Life::Gone(_)) | None => Err(Refusal::NotFound.into()),
        }
    }

    /// Ends the stream that is live, and its readers with it. One that has forks stays for them.
    #[inline(never)]
    fn end<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<(), Failure> {
        if !holds::is_held(ports.sql, "")? {
            return self.end_now(ports, None, now);
        }
        let committed = commit(ports.sql, &Change::Leave { now });
        if committed.is_err() {
            self.forget();
            return committed;
        }
        if let Some(Life::Live(stream)) = self.life.take() {
            self.dismiss_readers(ports, &stream, &Refusal::Gone);
            self.life = Some(Life::Gone(stream));
            self.reported = Reported::Unknown;
        }
        self.have_ended();
        if self.owes_end() {
            self.arm(now);
        }
        Ok(())
    }

    /// Ends the stream for good.
    fn end_now<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        released: Option<Released<'_>>,
        now: Millis,
    ) -> Result<(), Failure> {
        let limits = self.settings.segments;
        let Some(stream) = self.load(ports.sql)?.stored() else { return Ok(()) };
        let ended = delete(stream);
        let uploading = limits.and_then(|limits| rotate::due(stream, limits));
        let has_segments = stream.hot_from > stream.first_segment || uploading.is_some();
        let has_source = stream.fork.is_some();
        let committed = commit(ports.sql, &Change::End { stream, ended, uploading, released, now });
        if committed.is_err() {
            self.forget();
            return committed;
        }
        if let Some(Life::Live(stream)) = self.life.replace(Life::Ended(ended)) {
            self.dismiss_readers(ports, &stream, &Refusal::NotFound);
            self.reported = Reported::Unknown;
        }
        self.have_ended();
        if has_segments || released.is_some() {
            self.garbage = Garbage::Unknown;
        }
        if has_source {
            self.links = Links::Unknown;
        }
        if has_segments || has_source || released.is_some() || self.owes_end() {
            // What follows is done soon; if this object dies before that, when the alarm rings.
            self.arm(now);
        }
        Ok(())
    }

    fn dismiss_readers<S: Sockets>(&self, ports: &Ports<'_, S>, stream: &Stream, refusal: &Refusal) {
        let audience = Audience::of(self.settings.guarded, stream.public, false);
        live::dismiss(ports.sockets, (audience, refusal), stream.incarnation, stream.tail);
    }

    fn have_ended(&mut self) {
        self.announced = None;
        self.producers = Producers::new(self.settings.producers);
        self.trims_at = TrimsAt::NextRotation;
        // What may still rotate of it is read.
        (self.ahead, self.sealed_ahead) = (None, None);
    }

    /// Whether somebody without a token may do this: read, and a public stream. One that is not public and one that is
    /// not there are the same to a stranger, and neither is touched.
    pub fn admit_stranger<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        command: &Command<'_>,
        now: Millis,
    ) -> Result<(), Error> {
        let reads = matches!(command, Command::Read(_) | Command::Head);
        match self.stream(ports, now) {
            Ok(stream) if stream.public && reads => Ok(()),
            Ok(_) | Err(Error::Refused(_)) => Err(Refusal::Unauthorized { given: false }.into()),
            Err(failed) => {
                self.forget();
                Err(failed)
            }
        }
    }

    #[inline(never)]
    fn metadata<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<Answer, Error> {
        let guarded = self.settings.guarded;
        let stream = self.stream(ports, now)?;
        let (closed, public) = (stream.closure.is_closed(), stream.public);
        let reply = Reply::metadata(&stream.content_type, stream.tail, closed, public, stream.lifetime);
        let reply = reply.with_retention(stream.retention);
        Ok(reply.with_reader_key(stream.reader_key(guarded, now)).into())
    }
}

/// Slides the TTL of a stream that was read or written, and stores that where it must be.
fn touch(sql: &dyn Sql, stream: &mut Stream, now: Millis) -> Result<(), Failure> {
    if let Some(lease_until) = stream.touch(now) {
        commit(sql, &Change::Touch { lease_until })?;
        stream.lease_until = lease_until;
    }
    Ok(())
}

fn is_read_live<S: Sockets>(stream: &Stream, sockets: &S) -> bool {
    matches!(stream.lifetime, Lifetime::Ttl { .. }) && sockets.count() > 0
}
