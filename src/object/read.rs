//! Reads: one bounded chunk, and at the tail whatever the mode asks for.

use super::live::{FRAME_MAX_BYTES, LIVE_READERS_MAX, Park, Sockets};
use super::{Answer, Limits, Object, Ports, Served, Stop, touch};
use crate::protocol::bridge::{Attachment, BridgeKind, Channel, Place};
use crate::protocol::cache_policy::CachePolicy;
use crate::protocol::command::{Read, ReadMode};
use crate::protocol::content_type::Format;
use crate::protocol::offset::{Offset, ReadFrom};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{ReadHead, Reply};
use crate::protocol::sse::{self, Control};
use crate::protocol::{Millis, bridge, cursor, etag};
use crate::storage::messages::{self, Chunk};
use crate::storage::{Failure, Sql};
use crate::stream::Stream;
use crate::stream::read::begin;

impl Object {
    #[inline(never)]
    pub(super) fn read<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        request: &Read,
        now: Millis,
    ) -> Result<Served, Stop> {
        if request.mode != ReadMode::CatchUp {
            // First what is due to the readers that are there, so that a new one begins where they are.
            self.announce(ports, now)?;
        }
        let limits = self.limits;
        let stream = self.stream(ports, now)?;
        let start = begin(stream, request.from)?;
        touch(ports.sql, stream, now)?;
        let reading = Reading { stream, start, request, limits, now };
        let answer = match request.mode {
            ReadMode::CatchUp => Answer::Reply(reading.catch_up(ports.sql)?),
            ReadMode::LongPoll => reading.long_poll(ports.sql)?,
            ReadMode::Sse => reading.events(ports.sql)?,
        };
        if matches!(answer, Answer::Park(_)) && ports.sockets.count() >= LIVE_READERS_MAX {
            return Err(Refusal::TooManyReaders.into());
        }
        Ok(Served { answer, alarm_at: None })
    }
}

struct Reading<'r> {
    stream: &'r Stream,
    start: Offset,
    request: &'r Read,
    limits: Limits,
    now: Millis,
}

impl Reading<'_> {
    /// PROTOCOL.md 5.6.
    fn catch_up(&self, sql: &dyn Sql) -> Result<Reply, Failure> {
        let chunk = self.chunk(sql)?;
        let mut head = read_head(self.stream, self.start, &chunk, self.now);
        if self.request.from == ReadFrom::Now {
            head.etag = None;
        }
        let tail = if head.up_to_date { CachePolicy::Revalidate } else { head.cache };
        head.cache = policy(Place::of(self.request.from), tail);
        Ok(self.unless_known(head, chunk.body))
    }

    /// PROTOCOL.md 5.7.
    fn long_poll(&self, sql: &dyn Sql) -> Result<Answer, Failure> {
        let cursor = cursor::next(self.now, self.request.cursor);
        if self.start < self.stream.tail {
            let chunk = self.chunk(sql)?;
            let head = read_head(self.stream, self.start, &chunk, self.now);
            let cache = policy(Place::of(self.request.from), head.cache);
            let head = ReadHead { cursor: Some(cursor), cache, ..head };
            return Ok(Answer::Reply(self.unless_known(head, chunk.body)));
        }
        let closed = self.stream.closure.is_closed();
        let nothing_new = Reply::nothing_new(self.stream.tail, closed, cursor);
        if closed {
            return Ok(Answer::Reply(nothing_new));
        }
        Ok(Answer::Park(self.park(BridgeKind::LongPoll, nothing_new, None)))
    }

    /// PROTOCOL.md 5.8. What does not reach the tail is a response of its own, which the edge passes on before it
    /// asks for the next: a slow reader holds up nothing but itself.
    fn events(&self, sql: &dyn Sql) -> Result<Answer, Failure> {
        let format = self.stream.content_type.format();
        let nothing = Chunk { body: Vec::new(), next: self.start };
        let mut chunk = if self.start < self.stream.tail { self.chunk(sql)? } else { nothing };
        if format == Format::Text && chunk.next < self.stream.tail {
            end_with_whole_character(&mut chunk);
        }
        let up_to_date = chunk.next == self.stream.tail;
        let closed = up_to_date && self.stream.closure.is_closed();
        let cursor = cursor::next(self.now, self.request.cursor);
        let mut frame = bridge::frame_head(self.start, chunk.next);
        let control = Control { next: chunk.next, cursor, up_to_date, closed };
        sse::write_events(&mut frame, format, &chunk.body, control);
        let head = |body| Reply::events(chunk.next, format == Format::Binary, closed, body);
        // Only a response of its own is taken at the client's speed, so what is large comes as one.
        if !up_to_date || closed || frame.len() > FRAME_MAX_BYTES {
            return Ok(Answer::Reply(head(frame.split_off(bridge::FRAME_HEAD_BYTES))));
        }
        let is_ahead = cursor > cursor::next(self.now, None);
        let kind = if is_ahead { BridgeKind::SseAhead } else { BridgeKind::Sse };
        Ok(Answer::Park(self.park(kind, head(Vec::new()), Some(frame))))
    }

    fn chunk(&self, sql: &dyn Sql) -> Result<Chunk, Failure> {
        let format = self.stream.content_type.format();
        if self.start == self.stream.tail {
            let body = if format == Format::Json { b"[]".to_vec() } else { Vec::new() };
            return Ok(Chunk { body, next: self.start });
        }
        messages::read(sql, format, self.start, self.limits.chunk_max_bytes)
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
            attachment: Attachment { cursor: self.request.cursor, place: Place::of(self.request.from) },
            head,
            first_frame,
        }
    }
}

/// What caches may do, given where the reader asked to begin. `now` is another place for each request, and the start
/// is another for each life of the URL: neither may be answered with what another request was given.
pub(super) fn policy(place: Place, otherwise: CachePolicy) -> CachePolicy {
    match place {
        Place::Now => CachePolicy::Never,
        Place::Start => CachePolicy::Revalidate,
        Place::Offset => otherwise,
    }
}

/// A chunk's size may cut a character in two; the next chunk then begins with it.
fn end_with_whole_character(chunk: &mut Chunk) {
    let whole = sse::whole_characters(&chunk.body);
    if whole > 0 {
        chunk.next.position -= (chunk.body.len() - whole) as u64;
        chunk.body.truncate(whole);
    }
}

/// What a response says of the bytes from `start`; it may be kept, unless the caller knows better.
pub(super) fn read_head(stream: &Stream, start: Offset, chunk: &Chunk, now: Millis) -> ReadHead {
    let up_to_date = chunk.next == stream.tail;
    let closed = up_to_date && stream.closure.is_closed();
    let remaining = stream.expires_at().map(|at| at.saturating_sub(now));
    ReadHead {
        content_type: stream.content_type.as_str().to_owned(),
        next: chunk.next,
        up_to_date,
        closed,
        cursor: None,
        etag: Some(etag::of_range(stream.incarnation, start, chunk.next, closed)),
        cache: CachePolicy::Immutable { remaining },
    }
}
