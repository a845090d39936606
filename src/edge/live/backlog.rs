//! The unread events of one client. They stay in memory until the client reads them, so they are bounded. They
//! are counted once they exceed the system's own buffer.

use std::collections::VecDeque;

use crate::edge::gate::PENDING_MAX_BYTES;
use crate::protocol::Millis;

/// The unread bytes of a client that are not counted, because they fit into the system's own buffer.
pub const UNCOUNTED_BYTES: usize = 16 << 10;

/// One client's share of the memory for unread events.
pub trait Room {
    /// Changes the share to `bytes` in total. `false` if there is no room; the share is then unchanged.
    fn resize(&mut self, bytes: usize) -> bool;
    /// Reports that the share is still in use.
    fn renew(&mut self);
    /// Returns the whole share.
    fn release(&mut self);
}

pub(super) struct Backlog<R> {
    sizes: VecDeque<usize>,
    bytes: usize,
    room: R,
    is_counted: bool,
    /// Whether the client has read anything since the last heartbeat, and the last heartbeat at which it had.
    has_progressed: bool,
    progressed_at: Millis,
}

/// The result of adding a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Push {
    Fits,
    /// The client has too many unread bytes.
    Behind,
    /// The client has no unread bytes, but the isolate has no memory left.
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

    /// Records that the client has read the oldest write.
    pub(super) fn pop(&mut self) {
        self.bytes -= self.sizes.pop_front().unwrap_or_default();
        self.has_progressed = true;
        if self.bytes == 0 && self.is_counted {
            self.is_counted = false;
            self.room.release();
        }
    }

    /// Whether a write of this size would fit; does not take the room.
    pub(super) fn has_room_for(&mut self, bytes: usize) -> bool {
        let has_room = self.room.resize(bytes);
        if has_room && !self.is_counted {
            self.room.release();
        }
        has_room
    }

    /// Whether the client has read nothing of its unread events for `stall`. Called at each heartbeat.
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
