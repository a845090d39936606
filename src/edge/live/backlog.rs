//! Events that were written to one client and that it has not read yet. They are in memory until it has, so they are
//! bounded, and counted where there are more of them than the system's own buffer takes.

use std::collections::VecDeque;

use crate::edge::gate::PENDING_MAX_BYTES;
use crate::protocol::Millis;

/// How much a client may be behind without being counted: the system's own buffer takes as much.
pub const UNCOUNTED_BYTES: usize = 16 << 10;

/// The room that one client's unread events take, of what all clients share.
pub trait Room {
    /// Takes as much in all. `false`: there is not as much, and nothing has changed.
    fn resize(&mut self, bytes: usize) -> bool;
    /// Says that it is still in use.
    fn renew(&mut self);
    /// Gives all of it back.
    fn release(&mut self);
}

pub(super) struct Backlog<R> {
    sizes: VecDeque<usize>,
    bytes: usize,
    room: R,
    is_counted: bool,
    /// Whether the client has read something since the last heartbeat, and the last heartbeat of which that was true.
    has_progressed: bool,
    progressed_at: Millis,
}

/// Whether a write was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Push {
    Fits,
    /// The client is too far behind.
    Behind,
    /// The client has read all before; this isolate has no room for as much.
    NoRoom,
}

impl<R: Room> Backlog<R> {
    pub(super) fn new(room: R, now: Millis) -> Backlog<R> {
        let (sizes, bytes) = (VecDeque::new(), 0);
        Backlog { sizes, bytes, room, is_counted: false, has_progressed: false, progressed_at: now }
    }

    pub(super) fn push(&mut self, size: usize) -> Push {
        let bytes = self.bytes + size;
        let is_behind = self.bytes > 0;
        let may_fit = !is_behind || bytes <= PENDING_MAX_BYTES;
        let is_small = !self.is_counted && bytes <= UNCOUNTED_BYTES;
        if may_fit && (is_small || self.room.resize(bytes)) {
            self.is_counted |= !is_small;
            self.sizes.push_back(size);
            self.bytes = bytes;
            Push::Fits
        } else if is_behind {
            Push::Behind
        } else {
            Push::NoRoom
        }
    }

    /// The client has read the oldest write.
    pub(super) fn pop(&mut self) {
        self.bytes -= self.sizes.pop_front().unwrap_or_default();
        self.has_progressed = true;
        if self.bytes == 0 && self.is_counted {
            self.is_counted = false;
            self.room.release();
        }
    }

    /// Whether there would be room for so much; it is not taken.
    pub(super) fn has_room_for(&mut self, bytes: usize) -> bool {
        let has_room = self.room.resize(bytes);
        if has_room && !self.is_counted {
            self.room.release();
        }
        has_room
    }

    /// Whether the client has read nothing for so long of what was written. Asked at each heartbeat.
    pub(super) fn has_stalled(&mut self, stall: Millis, now: Millis) -> bool {
        if self.is_counted {
            self.room.renew();
        }
        if self.bytes == 0 || std::mem::take(&mut self.has_progressed) {
            self.progressed_at = now;
        }
        now >= self.progressed_at + stall
    }
}
