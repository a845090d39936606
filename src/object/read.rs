//! Reads: one bounded chunk, and at the tail whatever the mode asks for.

use std::ops::Range;
use std::rc::Rc;

use super::live::{FRAME_MAX_BYTES, LIVE_READERS_MAX, Park, Sockets};
use super::{Answer, Limits, Object, Ports, Stop, touch};
use crate::protocol::bridge::{Attachment, BridgeKind, Channel, Place};
use crate::protocol::cache_policy::{Audience, CachePolicy};
use crate::protocol::command::{Read, ReadMode};
use crate::protocol::content_type::Format;
use crate::protocol::offset::{Offset, ReadFrom};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{ReadHead, Reply};
use crate::protocol::sse::{self, Control};
use crate::protocol::{Millis, bridge, etag};
use crate::storage::messages::{self, Chunk};
use crate::storage::segments::{self, Shape};
use crate::storage::{Failure, Sql, stream_row};
use crate::stream::Stream;
use crate::stream::read::begin;
use crate::stream::retain::window;

impl Object {
    #[inline(never)]
    pub(super) fn read<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        request: &Read,
        now: Millis,
    ) -> Result<Answer, Stop> {
        if request.mode != ReadMode::CatchUp {
            // First what is due to the readers that are there, so that a new one begins where they are.
            self.announce(ports, now)?;
        }
        let limits = self.limits;
        let stream = self.stream(ports, now)?;
        let start = begin(stream, request.from)?;
        touch(ports.sql, stream, now)?;
        let max_bytes = limits.chunk_max_bytes;
        let is_cold = start.read_seq < stream.hot_from && start != stream.tail;
        if is_cold {
            let (incarnation, hot_from) = (stream.incarnation, stream.hot_from);
            let plan =
                Plan { path, incarnation, hot_from, format: stream.content_type.format(), start, max_bytes };
            let cold = plan.find(ports.sql, &mut self.shape)?;
            return Ok(Answer::Cold(cold));
        }
        let chunk = messages::read(ports.sql, stream.content_type.format(), start, stream.tail, max_bytes)?;
        let reading = Reading { stream, start, request, now, limits, kept_until: None };
        let answer = reading.answer(chunk);
        self.admit(ports, answer)
    }

    /// Answers a read with what it needed of the bucket, if the stream is still as it was; else it may need other bytes.
    pub fn thaw<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        request: &Read,
        (cold, fetched): (&Cold, &Fetched),
        now: Millis,
    ) -> Result<Answer, Stop> {
        let limits = self.limits;
        let stream = self.stream(ports, now)?;
        let (is_same_life, earliest) = (stream.incarnation == cold.incarnation, stream.start());
        if is_same_life && cold.start < earliest && request.from == ReadFrom::Start {
            // Whoever asks for the start is not told that it was elsewhere a moment ago.
            return self.read(ports, &stream_row::path(ports.sql)?, request, now);
        }
        if !is_same_life || cold.start < earliest {
            return Err(Refusal::OffsetGone { earliest }.into());
        }
        let chunk = cold.chunk(ports.sql, stream, fetched, limits)?;
        if cold.is_overtaken(&chunk, stream, limits) {
            return self.read(ports, &stream_row::path(ports.sql)?, request, now);
        }
        // What goes first bounds the whole of it.
        let oldest = cold.parts.first().zip(window(stream, limits.retention));
        let kept_until = oldest.map(|(part, window)| part.shape.written_at + window);
        let answer = Reading { stream, start: cold.start, request, now, limits, kept_until }.answer(chunk);
        if matches!(answer, Answer::Park(_)) {
            // Others have to be told first, so that this one begins where they are.
            self.announce(ports, now)?;
        }
        self.admit(ports, answer)
    }

    fn admit<S: Sockets>(&self, ports: &Ports<'_, S>, answer: Answer) -> Result<Answer, Stop> {
        if matches!(answer, Answer::Park(_)) && ports.sockets.count() >= LIVE_READERS_MAX {
            return Err(Refusal::TooManyReaders.into());
        }
        Ok(answer)
    }
}

/// How many objects one read fetches bytes of. Segments of the default size fill a chunk with one or two.
pub const COLD_PARTS_MAX: usize = 32;

/// A read that needs bytes of the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cold {
    /// What to fetch, in order.
    pub parts: Vec<ColdPart>,
    incarnation: u64,
    start: Offset,
    hot_from: u64,
}

/// Bytes of one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColdPart {
    /// Which object.
    pub key: String,
    /// Which of its bytes.
    pub range: Range<u64>,
    from: Offset,
    shape: Rc<Shape>,
}

/// A read that begins in the bucket.
struct Plan<'p> {
    path: &'p str,
    incarnation: u64,
    hot_from: u64,
    format: Format,
    start: Offset,
    max_bytes: usize,
}

impl Plan<'_> {
    fn find(&self, sql: &dyn Sql, of_late: &mut Option<Rc<Shape>>) -> Result<Cold, Failure> {
        let (mut parts, mut from, mut bytes) = (Vec::new(), self.start, 0);
        while from.read_seq < self.hot_from && bytes < self.max_bytes && parts.len() < COLD_PARTS_MAX {
            let shape = shape(sql, from.read_seq, of_late)?;
            let range = shape.index.range(self.format, from.position, self.max_bytes - bytes);
            bytes += (range.end - range.start) as usize;
            let key = segments::key(self.path, self.incarnation, from.read_seq);
            parts.push(ColdPart { key, range, from, shape });
            from = Offset::segment_start(from.read_seq + 1);
        }
        Ok(Cold { parts, incarnation: self.incarnation, start: self.start, hot_from: self.hot_from })
    }
}

fn shape(sql: &dyn Sql, read_seq: u64, of_late: &mut Option<Rc<Shape>>) -> Result<Rc<Shape>, Failure> {
    match of_late {
        Some(shape) if shape.read_seq == read_seq => Ok(Rc::clone(shape)),
        Some(_) | None => Ok(Rc::clone(of_late.insert(Rc::new(segments::shape(sql, read_seq)?)))),
    }
}

impl Cold {
    /// Whether what was to come from the hot log is in the bucket by now. Ending there would be right, but whoever reads
    /// what there is with one request would miss it.
    fn is_overtaken(&self, chunk: &Chunk, stream: &Stream, limits: Limits) -> bool {
        (self.hot_from..stream.hot_from).contains(&chunk.next.read_seq)
            && chunk.next < stream.tail
            && chunk.body.len() < limits.chunk_max_bytes
    }

    /// Takes what was fetched apart, and reads on in the hot log if there is room.
    fn chunk(
        &self,
        sql: &dyn Sql,
        stream: &Stream,
        fetched: &Fetched,
        limits: Limits,
    ) -> Result<Chunk, Failure> {
        let format = stream.content_type.format();
        let room = |chunk: &Chunk| limits.chunk_max_bytes.saturating_sub(chunk.body.len());
        let mut whole = Chunk::empty(self.start);
        for (part, fetched) in self.parts.iter().zip(fetched) {
            if part.from != whole.next || room(&whole) == 0 {
                return Ok(whole);
            }
            let chunk = part.chunk(format, fetched.as_deref(), room(&whole))?;
            whole.next = part.after(chunk.next, stream.tail);
            messages::join(format, &mut whole.body, chunk.body);
        }
        let goes_on = whole.next.read_seq >= stream.hot_from && whole.next < stream.tail && room(&whole) > 0;
        if goes_on {
            let chunk = messages::read(sql, format, whole.next, stream.tail, room(&whole))?;
            whole.next = chunk.next;
            messages::join(format, &mut whole.body, chunk.body);
        }
        Ok(whole)
    }
}

/// What was fetched for each part; `None` is an object that is not there.
pub type Fetched = [Option<Vec<u8>>];

impl ColdPart {
    fn chunk(&self, format: Format, fetched: Option<&[u8]>, max_bytes: usize) -> Result<Chunk, Failure> {
        if self.from.position >= self.shape.end_position {
            return Ok(Chunk::empty(self.from));
        }
        let named = |failure: Failure| {
            Failure::new(failure.operation, format_args!("{}: {}", self.key, failure.cause))
        };
        let missing = || Failure::new("read segment", "it is not in the bucket");
        let fetched = fetched.ok_or_else(missing).map_err(named)?;
        if fetched.len() as u64 != self.range.end - self.range.start {
            return Err(named(Failure::new("read segment", "it is cut off")));
        }
        let fetched = (self.range.start, fetched);
        let chunk = self.shape.index.read(format, self.from, fetched, max_bytes).map_err(named)?;
        let stands_still = chunk.next == self.from;
        if stands_still {
            Err(named(Failure::new("read segment", "it holds less than its row says")))
        } else {
            Ok(chunk)
        }
    }

    /// Where to read on: at a segment's end with the next, but a closed stream's last has none.
    fn after(&self, next: Offset, tail: Offset) -> Offset {
        if next.position < self.shape.end_position || next.read_seq == tail.read_seq {
            return next;
        }
        Offset::segment_start(next.read_seq + 1)
    }
}

struct Reading<'r> {
    stream: &'r Stream,
    start: Offset,
    request: &'r Read,
    now: Millis,
    limits: Limits,
    /// When the first of it is dropped, if that is known.
    kept_until: Option<Millis>,
}

impl Reading<'_> {
    fn is_keyed(&self) -> bool {
        self.request.reader_key.as_ref() == Some(&self.stream.reader_key)
    }

    fn audience(&self) -> Audience {
        Audience::of(self.limits.guarded, self.stream.public, self.is_keyed())
    }

    fn answer(&self, chunk: Chunk) -> Answer {
        match self.request.mode {
            ReadMode::CatchUp => Answer::Reply(self.catch_up(chunk)),
            ReadMode::LongPoll => self.long_poll(chunk),
            ReadMode::Sse => self.events(chunk),
        }
    }

    /// PROTOCOL.md 5.6.
    fn catch_up(&self, mut chunk: Chunk) -> Reply {
        if chunk.body.is_empty() && self.stream.content_type.format() == Format::Json {
            chunk.body = b"[]".to_vec();
        }
        let audience = (self.stream, self.audience());
        let mut head = read_head(audience, self.start, &chunk, (self.now, self.kept_until));
        if self.request.from == ReadFrom::Now {
            head.etag = None;
        }
        if head.up_to_date {
            // So that a reader who goes on live waits for the same URL as those who are there already.
            head.cursor = Some(self.stream.cursor(self.now, self.request.cursor));
        }
        let tail = if head.up_to_date { CachePolicy::Revalidate } else { head.cache };
        head.cache = policy(Place::of(self.request.from), tail);
        self.unless_known(head, chunk.body)
    }

    /// PROTOCOL.md 5.7.
    fn long_poll(&self, chunk: Chunk) -> Answer {
        if self.start < self.stream.tail {
            let cursor = self.stream.cursor(self.now, self.request.cursor);
            let audience = (self.stream, self.audience());
            let head = read_head(audience, self.start, &chunk, (self.now, self.kept_until));
            let cache = policy(Place::of(self.request.from), head.cache);
            let head = ReadHead { cursor: Some(cursor), cache, ..head };
            return Answer::Reply(self.unless_known(head, chunk.body));
        }
        // It is sent when time is up, by the edge, and whoever waits until then is to get the same.
        let cursor = self.stream.cursor(self.now + self.limits.long_poll_timeout, self.request.cursor);
        let closed = self.stream.closure.is_closed();
        let nothing_new = Reply::nothing_new(self.audience(), self.stream.tail, closed, cursor);
        if closed {
            return Answer::Reply(nothing_new);
        }
        Answer::Park(self.park(BridgeKind::LongPoll, nothing_new, None))
    }

    /// PROTOCOL.md 5.8. What does not reach the tail is a response of its own, which the edge passes on before it
    /// asks for the next: a slow reader holds up nothing but itself.
    fn events(&self, mut chunk: Chunk) -> Answer {
        let format = self.stream.content_type.format();
        if format == Format::Text && chunk.next < self.stream.tail {
            end_with_whole_character(&mut chunk);
        }
        let up_to_date = chunk.next == self.stream.tail;
        let closed = up_to_date && self.stream.closure.is_closed();
        let cursor = self.stream.cursor(self.now, self.request.cursor);
        let mut frame = bridge::frame_head(self.start, chunk.next);
        let control = Control { next: chunk.next, cursor, up_to_date, closed };
        sse::write_events(&mut frame, format, &chunk.body, control);
        let head = |body| Reply::events(self.audience(), chunk.next, format == Format::Binary, closed, body);
        // Only a response of its own is taken at the client's speed, so what is large comes as one.
        if !up_to_date || closed || frame.len() > FRAME_MAX_BYTES {
            return Answer::Reply(head(frame.split_off(bridge::FRAME_HEAD_BYTES)));
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
                place: Place::of(self.request.from),
                keyed: self.is_keyed(),
            },
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

/// A chunk's size may cut a character in two; the next chunk then begins with it. Where it is a segment that ends there,
/// an append did.
fn end_with_whole_character(chunk: &mut Chunk) {
    let whole = sse::whole_characters(&chunk.body);
    let begun = (chunk.body.len() - whole) as u64;
    if whole > 0 && begun <= chunk.next.position {
        chunk.next.position -= begun;
        chunk.body.truncate(whole);
    }
}

/// What a response says of the bytes from `start`; it may be kept, unless the caller knows better.
pub(super) fn read_head(
    (stream, audience): (&Stream, Audience),
    start: Offset,
    chunk: &Chunk,
    (now, kept_until): (Millis, Option<Millis>),
) -> ReadHead {
    let up_to_date = chunk.next == stream.tail;
    let closed = up_to_date && stream.closure.is_closed();
    let gone_at = [stream.expires_at(), kept_until].into_iter().flatten().min();
    let remaining = gone_at.map(|at| at.saturating_sub(now));
    ReadHead {
        content_type: stream.content_type.as_str().to_owned(),
        next: chunk.next,
        up_to_date,
        closed,
        cursor: None,
        etag: Some(etag::of_range(stream.incarnation, start, chunk.next, closed)),
        cache: CachePolicy::Immutable { remaining },
        audience,
    }
}
