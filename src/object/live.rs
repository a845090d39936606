//! Notifies live readers over the sockets behind SSE responses and long-polls.
//!
//! A reader's snapshot and its registration are one synchronous step, and all registered readers have
//! received the same data. A frame names the offsets between which it leads. The Worker compares them with
//! what it has sent, so no reader sees a gap or a duplicate, even after a crash.

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

/// The most live readers of a stream. The platform allows 32,768 sockets per object.
pub const LIVE_READERS_MAX: usize = 30_000;
/// The largest frame, in bytes. Readers fetch larger data themselves.
pub const FRAME_MAX_BYTES: usize = 1 << 20;

/// The most bytes pushed to all readers together. They are in memory until the Worker has received them.
pub const FAN_OUT_MAX_BYTES: usize = 64 << 20;
/// The most distinct frames in memory per announcement. Each has at most [`FRAME_MAX_BYTES`].
pub const FRAMES_KEPT_MAX: usize = 16;

/// The port to the object's sockets: hibernatable WebSockets on the platform, a list on the host.
pub trait Sockets {
    type Socket;
    /// A frame that can be sent to many sockets.
    type Frame;

    fn count(&self) -> usize;
    /// The open sockets of a channel.
    fn connected(&self, channel: Channel) -> Vec<Self::Socket>;
    /// The attachment with which the socket was accepted.
    fn attachment(&self, socket: &Self::Socket) -> Attachment;
    /// Makes a frame once for all its receivers.
    fn frame(&self, bytes: &[u8]) -> Self::Frame;
    /// Sends without waiting. A closed socket is no failure.
    fn send(&self, socket: &Self::Socket, frame: &Self::Frame);
    fn close(&self, socket: &Self::Socket, code: u16);
}

/// A live reader to be registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Park {
    pub channel: Channel,
    /// What the object must know when it notifies the reader.
    pub attachment: Attachment,
    /// The head of the SSE response, or the complete response of a long-poll that times out.
    pub head: Reply,
    /// Data that is sent at once.
    pub first_frame: Option<Vec<u8>>,
}

/// How far all connected live readers have been notified; `None` while there is no live stream in memory.
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
    /// Marks everything as announced. A new stream has no readers. After a load, readers were notified before
    /// the object went to sleep. If the object died between commit and announcement, the Worker sees the gap
    /// in the next frame and requests the missing data.
    pub(super) fn know_all_of(&mut self, stream: &Stream) {
        self.announced = Some(Announced::all_of(stream));
    }

    pub(super) fn ended(&mut self) {
        self.announced = None;
    }

    pub(super) fn has_news(&self, stream: &Stream) -> bool {
        self.announced != Some(Announced::all_of(stream))
    }

    /// Sends new data to all live readers. Fails if the hot log cannot be read.
    pub(super) fn announce<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        stream: &Stream,
        guarded: bool,
        now: Millis,
    ) -> Result<(), Failure> {
        let news = Announced::all_of(stream);
        let Some(announced) = self.announced.replace(news) else { return Ok(()) };
        let reader_count = ports.sockets.count();
        if announced == news || reader_count == 0 {
            return Ok(());
        }
        let start = announced.through;
        let sockets = ports.sockets;
        if start.segment < stream.hot_from {
            // The new data is already in the bucket.
            close_to_catch_up(sockets, stream.incarnation);
            return Ok(());
        }
        let chunk = if start < stream.tail {
            messages::read(ports.sql, stream.content_type.format(), start, stream.tail, FRAME_MAX_BYTES)
        } else {
            Ok(Chunk::empty(start))
        };
        // The data could not be read, so the readers request it themselves.
        let chunk = chunk.inspect_err(|_| close_to_catch_up(sockets, stream.incarnation))?;
        let announcement = Announcement { sockets, stream, guarded, start, chunk, now };
        if announcement.is_pushed(reader_count) {
            announcement.notify_bridges();
            announcement.notify_waiters();
        } else {
            close_to_catch_up(sockets, stream.incarnation);
        }
        Ok(())
    }
}

/// Closes all live readers' sockets so that the Worker requests the new data.
pub(super) fn close_to_catch_up<S: Sockets>(sockets: &S, incarnation: u64) {
    for kind in [BridgeKind::Sse, BridgeKind::SseAhead, BridgeKind::LongPoll] {
        for socket in sockets.connected(Channel { kind, incarnation }) {
            sockets.close(&socket, CLOSE_CATCH_UP);
        }
    }
}

/// Ends all live readers of an incarnation that has ended.
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

struct Announcement<'t, S> {
    sockets: &'t S,
    stream: &'t Stream,
    guarded: bool,
    start: Offset,
    chunk: Chunk,
    now: Millis,
}

impl<S: Sockets> Announcement<'_, S> {
    fn channel(&self, kind: BridgeKind) -> Channel {
        Channel { kind, incarnation: self.stream.incarnation }
    }

    /// Whether the data is pushed. Readers fetch larger data at their own speed.
    fn is_pushed(&self, reader_count: usize) -> bool {
        let frame_bytes = self.events().bytes_at_most();
        self.chunk.next == self.stream.tail
            && frame_bytes <= FRAME_MAX_BYTES
            && frame_bytes.saturating_mul(reader_count) <= FAN_OUT_MAX_BYTES
    }

    fn events(&self) -> Events<'_> {
        Events::of(self.stream.content_type.format(), &self.chunk.body, &self.chunk.marks)
    }

    fn notify_bridges(&self) {
        let current = self.stream.cursor(self.now, None);
        let mut frames = FrameCache::new();
        for bridge in self.sockets.connected(self.channel(BridgeKind::Sse)) {
            self.send_event(
                &bridge,
                frames.frame_for(current, || self.sockets.frame(&self.event_frame(current))),
            );
        }
        for bridge in self.sockets.connected(self.channel(BridgeKind::SseAhead)) {
            let cursor = self.stream.cursor(self.now, self.sockets.attachment(&bridge).cursor);
            self.send_event(
                &bridge,
                frames.frame_for(cursor, || self.sockets.frame(&self.event_frame(cursor))),
            );
        }
    }

    fn notify_waiters(&self) {
        let mut frames = FrameCache::new();
        for waiter in self.sockets.connected(self.channel(BridgeKind::LongPoll)) {
            let Attachment { cursor, place, keyed, renews } = self.sockets.attachment(&waiter);
            let audience = Audience::of(self.guarded, self.stream.public, keyed);
            let cursor = self.stream.cursor(self.now, cursor);
            let frame = frames.frame_for((cursor, place, keyed, renews), || {
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
            return seen.nothing_more(place).with_start(place, self.start);
        }
        let head = seen.head(self.start, &self.chunk);
        let cache = policy(place, head.cache);
        Reply::read(ReadHead { cursor: Some(cursor), cache, ..head }, self.chunk.body.clone())
            .with_start(place, self.start)
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

/// Frames that differ only in their cursor. Most readers have the same cursor, so a few are enough.
struct FrameCache<K, F>(Vec<(K, F)>);

impl<K: PartialEq, F> FrameCache<K, F> {
    fn new() -> FrameCache<K, F> {
        FrameCache(Vec::new())
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
