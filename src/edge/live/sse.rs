//! One SSE response: catch-up in bounded parts, then frames over a socket, and parts again if data is missing.
//!
//! The client gets each byte of the stream once and in order, and the response ends in bounded time.

use super::LiveAnswer;
use super::backlog::{Backlog, Push, Room};
use crate::edge::cpu::{CpuAllowance, Work};
use crate::edge::gate::{Bridge, Gate};
use crate::protocol::Millis;
use crate::protocol::bridge::CLOSE_CATCH_UP;
use crate::protocol::offset::Offset;
use crate::protocol::sse::HEARTBEAT;

/// The most requests of one response to the object; the platform allows 1,000 per request. The client then
/// resumes.
pub const ASKS_MAX: usize = 500;

/// The longest silence of a response, in milliseconds. A write detects a client that disconnected silently, and
/// proxies end idle connections.
pub const HEARTBEAT_EVERY: Millis = 15_000;

/// How long a response waits for memory before it retries, in milliseconds.
pub const REST: Millis = 2_000;

/// The limits of a response.
#[derive(Clone, Copy)]
pub struct SseEnds {
    /// The time at which its client must reconnect.
    pub deadline: Millis,
    /// The end of its token's validity; nothing is sent after it.
    pub until: Millis,
    /// How long its client may make no progress, in milliseconds.
    pub stall: Millis,
    /// The CPU time that the platform allows the request, in milliseconds.
    pub cpu_limit: Millis,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SseStep {
    /// Close the socket, if any, and send a request to the object from this offset, or with the client's own
    /// URL. Then call [`SseResponse::answered`] or [`SseResponse::left`].
    Ask(Option<Offset>),
    /// Write the body of the object's answer, at the client's speed. Then call [`SseResponse::passed_on`].
    PassOn,
    /// Listen to the object's socket, until an event or until then.
    Listen(Millis),
    /// Write a heartbeat, like a frame.
    Heartbeat,
    /// Close the socket, if any, and wait until the client disconnects or until then.
    Rest(Millis),
    /// Close the response. Abort it if the client has not read all of it by then.
    End(Millis),
}

/// One SSE response. Use it in this order:
///
/// 1. Call [`SseResponse::begin`] with the object's first answer.
/// 2. Call [`SseResponse::next`], carry out the step, and make the call that the step names. Repeat until
///    [`SseStep::End`].
/// 3. While a socket is open, call [`SseResponse::frame`] for each frame, and write its events if the result is `true`.
///    Call [`SseResponse::closed`] when the socket closes, [`SseResponse::read`] for each write that the client has read,
///    in order, and [`SseResponse::left`] when the client disconnects. These calls may come at any time, even late. Each
///    may end the wait of the current step: [`SseResponse::is_waiting`] is then `false`.
pub struct SseResponse<R> {
    ends: SseEnds,
    allowance: CpuAllowance,
    asks_left: usize,
    gate: Bridge,
    backlog: Backlog<R>,
    is_too_slow: bool,
    state: SseState,
}

#[derive(Clone, Copy)]
enum SseState {
    /// The object answered with a catch-up part.
    Part {
        next: Offset,
        closed: bool,
    },
    /// A socket is open.
    Socket {
        heartbeat_at: Millis,
    },
    /// Data is missing that the object must send.
    Behind,
    /// A request to the object is in flight.
    Asking,
    /// There is no memory: in this isolate for so many bytes, or, if `None`, in the object.
    NoRoom {
        bytes: Option<usize>,
    },
    /// Waiting before the next attempt.
    Resting {
        until: Millis,
        bytes: Option<usize>,
    },
    Over,
}

impl<R: Room> SseResponse<R> {
    /// Begins with the object's first answer. `None` if that answer is the whole response.
    pub fn begin(first: LiveAnswer, ends: SseEnds, room: R, now: Millis) -> Option<SseResponse<R>> {
        match first {
            LiveAnswer::Socket { .. } | LiveAnswer::Found { closed: false, .. } => {}
            LiveAnswer::Found { closed: true, .. } | LiveAnswer::Later | LiveAnswer::Ended => return None,
        }
        let mut response = SseResponse {
            ends,
            allowance: CpuAllowance::of(ends.cpu_limit),
            asks_left: ASKS_MAX - 1,
            gate: Bridge::default(),
            backlog: Backlog::new(room, now),
            is_too_slow: false,
            state: SseState::Asking,
        };
        response.answered(first, now);
        Some(response)
    }

    /// The step to carry out now.
    pub fn next(&mut self, now: Millis) -> SseStep {
        let deadline = self.ends.deadline;
        match self.state {
            SseState::Part { .. } => SseStep::PassOn,
            SseState::Socket { heartbeat_at } if now < heartbeat_at.min(deadline) => {
                SseStep::Listen(heartbeat_at.min(deadline))
            }
            SseState::Socket { .. } => self.beat(now),
            SseState::Behind => {
                self.ask(now);
                self.next(now)
            }
            SseState::Asking => SseStep::Ask(self.gate.passed),
            SseState::NoRoom { bytes } => {
                self.state = SseState::Resting { until: deadline.min(now + REST), bytes };
                self.next(now)
            }
            SseState::Resting { until, .. } if now < until => SseStep::Rest(until),
            SseState::Resting { bytes, .. } => {
                self.rested(bytes, now);
                self.next(now)
            }
            SseState::Over if self.is_too_slow => SseStep::End(now),
            SseState::Over => SseStep::End(self.ends.until.min(now + self.ends.stall)),
        }
    }

    /// Whether the wait of the last step is still needed.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, SseState::Socket { .. } | SseState::Resting { .. })
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, SseState::Over)
    }

    /// Records the object's answer.
    pub fn answered(&mut self, answered: LiveAnswer, now: Millis) {
        if !matches!(self.state, SseState::Asking) {
            return;
        }
        self.state = match answered {
            LiveAnswer::Socket { .. } => SseState::Socket { heartbeat_at: now + HEARTBEAT_EVERY },
            LiveAnswer::Found { next: Some(next), closed } => SseState::Part { next, closed },
            // Hide this from the client: a reconnecting `EventSource` would treat a 503 as final.
            LiveAnswer::Later => SseState::NoRoom { bytes: None },
            LiveAnswer::Found { next: None, .. } | LiveAnswer::Ended => SseState::Over,
        };
    }

    /// Records that a part of so many bytes was passed on. `None` if the client did not read it in time or
    /// disconnected.
    pub fn passed_on(&mut self, bytes: Option<usize>) {
        let SseState::Part { next, closed } = self.state else { return };
        let Some(bytes) = bytes else {
            self.is_too_slow = true;
            self.state = SseState::Over;
            return;
        };
        self.gate.passed = Some(next);
        let may_go_on = self.may_go_on_after(Work::PassOn { bytes });
        // The next request waits until the client has read this part.
        self.state = if closed || !may_go_on { SseState::Over } else { SseState::Behind };
    }

    /// Handles a frame's head; `bytes` of events follow. Returns whether to write them.
    pub fn frame(&mut self, head: &[u8], bytes: usize) -> bool {
        if !matches!(self.state, SseState::Socket { .. }) {
            // Data after a frame that was not passed must not pass either.
            return false;
        }
        let mut after = self.gate;
        match after.admit(head) {
            Gate::Skip => false,
            Gate::Gap => {
                self.state = SseState::Behind;
                false
            }
            Gate::Pass => {
                let is_written = self.write(bytes);
                if is_written {
                    self.gate = after;
                }
                is_written
            }
        }
    }

    /// Records that the object closed the socket, or that it broke.
    pub fn closed(&mut self, code: u16) {
        if matches!(self.state, SseState::Socket { .. }) {
            self.state = if code == CLOSE_CATCH_UP { SseState::Behind } else { SseState::Over };
        }
    }

    /// Records that the client has read the oldest write.
    pub fn read(&mut self) {
        self.backlog.pop();
    }

    /// Records that the client disconnected, or that the object is unreachable: the client resumes.
    pub fn left(&mut self) {
        self.state = SseState::Over;
    }

    fn ask(&mut self, now: Millis) {
        let may_ask = self.may_go_on_after(Work::Ask) && self.asks_left > 0 && now < self.ends.deadline;
        self.asks_left = self.asks_left.saturating_sub(1);
        self.state = if may_ask { SseState::Asking } else { SseState::Over };
    }

    /// Handles a due heartbeat or the deadline. Heartbeats have a fixed rhythm, whatever else was written.
    fn beat(&mut self, now: Millis) -> SseStep {
        if now < self.ends.deadline {
            self.is_too_slow = self.backlog.has_stalled(self.ends.stall, now);
            self.state = SseState::Socket { heartbeat_at: now + HEARTBEAT_EVERY };
            if !self.is_too_slow && self.write(HEARTBEAT.len()) {
                return SseStep::Heartbeat;
            }
        }
        self.state = SseState::Over;
        self.next(now)
    }

    /// Adds a write to the backlog. If it does not fit, a client with unread events must resume later. For a
    /// client without any, the request to the object is repeated once there is memory.
    fn write(&mut self, bytes: usize) -> bool {
        match self.backlog.push(bytes) {
            Push::Fits => {
                if !self.may_go_on_after(Work::Write { bytes }) {
                    self.state = SseState::Over;
                }
                true
            }
            Push::Behind => {
                self.is_too_slow = true;
                self.state = SseState::Over;
                false
            }
            Push::NoRoom => {
                self.state = SseState::NoRoom { bytes: Some(bytes) };
                false
            }
        }
    }

    /// Looks for memory again.
    fn rested(&mut self, bytes: Option<usize>, now: Millis) {
        let has_room = match bytes {
            None => true,
            Some(_) if !self.may_go_on_after(Work::Wait) => return self.left(),
            Some(bytes) => self.backlog.has_room_for(bytes),
        };
        self.state = match has_room {
            true => SseState::Behind,
            false if now < self.ends.deadline => SseState::NoRoom { bytes },
            false => SseState::Over,
        };
    }

    /// Counts work. `false` if the CPU allowance is spent; the response then ends after the current event.
    fn may_go_on_after(&mut self, work: Work) -> bool {
        self.allowance.spend(work);
        !self.allowance.is_spent()
    }
}
