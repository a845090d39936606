//! Serves reads: one bounded chunk, and at the tail what the mode requires.

use super::answer::{Answer, Error};
use super::fetch::{Bound, Fetched, PendingRead, Resumed};
use super::live::{FRAME_MAX_BYTES, LIVE_READERS_MAX, Park, Sockets};
use super::plan;
use super::ports::{Ports, Settings};
use super::response_head::{Seen, policy};
use super::seek::{Beginning, beginning, sought};
use super::shapes::Shapes;
use super::state::Object;
use crate::protocol::bridge::{Attachment, BridgeKind, Channel, Place};
use crate::protocol::cache_policy::{Audience, CachePolicy};
use crate::protocol::command::{Read, ReadMode};
use crate::protocol::content_type::Format;
use crate::protocol::offset::{Offset, ReadFrom};
use crate::protocol::read_head::ReadHead;
use crate::protocol::refusal::{Refusal, TOO_MUCH_IS_HELD};
use crate::protocol::reply::Reply;
use crate::protocol::sse::{Control, Events, RETRY};
use crate::protocol::{Millis, bridge, etag};
use crate::storage::chunk::Chunk;
use crate::storage::commit::Change;
use crate::storage::{Failure, Sql, messages};
use crate::stream::Stream;
use crate::stream::reader_key;
use crate::stream::retain::window;

impl Object {
    // V8 compiles a function on its first call, so the first request compiles only what it runs.
    #[inline(never)]
    pub(super) fn read<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        request: &Read,
        now: Millis,
    ) -> Result<Answer, Error> {
        if request.mode != ReadMode::CatchUp {
            // Existing readers are notified first, so that a new one begins at the same offset.
            self.announce(ports, now)?;
        }
        let max_bytes = self.settings.chunk_max_bytes;
        let bound = Bound::of_chunk(max_bytes, request.mode);
        let beginning = beginning(ports.sql, self.stream(ports, now)?, path, request, bound)?;
        self.touch(ports.sql, now)?;
        match beginning {
            Beginning::At(start) => self.read_from(ports, path, request, start, now),
            Beginning::Asks(pending) => Ok(Answer::Fetch(*pending)),
        }
    }

    fn read_from<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        request: &Read,
        start: Offset,
        now: Millis,
    ) -> Result<Answer, Error> {
        let settings = self.settings;
        let stream = self.state.live().ok_or(Refusal::NotFound)?;
        let max_bytes = settings.chunk_max_bytes;
        let is_elsewhere = start < stream.own_start() || start.segment < stream.hot_from;
        if is_elsewhere && start != stream.tail {
            let bound = Bound::of_chunk(max_bytes, request.mode);
            return self.plan(ports, path, start, Shapes::default(), bound).map(Answer::Fetch);
        }
        let format = stream.content_type.format();
        let mut chunk = messages::read(ports.sql, format, start, stream.tail, max_bytes)?;
        if let Some(fewer) = fewer_bytes(request, format, &chunk, max_bytes) {
            chunk = messages::read(ports.sql, format, start, stream.tail, fewer)?;
        }
        let keyed = is_keyed(stream, request, settings, now);
        let reading = Reading { stream, start, request, now, settings, kept_until: None, keyed };
        let answer = reading.answer(chunk);
        self.admit(ports, answer)
    }

    fn plan<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        start: Offset,
        learnt: Shapes,
        bound: Bound,
    ) -> Result<PendingRead, Error> {
        let (stream, recent) = self.state.stream_and_shapes().ok_or(Refusal::NotFound)?;
        let place = plan::ReadPlace { stream, path, start };
        Ok(plan::plan(ports.sql, place, recent, learnt, bound)?)
    }

    /// Continues a read with the bytes that it needed from elsewhere. If the stream has changed, the read may
    /// need other bytes, or is refused.
    pub fn resume<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        request: &Read,
        pending: &PendingRead,
        fetched: &[Fetched],
        now: Millis,
    ) -> Result<Answer, Error> {
        if fetched.contains(&Fetched::Busy) {
            return Err(Refusal::Busy { why: TOO_MUCH_IS_HELD }.into());
        }
        let given = std::mem::replace(&mut self.settings.chunk_max_bytes, pending.bound.max_bytes);
        let answer = self.resume_as_planned(ports, request, pending, fetched, now);
        // The bound applies only to this read.
        self.give_at_most(given);
        answer
    }

    fn resume_as_planned<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        request: &Read,
        pending: &PendingRead,
        fetched: &[Fetched],
        now: Millis,
    ) -> Result<Answer, Error> {
        let settings = self.settings;
        let stream = self.stream(ports, now)?;
        let (is_same_life, earliest) = (stream.incarnation == pending.incarnation, stream.start());
        if is_same_life && pending.start < earliest && !matches!(request.from, ReadFrom::At(_)) {
            // Only an offset is fixed: all other reads begin at another place by now.
            return self.read(ports, &pending.path, request, now);
        }
        if !is_same_life || pending.start < earliest {
            return Err(Refusal::OffsetGone { earliest }.into());
        }
        if let Some(search) = &pending.search {
            return match sought(stream, pending, search, fetched)? {
                Beginning::At(start) => self.read_from(ports, &pending.path, request, start, now),
                Beginning::Asks(pending) => Ok(Answer::Fetch(*pending)),
            };
        }
        let chunk = match self.take_apart(ports, pending, fetched)? {
            Ok(chunk) => chunk,
            Err(other) => return Ok(Answer::Fetch(other)),
        };
        let stream = self.stream(ports, now)?;
        if pending.is_overtaken(&chunk, stream, settings) {
            return self.read(ports, &pending.path, request, now);
        }
        let format = stream.content_type.format();
        if !pending.bound.is_cut
            && let Some(fewer) = fewer_bytes(request, format, &chunk, settings.chunk_max_bytes)
        {
            let (learnt, bound) = (pending.learnt.clone(), Bound::of_events(fewer));
            return self.plan(ports, &pending.path, pending.start, learnt, bound).map(Answer::Fetch);
        }
        // The response is valid until retention drops its first segment.
        let oldest = pending.oldest_written_at().zip(window(stream, settings.retention));
        let kept_until = oldest.map(|(written_at, window)| written_at + window);
        let keyed = is_keyed(stream, request, settings, now);
        let reading = Reading { stream, start: pending.start, request, now, settings, kept_until, keyed };
        let answer = reading.answer(chunk);
        if matches!(answer, Answer::Park(_)) {
            // Existing readers are notified first, so that this one begins at the same offset.
            self.announce(ports, now)?;
        }
        self.admit(ports, answer)
    }

    /// Joins the fetched parts into a chunk, or returns a new plan.
    fn take_apart<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        pending: &PendingRead,
        fetched: &[Fetched],
    ) -> Result<Result<Chunk, PendingRead>, Error> {
        let settings = self.settings;
        let (stream, recent) = self.state.stream_and_shapes().ok_or(Refusal::NotFound)?;
        let learnt = match pending.resume(ports.sql, stream, fetched, recent, settings)? {
            Resumed::Chunk(chunk) => return Ok(Ok(chunk)),
            Resumed::Learnt(learnt) => learnt,
            Resumed::Rotated(owner, hot_from) => {
                self.owner_has_rotated(ports.sql, &owner, hot_from)?;
                Shapes::default()
            }
        };
        self.plan(ports, &pending.path, pending.start, learnt, pending.bound).map(Err)
    }

    /// Stores an owner's rotation, once per segment, so that later reads need not call the owner.
    fn owner_has_rotated(&mut self, sql: &dyn Sql, owner: &str, hot_from: u64) -> Result<(), Failure> {
        let Some(fork) = self.state.live_mut().and_then(|stream| stream.fork.as_deref_mut()) else {
            return Ok(());
        };
        fork.owner_rotated(owner, hot_from);
        let fork = fork.clone();
        self.commit(sql, &Change::Inherit { fork: &fork })
    }

    fn admit<S: Sockets>(&self, ports: &Ports<'_, S>, answer: Answer) -> Result<Answer, Error> {
        if matches!(answer, Answer::Park(_)) && ports.sockets.count() >= LIVE_READERS_MAX {
            return Err(Refusal::TooManyReaders.into());
        }
        Ok(answer)
    }
}

struct Reading<'r> {
    stream: &'r Stream,
    start: Offset,
    request: &'r Read,
    now: Millis,
    settings: Settings,
    /// When retention drops the first segment of the chunk, if that is known.
    kept_until: Option<Millis>,
    /// Whether the request has a valid reader key.
    keyed: bool,
}

fn is_keyed(stream: &Stream, request: &Read, settings: Settings, now: Millis) -> bool {
    let is_valid = |given: &String| reader_key::is_valid(&stream.reader_key, given, now);
    settings.guarded && !stream.public && request.reader_key.as_ref().is_some_and(is_valid)
}

impl Reading<'_> {
    fn audience(&self) -> Audience {
        Audience::of(self.settings.guarded, self.stream.public, self.keyed)
    }

    fn seen(&self) -> Seen<'_> {
        let Reading { stream, now, kept_until, .. } = *self;
        Seen { stream, audience: self.audience(), now, kept_until }
    }

    /// Where the URL says that the read begins. One past the tail becomes another place as soon as the stream
    /// grows, so like `now` it must not be cached.
    fn place(&self) -> Place {
        match Place::of(self.request.from) {
            Place::Offset if self.request.from != ReadFrom::At(self.start) => Place::Now,
            place @ (Place::Start | Place::Now | Place::Offset) => place,
        }
    }

    /// Whether the response gives the reader a new reader key, because the one it sent is not valid. Such a
    /// response is in no shared cache.
    fn renews(&self) -> bool {
        self.request.reader_key.is_some() && self.audience() == Audience::Holders
    }

    /// Adds where the response begins if the URL does not say it, and a reader key if the reader needs one.
    fn complete(&self, reply: Reply) -> Reply {
        let reply = reply.with_start(self.place(), self.start);
        if !self.renews() {
            return reply;
        }
        reply.with_reader_key(self.stream.reader_key(self.settings.guarded, self.now))
    }

    fn answer(&self, chunk: Chunk) -> Answer {
        match self.request.mode {
            ReadMode::CatchUp => Answer::Reply(self.complete(self.catch_up(chunk))),
            ReadMode::LongPoll => self.long_poll(chunk),
            ReadMode::Sse => self.events(chunk),
        }
    }

    /// PROTOCOL.md 5.6.
    fn catch_up(&self, mut chunk: Chunk) -> Reply {
        if chunk.body.is_empty() && self.stream.content_type.format() == Format::Json {
            chunk.body = b"[]".to_vec();
        }
        let mut head = self.seen().head(self.start, &chunk);
        if self.request.from == ReadFrom::Now {
            head.etag = None;
        }
        if head.up_to_date {
            // With it, a reader that continues live requests the same URL as the readers that already wait.
            head.cursor = Some(self.stream.cursor(self.now, self.request.cursor));
        }
        let tail = if head.up_to_date { CachePolicy::Revalidate } else { head.cache };
        head.cache = policy(self.place(), tail);
        self.unless_known(head, chunk.body)
    }

    /// PROTOCOL.md 5.7.
    fn long_poll(&self, chunk: Chunk) -> Answer {
        if self.start < self.stream.tail {
            let cursor = self.stream.cursor(self.now, self.request.cursor);
            let head = self.seen().head(self.start, &chunk);
            let cache = policy(self.place(), head.cache);
            let head = ReadHead { cursor: Some(cursor), cache, ..head };
            return Answer::Reply(self.complete(self.unless_known(head, chunk.body)));
        }
        if self.stream.closure.is_closed() {
            let seen = Seen { kept_until: None, ..self.seen() };
            return Answer::Reply(self.complete(seen.nothing_more(self.place())));
        }
        // The Worker sends it when the wait times out, and all readers that wait until then must get the same
        // response.
        let cursor = self.stream.cursor(self.now + self.settings.long_poll_timeout, self.request.cursor);
        let nothing_new =
            Reply::nothing_new(self.audience(), self.stream.tail, CachePolicy::Never, Some(cursor));
        Answer::Park(self.park(BridgeKind::LongPoll, self.complete(nothing_new), None))
    }

    /// PROTOCOL.md 5.8. A chunk that does not reach the tail is a response of its own. The Worker passes it
    /// on before it requests the next one, so a slow reader delays only itself.
    fn events(&self, chunk: Chunk) -> Answer {
        let format = self.stream.content_type.format();
        let up_to_date = chunk.next == self.stream.tail;
        let closed = up_to_date && self.stream.closure.is_closed();
        let cursor = self.stream.cursor(self.now, self.request.cursor);
        let mut frame = bridge::frame_head(self.start, chunk.next);
        frame.extend_from_slice(RETRY);
        let control = Control { next: chunk.next, cursor, up_to_date, closed };
        Events::of(format, &chunk.body, &chunk.marks).write(&mut frame, control);
        let head = |body| {
            Reply::events(self.audience(), chunk.next, format == Format::Binary, closed, body)
                .with_start(self.place(), self.start)
        };
        // Only a response of its own is read at the client's speed, so large data is sent as one.
        if !up_to_date || closed || frame.len() > FRAME_MAX_BYTES {
            frame.drain(..bridge::FRAME_HEAD_BYTES);
            return Answer::Reply(head(frame));
        }
        let is_ahead = cursor > self.stream.cursor(self.now, None);
        let kind = if is_ahead { BridgeKind::SseAhead } else { BridgeKind::Sse };
        Answer::Park(self.park(kind, head(Vec::new()), Some(frame)))
    }

    fn unless_known(&self, head: ReadHead, body: Vec<u8>) -> Reply {
        let is_known = match (&self.request.if_none_match, &head.etag) {
            (Some(if_none_match), Some(etag)) => etag::matches(if_none_match, etag),
            _ => false,
        };
        if is_known { Reply::not_modified(head) } else { Reply::read(head, body) }
    }

    fn park(&self, kind: BridgeKind, head: Reply, first_frame: Option<Vec<u8>>) -> Park {
        Park {
            channel: Channel { kind, incarnation: self.stream.incarnation },
            attachment: Attachment {
                cursor: self.request.cursor,
                place: self.place(),
                keyed: self.keyed,
                renews: self.renews(),
            },
            head,
            first_frame,
        }
    }
}

/// How many bytes to read instead, if the events of this chunk would be too large.
fn fewer_bytes(request: &Read, format: Format, chunk: &Chunk, max_bytes: usize) -> Option<usize> {
    let is_events = request.mode == ReadMode::Sse;
    let events = is_events.then(|| Events::of(format, &chunk.body, &chunk.marks));
    events.and_then(|events| events.fewer_bytes(max_bytes))
}
