//! Live readers: the sockets behind SSE responses and long-polls, and what they are told.
//!
//! A reader's snapshot and its registration are one synchronous step, and everybody who is registered has been
//! told the same. Frames carry the offsets they lead from and to; the edge holds these against what it has
//! passed on, so that even after a crash no reader sees a gap or a duplicate.

use super::ports::Ports;
use super::response_head::{Seen, policy};
use crate::protocol::Millis;
use crate::protocol::bridge::{self, Attachment, BridgeKind, CLOSE_CATCH_UP, CLOSE_DONE, Channel, Place};
use crate::protocol::cache_policy::Audience;
use crate::protocol::offset::Offset;
use crate::protocol::read_head::ReadHead;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::protocol::sse::{Control, Events};
use crate::storage::Failure;
use crate::storage::chunk::Chunk;
use crate::storage::messages;
use crate::stream::Stream;

/// How many live readers a stream holds; the platform allows 32,768 sockets an object.
pub const LIVE_READERS_MAX: usize = 30_000;
/// The most bytes that are pushed in one frame; readers fetch what is larger.
pub const FRAME_MAX_BYTES: usize = 1 << 20;

/// The most bytes that are pushed to all readers together; they wait in memory until the edge has taken them.
pub const FAN_OUT_MAX_BYTES: usize = 64 << 20;
/// How many frames of one announcement are kept, each of at most [`FRAME_MAX_BYTES`].
pub const FRAMES_KEPT_MAX: usize = 16;

/// The port to the object's sockets: hibernatable WebSockets, and on the host a list.
pub trait Sockets {
    type Socket;
    /// A frame that many sockets can be sent.
    type Frame;

    fn count(&self) -> usize;
    /// Those of a channel that are open.
    fn connected(&self, channel: Channel) -> Vec<Self::Socket>;
    /// What the socket was accepted with.
    fn attachment(&self, socket: &Self::Socket) -> Attachment;
    /// Makes a frame, once for all who get it.
    fn frame(&self, bytes: &[u8]) -> Self::Frame;
    /// Sends without waiting; a socket that is gone is no failure.
    fn send(&self, socket: &Self::Socket, frame: &Self::Frame);
    fn close(&self, socket: &Self::Socket, code: u16);
}

/// A live reader that is to be registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Park {
    pub channel: Channel,
    /// What must be known when it is told something.
    pub attachment: Attachment,
    /// The head of the SSE response, or the whole answer of a long-poll for which nothing comes.
    pub head: Reply,
    /// What it gets at once.
    pub first_frame: Option<Vec<u8>>,
}

/// How far the live readers that are connected have been told; `None` before the stream is loaded, and once it has ended.
#[derive(Debug, Default)]
pub(super) struct LiveReaders {
    announced: Option<Announced>,
}

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

impl LiveReaders {
    /// There is nobody whom this is news to: the stream is new, or it was loaded, and then whoever is connected was told before
    /// the object went to sleep. Where that is not so (it died between commit and announcement), the edge sees the gap in the
    /// next frame and asks again.
    pub(super) fn know_all_of(&mut self, stream: &Stream) {
        self.announced = Some(Announced::all_of(stream));
    }

    pub(super) fn ended(&mut self) {
        self.announced = None;
    }

    pub(super) fn has_news(&self, stream: &Stream) -> bool {
        self.announced != Some(Announced::all_of(stream))
    }

    /// Tells all live readers what they have not been told yet.
    pub(super) fn announce<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        stream: &Stream,
        guarded: bool,
        now: Millis,
    ) -> Result<(), Failure> {
        let news = Announced::all_of(stream);
        let Some(told) = self.announced.replace(news) else { return Ok(()) };
        let reader_count = ports.sockets.count();
        if told == news || reader_count == 0 {
            return Ok(());
        }
        let start = told.through;
        let sockets = ports.sockets;
        if start.segment < stream.hot_from {
            // What they have not been told is in the bucket already.
            send_away(sockets, stream.incarnation);
            return Ok(());
        }
        let chunk = if start < stream.tail {
            messages::read(ports.sql, stream.content_type.format(), start, stream.tail, FRAME_MAX_BYTES)
        } else {
            Ok(Chunk::empty(start))
        };
        // What could not be read, they ask for themselves.
        let chunk = chunk.inspect_err(|_| send_away(sockets, stream.incarnation))?;
        let telling = Telling { sockets, stream, guarded, start, chunk, now };
        if telling.is_pushed(reader_count) {
            telling.tell_bridges();
            telling.tell_waiters();
        } else {
            send_away(sockets, stream.incarnation);
        }
        Ok(())
    }
}

/// Has all live readers of a stream ask for what is new.
pub(super) fn send_away<S: Sockets>(sockets: &S, incarnation: u64) {
    for kind in [BridgeKind::Sse, BridgeKind::SseAhead, BridgeKind::LongPoll] {
        for socket in sockets.connected(Channel { kind, incarnation }) {
            sockets.close(&socket, CLOSE_CATCH_UP);
        }
    }
}

/// Ends all live readers of a life that is over.
pub(super) fn dismiss<S: Sockets>(sockets: &S, audience: Audience, refusal: &Refusal, stream: &Stream) {
    let Stream { incarnation, tail, .. } = *stream;
    for kind in [BridgeKind::Sse, BridgeKind::SseAhead] {
        for socket in sockets.connected(Channel { kind, incarnation }) {
            sockets.close(&socket, CLOSE_DONE);
        }
    }
    let waiters = sockets.connected(Channel { kind: BridgeKind::LongPoll, incarnation });
    if waiters.is_empty() {
        return;
    }
    let mut reply = Reply::refused(refusal);
    if audience == Audience::Everyone {
        reply = reply.with_any_origin();
    }
    let frame = sockets.frame(&bridge::reply_frame(tail, tail, &reply));
    for waiter in waiters {
        sockets.send(&waiter, &frame);
        sockets.close(&waiter, CLOSE_DONE);
    }
}

struct Telling<'t, S> {
    sockets: &'t S,
    stream: &'t Stream,
    guarded: bool,
    start: Offset,
    chunk: Chunk,
    now: Millis,
}

impl<S: Sockets> Telling<'_, S> {
    fn channel(&self, kind: BridgeKind) -> Channel {
        Channel { kind, incarnation: self.stream.incarnation }
    }

    /// Whether the news are pushed; readers fetch at their own speed what is too large for that.
    fn is_pushed(&self, reader_count: usize) -> bool {
        let frame_bytes = self.events().bytes_at_most();
        self.chunk.next == self.stream.tail
            && frame_bytes <= FRAME_MAX_BYTES
            && frame_bytes.saturating_mul(reader_count) <= FAN_OUT_MAX_BYTES
    }

    fn events(&self) -> Events<'_> {
        Events::of(self.stream.content_type.format(), &self.chunk.body, &self.chunk.marks)
    }

    fn tell_bridges(&self) {
        let current = self.stream.cursor(self.now, None);
        let mut made = Made::new();
        for bridge in self.sockets.connected(self.channel(BridgeKind::Sse)) {
            self.send_event(
                &bridge,
                made.frame_for(current, || self.sockets.frame(&self.event_frame(current))),
            );
        }
        for bridge in self.sockets.connected(self.channel(BridgeKind::SseAhead)) {
            let cursor = self.stream.cursor(self.now, self.sockets.attachment(&bridge).cursor);
            self.send_event(
                &bridge,
                made.frame_for(cursor, || self.sockets.frame(&self.event_frame(cursor))),
            );
        }
    }

    fn tell_waiters(&self) {
        let mut made = Made::new();
        for waiter in self.sockets.connected(self.channel(BridgeKind::LongPoll)) {
            let Attachment { cursor, place, keyed, renews } = self.sockets.attachment(&waiter);
            let audience = Audience::of(self.guarded, self.stream.public, keyed);
            let cursor = self.stream.cursor(self.now, cursor);
            let frame = made.frame_for((cursor, place, keyed, renews), || {
                let key = self.stream.reader_key(self.guarded, self.now).filter(|_| renews);
                let reply = self.waiter_reply(audience, cursor, place).with_reader_key(key);
                self.sockets.frame(&bridge::reply_frame(self.start, self.chunk.next, &reply))
            });
            self.sockets.send(&waiter, frame);
            self.sockets.close(&waiter, CLOSE_DONE);
        }
    }

    fn waiter_reply(&self, audience: Audience, cursor: u64, place: Place) -> Reply {
        let seen = Seen { stream: self.stream, audience, now: self.now, kept_until: None };
        if self.chunk.next == self.start {
            return seen.nothing_more(place);
        }
        let head = seen.head(self.start, &self.chunk);
        let cache = policy(place, head.cache);
        Reply::read(ReadHead { cursor: Some(cursor), cache, ..head }, self.chunk.body.clone())
    }

    fn event_frame(&self, cursor: u64) -> Vec<u8> {
        let closed = self.stream.closure.is_closed();
        let control = Control { next: self.chunk.next, cursor, up_to_date: true, closed };
        let mut frame = bridge::frame_head(self.start, self.chunk.next);
        self.events().write(&mut frame, control);
        frame
    }

    fn send_event(&self, bridge: &S::Socket, frame: &S::Frame) {
        self.sockets.send(bridge, frame);
        if self.stream.closure.is_closed() {
            self.sockets.close(bridge, CLOSE_DONE);
        }
    }
}

/// Frames that differ in their cursors: most readers have the same, so a few are kept.
struct Made<K, F>(Vec<(K, F)>);

impl<K: PartialEq, F> Made<K, F> {
    fn new() -> Made<K, F> {
        Made(Vec::new())
    }

    fn frame_for(&mut self, key: K, make: impl FnOnce() -> F) -> &F {
        let index = self.0.iter().position(|(of, _)| *of == key).unwrap_or_else(|| {
            self.0.truncate(FRAMES_KEPT_MAX - 1);
            self.0.push((key, make()));
            self.0.len() - 1
        });
        &self.0[index].1
    }
}
