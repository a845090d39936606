//! Serves writes: decides, commits and answers. Readers are notified after the answer. No function here may
//! be `async`, so that nothing runs between the decision and the commit.

use super::answer::{Answer, Error};
use super::live::{Sockets, close_to_catch_up};
use super::ports::{Ports, Settings};
use super::producers::Memo;
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::command::{Append, Close, Create};
use crate::protocol::content_type::ContentType;
use crate::protocol::offset::Offset;
use crate::protocol::producer::Producer;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::storage::Sql;
use crate::storage::commit::{AppendChange, Change, tail_after};
use crate::stream::append::{Appending, append};
use crate::stream::close::{Closing, close};
use crate::stream::content::Content;
use crate::stream::create::{Creating, create};
use crate::stream::fill::Fill;
use crate::stream::producer::ProducerState;
use crate::stream::reader_key;
use crate::stream::rotate::fills;
use crate::stream::{Closure, Life, Stream};

impl Object {
    // V8 compiles a function on its first call, so the first request compiles only what it runs.
    #[inline(never)]
    pub(super) fn create<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        request: &Create<'_>,
        now: Millis,
    ) -> Result<Answer, Error> {
        if request.retention.is_some() && self.settings.segments.is_none() {
            let why = "this server has no bucket for segments, and so never drops any";
            return Err(Refusal::InvalidHeader { name: "Stream-Retention", why }.into());
        }
        if request.public && self.settings.hides_public {
            let why = "this server has no public streams: PUBLIC_STREAMS in its configuration must be on";
            return Err(Refusal::InvalidHeader { name: "Stream-Public", why }.into());
        }
        match self.stream(ports, now) {
            Ok(_) => self.touch(ports.sql, now)?,
            Err(Error::Refused(_)) => {}
            Err(failed) => return Err(failed),
        }
        match create(self.load(ports.sql)?, request, now)? {
            Creating::Exists => self.found(ports, request, now),
            Creating::Create(stream, content) => self.born(ports, path, request, stream, &content, now),
            Creating::Fork(asked) => {
                let content_type = request.content_type.as_ref().map(ContentType::as_str);
                self.intend(ports, path, content_type, asked, now)
            }
        }
    }

    /// Answers a PUT for a stream that exists with the requested configuration (PROTOCOL.md 5.1).
    pub(super) fn found<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        request: &Create<'_>,
        now: Millis,
    ) -> Result<Answer, Error> {
        let guarded = self.settings.guarded;
        let Life::Live(stream) = self.load(ports.sql)? else { return Err(Refusal::NotFound.into()) };
        if request.rekeys || guarded && !reader_key::is_secret(&stream.reader_key) {
            let secret = reader_key::secret(&request.reader_key);
            self.commit(ports.sql, &Change::Rekey { reader_key: &secret })?;
            if let Some(stream) = self.state.live_mut() {
                stream.reader_key = secret;
                // Waiting readers sent the old key, so their responses must not be cached under it.
                close_to_catch_up(ports.sockets, stream.incarnation);
            }
        }
        let Life::Live(stream) = self.load(ports.sql)? else { return Err(Refusal::NotFound.into()) };
        let closed = stream.closure.is_closed();
        let reply = Reply::exists(&stream.content_type, stream.tail, closed);
        let reply = reply.with_retention(stream.retention);
        Ok(reply.with_reader_key(stream.reader_key(guarded, now)).into())
    }

    /// Creates a stream with its initial content (PROTOCOL.md 5.1).
    pub(super) fn born<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        request: &Create<'_>,
        mut stream: Box<Stream>,
        content: &Content<'_>,
        now: Millis,
    ) -> Result<Answer, Error> {
        let guarded = self.settings.guarded;
        let seals = self.settings.segments.is_some_and(|limits| fills(&stream, content, limits));
        let registries = self.settings.registries;
        self.commit(ports.sql, &Change::Create { path, stream: &stream, content, seals, registries })?;
        follow(&mut stream, content, seals);
        let reply = Reply::created(&request.location, &stream.content_type, stream.tail, request.closed)
            .with_retention(stream.retention)
            .with_reader_key(stream.reader_key(guarded, now));
        let ends_by_itself = stream.expires_at().is_some();
        self.readers.know_all_of(&stream);
        self.reports.born();
        self.state.put_life(Life::Live(stream));
        if ends_by_itself {
            self.arm(now);
        }
        self.arm_for_rotation(now);
        Ok(reply.into())
    }

    // V8 compiles a function on its first call, so the first request compiles only what it runs.
    #[inline(never)]
    pub(super) fn append<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        request: &Append<'_>,
        now: Millis,
    ) -> Result<Answer, Error> {
        self.stream(ports, now)?;
        let found = self.state.stream_and_producers();
        let (stream, producers) = found.ok_or(Refusal::NotFound)?;
        let known = producers.known(ports.sql, stream, request.producer.as_ref())?;
        match append(stream, known, request)? {
            Appending::Duplicate(state) => self.duplicate(ports.sql, state, now),
            Appending::Append(content) => {
                let closes = request.closes.then(|| Closure::by(request.producer.as_ref()));
                let writing = Writing {
                    content: Some(&content),
                    stream_seq: request.stream_seq.as_deref(),
                    producer: request.producer.as_ref(),
                    closes,
                };
                let at = stream.tail;
                let tail = self.store(ports.sql, writing, now)?;
                if let (Some(stream), Some(_)) = (self.state.live(), self.settings.segments) {
                    self.rotation.encode_ahead(stream, at, &content);
                }
                self.arm_for_rotation(now);
                Ok(Reply::appended(tail, request.closes, request.producer.as_ref()).into())
            }
        }
    }

    // V8 compiles a function on its first call, so the first request compiles only what it runs.
    #[inline(never)]
    pub(super) fn close<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        request: &Close,
        now: Millis,
    ) -> Result<Answer, Error> {
        self.stream(ports, now)?;
        let found = self.state.stream_and_producers();
        let (stream, producers) = found.ok_or(Refusal::NotFound)?;
        let producer = request.producer.as_ref();
        let known = producers.known(ports.sql, stream, producer)?;
        match close(stream, known, request)? {
            Closing::AlreadyClosed => {
                let tail = stream.tail;
                self.touch(ports.sql, now)?;
                Ok(Reply::closed(tail, None).into())
            }
            Closing::Duplicate(state) => self.duplicate(ports.sql, state, now),
            Closing::Close => {
                let closes = Some(Closure::by(producer));
                let writing = Writing { content: None, stream_seq: None, producer, closes };
                let tail = self.store(ports.sql, writing, now)?;
                self.arm_for_rotation(now);
                Ok(Reply::closed(tail, producer).into())
            }
        }
    }

    // V8 compiles a function on its first call, so the first request compiles only what it runs.
    #[inline(never)]
    pub(super) fn delete<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<Answer, Error> {
        self.stream(ports, now)?;
        self.end(ports, now)?;
        Ok(Reply::deleted().into())
    }
}

/// The data that an append or a close stores.
struct Writing<'a> {
    content: Option<&'a Content<'a>>,
    stream_seq: Option<&'a str>,
    producer: Option<&'a Producer>,
    closes: Option<Closure>,
}

impl Object {
    /// Commits an append or a close, and then updates memory. Returns the new tail.
    fn store(&mut self, sql: &dyn Sql, writing: Writing<'_>, now: Millis) -> Result<Offset, Error> {
        let Settings { segments, .. } = self.settings;
        let Writing { content, stream_seq, producer, closes } = writing;
        let (stream, producers) = self.state.stream_and_producers().ok_or(Refusal::NotFound)?;
        let seals =
            content.is_some_and(|content| segments.is_some_and(|limits| fills(stream, content, limits)));
        let memo = match content {
            Some(content) if closes.is_none() => {
                producers.memo(sql, stream, producer, stream.fill.with(content), seals)?
            }
            Some(_) | None => Memo::NOTHING,
        };
        let Some(Life::Live(mut stream)) = self.state.take_life() else {
            return Err(Refusal::NotFound.into());
        };
        let lease_until = stream.touch(now);
        let change = Change::Append(AppendChange {
            stream: &stream,
            content,
            stream_seq: stream_seq.or(stream.stream_seq.as_deref()),
            producer: memo.in_row,
            stored_producers: &memo.stored,
            makes_table: memo.makes_table,
            closes: closes.clone(),
            now,
            lease_until,
            seals,
        });
        self.commit(sql, &change)?;
        self.state.producers().remembered(memo);
        if let Some(content) = content {
            follow(&mut stream, content, seals);
            stream.written_at = now;
        }
        if let Some(seq) = stream_seq {
            stream.stream_seq = Some(seq.to_owned());
        }
        if let Some(closure) = closes {
            stream.closure = closure;
            stream.lease_until = lease_until.unwrap_or(stream.lease_until);
        }
        let tail = stream.tail;
        self.state.put_life(Life::Live(stream));
        Ok(tail)
    }

    fn duplicate(&mut self, sql: &dyn Sql, state: ProducerState, now: Millis) -> Result<Answer, Error> {
        self.touch(sql, now)?;
        let stream = self.state.live().ok_or(Refusal::NotFound)?;
        Ok(Reply::duplicate(stream.tail, stream.closure.is_closed(), state.epoch, state.seq).into())
    }
}

/// Updates memory after storage accepted the content.
fn follow(stream: &mut Stream, content: &Content<'_>, seals: bool) {
    if seals {
        stream.tail = Offset::segment_start(stream.tail.segment + 1);
        stream.fill = Fill::default();
    } else {
        stream.fill = stream.fill.with(content);
        stream.tail = tail_after(stream, content);
    }
}
