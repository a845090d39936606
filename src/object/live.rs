//! Live readers: the sockets behind SSE responses and long-polls, and what they are told.
//!
//! A reader's snapshot and its registration are one synchronous step, and everybody who is registered has been
//! told the same. Frames carry the offsets they lead from and to; the edge holds these against what it has
//! passed on, so that even after a crash no reader sees a gap or a duplicate.

use super::read::read_head;
use super::{Announced, Object, Ports};
use crate::protocol::bridge::{self, Attachment, BridgeKind, CLOSE_CATCH_UP, CLOSE_DONE, Channel};
use crate::protocol::cache_policy::CachePolicy;
use crate::protocol::offset::Offset;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{ReadHead, Reply};
use crate::protocol::sse::{self, Control};
use crate::protocol::{Millis, cursor};
use crate::storage::Failure;
use crate::storage::messages::{self, Chunk};
use crate::stream::{Life, Stream};

/// How many live readers a stream holds; the platform allows 32,768 sockets an object.
pub const LIVE_READERS_MAX: usize = 30_000;
/// The most bytes that are pushed in one frame; readers fetch what is larger.
pub const FRAME_MAX_BYTES: usize = 1 << 20;

/// The port to the object's sockets: hibernatable WebSockets, and on the host a list.
pub trait Sockets {
    /// One socket.
    type Socket;
    /// A frame that many sockets can be sent.
    type Frame;

    /// How many there are, of all kinds.
    fn count(&self) -> usize;
    /// Those of a channel that are open.
    fn connected(&self, channel: Channel) -> Vec<Self::Socket>;
    /// What the socket was accepted with.
    fn attachment(&self, socket: &Self::Socket) -> Attachment;
    /// Makes a frame, once for all who get it.
    fn frame(&self, bytes: &[u8]) -> Self::Frame;
    /// Sends without waiting; a socket that is gone is no failure.
    fn send(&self, socket: &Self::Socket, frame: &Self::Frame);
    /// Ends a socket.
    fn close(&self, socket: &Self::Socket, code: u16);
}

/// A live reader that is to be registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Park {
    /// Where.
    pub channel: Channel,
    /// What must be known when it is told something.
    pub attachment: Attachment,
    /// The head of the SSE response, or the whole answer of a long-poll for which nothing comes.
    pub head: Reply,
    /// What it gets at once.
    pub first_frame: Option<Vec<u8>>,
}

impl Object {
    /// Whether somebody may have to be told something.
    pub fn has_news(&self) -> bool {
        match &self.life {
            Some(Life::Live(stream)) => self.announced != Some(Announced::all_of(stream)),
            _ => false,
        }
    }

    /// Tells all live readers what they have not been told yet.
    pub fn announce<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<(), Failure> {
        let Some(Life::Live(stream)) = &self.life else { return Ok(()) };
        let news = Announced::all_of(stream);
        let Some(told) = self.announced.replace(news) else { return Ok(()) };
        if told == news || ports.sockets.count() == 0 {
            return Ok(());
        }
        let start = told.through;
        let chunk = if start < stream.tail {
            messages::read(ports.sql, stream.content_type.format(), start, FRAME_MAX_BYTES)?
        } else {
            Chunk { body: Vec::new(), next: start }
        };
        let telling = Telling { sockets: ports.sockets, stream, start, chunk, now };
        if telling.chunk.next < stream.tail {
            telling.send_away();
        } else {
            telling.tell_bridges();
            telling.tell_bridges_ahead();
            telling.tell_waiters();
        }
        Ok(())
    }
}

/// Ends all live readers of a life that is over.
pub(super) fn dismiss<S: Sockets>(sockets: &S, incarnation: u64, tail: Offset) {
    for kind in [BridgeKind::Sse, BridgeKind::SseAhead] {
        for socket in sockets.connected(Channel { kind, incarnation }) {
            sockets.close(&socket, CLOSE_DONE);
        }
    }
    let waiters = sockets.connected(Channel { kind: BridgeKind::LongPoll, incarnation });
    if waiters.is_empty() {
        return;
    }
    let frame = sockets.frame(&bridge::reply_frame(tail, tail, &Reply::refused(&Refusal::NotFound)));
    for waiter in waiters {
        sockets.send(&waiter, &frame);
        sockets.close(&waiter, CLOSE_DONE);
    }
}

struct Telling<'t, S> {
    sockets: &'t S,
    stream: &'t Stream,
    start: Offset,
    chunk: Chunk,
    now: Millis,
}

impl<S: Sockets> Telling<'_, S> {
    fn channel(&self, kind: BridgeKind) -> Channel {
        Channel { kind, incarnation: self.stream.incarnation }
    }

    fn send_away(&self) {
        for kind in [BridgeKind::Sse, BridgeKind::SseAhead, BridgeKind::LongPoll] {
            for socket in self.sockets.connected(self.channel(kind)) {
                self.sockets.close(&socket, CLOSE_CATCH_UP);
            }
        }
    }

    fn tell_bridges(&self) {
        let bridges = self.sockets.connected(self.channel(BridgeKind::Sse));
        if bridges.is_empty() {
            return;
        }
        let frame = self.event_frame(cursor::next(self.now, None));
        for bridge in bridges {
            self.send_event(&bridge, &frame);
        }
    }

    fn tell_bridges_ahead(&self) {
        for bridge in self.sockets.connected(self.channel(BridgeKind::SseAhead)) {
            let client = self.sockets.attachment(&bridge).cursor;
            self.send_event(&bridge, &self.event_frame(cursor::next(self.now, client)));
        }
    }

    fn tell_waiters(&self) {
        // Waiters differ in their cursors only, and most have the same.
        let mut made: Vec<(Attachment, S::Frame)> = Vec::new();
        for waiter in self.sockets.connected(self.channel(BridgeKind::LongPoll)) {
            let attachment = self.sockets.attachment(&waiter);
            let index = made.iter().position(|(of, _)| *of == attachment).unwrap_or_else(|| {
                if made.len() == WAITER_FRAMES_MAX {
                    made.clear();
                }
                let frame = bridge::reply_frame(self.start, self.chunk.next, &self.waiter_reply(attachment));
                made.push((attachment, self.sockets.frame(&frame)));
                made.len() - 1
            });
            self.sockets.send(&waiter, &made[index].1);
            self.sockets.close(&waiter, CLOSE_DONE);
        }
    }

    fn waiter_reply(&self, attachment: Attachment) -> Reply {
        let cursor = cursor::next(self.now, attachment.cursor);
        if self.chunk.next == self.start {
            return Reply::nothing_new(self.stream.tail, self.stream.closure.is_closed(), cursor);
        }
        let head = read_head(self.stream, self.start, &self.chunk, self.now);
        // `now` is another place for each request: no cache may answer one with another's data.
        let cache = if attachment.from_now { CachePolicy::Never } else { head.cache };
        Reply::read(ReadHead { cursor: Some(cursor), cache, ..head }, self.chunk.body.clone())
    }

    fn event_frame(&self, cursor: u64) -> S::Frame {
        let closed = self.stream.closure.is_closed();
        let control = Control { next: self.chunk.next, cursor, up_to_date: true, closed };
        let mut frame = bridge::frame_head(self.start, self.chunk.next);
        // A close without data must not look like an empty JSON array of data.
        let data = if self.chunk.next == self.start { &[][..] } else { &self.chunk.body };
        sse::write_events(&mut frame, self.stream.content_type.format(), data, control);
        self.sockets.frame(&frame)
    }

    fn send_event(&self, bridge: &S::Socket, frame: &S::Frame) {
        self.sockets.send(bridge, frame);
        if self.stream.closure.is_closed() {
            self.sockets.close(bridge, CLOSE_DONE);
        }
    }
}

/// How many different frames are kept while waiters are told: each may be as large as [`FRAME_MAX_BYTES`].
const WAITER_FRAMES_MAX: usize = 16;
