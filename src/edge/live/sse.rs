//! One SSE response: catch-up in bounded parts, then frames over a socket, and back to parts where something is missing.
//!
//! Whatever happens, the client gets each byte of the stream once and in order, and the response ends in time.

use super::Answered;
use super::backlog::{Backlog, Push, Room};
use crate::edge::cpu::{CpuAllowance, Work};
use crate::edge::gate::{Bridge, Gate};
use crate::protocol::Millis;
use crate::protocol::bridge::CLOSE_CATCH_UP;
use crate::protocol::offset::Offset;
use crate::protocol::sse::HEARTBEAT;

/// How often one response asks the object; the platform allows a request 1,000 of them. The client then resumes.
pub const ASKS_MAX: usize = 500;

/// How long a response may be silent. A client that went away without a word is noticed when it is written to, and
/// proxies end what is silent for long.
pub const HEARTBEAT_EVERY: Millis = 15_000;

/// How long a response waits for room before it tries again.
pub const REST: Millis = 2_000;

/// When a response ends.
#[derive(Clone, Copy)]
pub struct SseEnds {
    /// When its client is to reconnect.
    pub deadline: Millis,
    /// When what its token allows ends: nothing is sent after that.
    pub until: Millis,
    /// How long its client may make no progress.
    pub stall: Millis,
    /// How much CPU time the platform gives the request.
    pub cpu_limit: Millis,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SseStep {
    /// Close the socket, if there is one, and ask the object from this offset, or as the client did. Then call
    /// [`SseResponse::answered`] or [`SseResponse::left`].
    Ask(Option<Offset>),
    /// Write the body of what the object answered, at the client's speed. Then call [`SseResponse::passed_on`].
    PassOn,
    /// Listen to the socket that the object answered with, until something happens or until then.
    Listen(Millis),
    /// Write a heartbeat, as any frame.
    Heartbeat,
    /// Close the socket, if there is one, and wait until the client leaves or until then.
    Rest(Millis),
    /// Close the response; break it off if the client has not read all of it by then.
    End(Millis),
}

/// One SSE response. Calls come in this order:
///
/// 1. [`SseResponse::begin`], with the object's first answer.
/// 2. [`SseResponse::next`]; what it says is carried out, and the call that it names is made. Again and again until
///    [`SseStep::End`].
/// 3. While a socket is open: [`SseResponse::frame`] for each of its frames, whose events are written if it says so, and
///    [`SseResponse::closed`]. [`SseResponse::read`] for each write that the client has read, in order.
///    [`SseResponse::left`] when the client goes. All of these may come at any time, and too late. Each may end what
///    `next` waits for: [`SseResponse::is_waiting`] is then `false`.
pub struct SseResponse<R> {
    ends: SseEnds,
    allowance: CpuAllowance,
    asks_left: usize,
    /// Where the response stands.
    gate: Bridge,
    backlog: Backlog<R>,
    is_too_slow: bool,
    state: SseState,
}

#[derive(Clone, Copy)]
enum SseState {
    /// The object has answered with a part.
    Part {
        next: Offset,
        closed: bool,
    },
    /// A socket is open.
    Socket {
        heartbeat_at: Millis,
    },
    /// There is more than came over the socket: the object is to be asked.
    Behind,
    /// It is being asked.
    Asking,
    /// There is no room: not here for so many bytes, or with `None` not at the object.
    NoRoom {
        bytes: Option<usize>,
    },
    /// That is tried again later.
    Resting {
        until: Millis,
        bytes: Option<usize>,
    },
    Over,
}

impl<R: Room> SseResponse<R> {
    /// Begins with the object's first answer. `None`: that is all of the response.
    pub fn begin(first: Answered, ends: SseEnds, room: R, now: Millis) -> Option<SseResponse<R>> {
        match first {
            Answered::Socket { .. } | Answered::Found { closed: false, .. } => {}
            Answered::Found { closed: true, .. } | Answered::Later | Answered::Ended => return None,
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

    /// What to do now.
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

    /// Whether what [`SseResponse::next`] said to wait for is still to be waited for.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, SseState::Socket { .. } | SseState::Resting { .. })
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, SseState::Over)
    }

    /// The object has answered.
    pub fn answered(&mut self, answered: Answered, now: Millis) {
        if !matches!(self.state, SseState::Asking) {
            return;
        }
        self.state = match answered {
            Answered::Socket { .. } => SseState::Socket { heartbeat_at: now + HEARTBEAT_EVERY },
            Answered::Found { next: Some(next), closed } => SseState::Part { next, closed },
            // Its client is not told: an `EventSource` that reconnects would take a 503 for the end.
            Answered::Later => SseState::NoRoom { bytes: None },
            Answered::Found { next: None, .. } | Answered::Ended => SseState::Over,
        };
    }

    /// The part was passed on, and had so many bytes. `None`: the client did not read it in time, or not at all.
    pub fn passed_on(&mut self, bytes: Option<usize>) {
        let SseState::Part { next, closed } = self.state else { return };
        let Some(bytes) = bytes else {
            self.is_too_slow = true;
            self.state = SseState::Over;
            return;
        };
        self.gate.passed = Some(next);
        let may_go_on = self.may_go_on_after(Work::PassOn { bytes });
        // The next part is not asked for before the client has read this one.
        self.state = if closed || !may_go_on { SseState::Over } else { SseState::Behind };
    }

    /// A frame came: its head, and how many bytes of events follow. Says whether these are to be written.
    pub fn frame(&mut self, head: &[u8], bytes: usize) -> bool {
        if !matches!(self.state, SseState::Socket { .. }) {
            // What follows on what was not passed on is not passed on either.
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

    /// The object has closed the socket, or it broke.
    pub fn closed(&mut self, code: u16) {
        if matches!(self.state, SseState::Socket { .. }) {
            self.state = if code == CLOSE_CATCH_UP { SseState::Behind } else { SseState::Over };
        }
    }

    /// The client has read the oldest of what was written.
    pub fn read(&mut self) {
        self.backlog.pop();
    }

    /// The client has gone, or the object cannot be reached: the client resumes.
    pub fn left(&mut self) {
        self.state = SseState::Over;
    }

    fn ask(&mut self, now: Millis) {
        let may_ask = self.may_go_on_after(Work::Ask) && self.asks_left > 0 && now < self.ends.deadline;
        self.asks_left = self.asks_left.saturating_sub(1);
        self.state = if may_ask { SseState::Asking } else { SseState::Over };
    }

    /// A heartbeat or the deadline is due. Heartbeats come at their own time, whatever else was written.
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

    /// Takes a write in. A client that is behind by more than there is room for resumes later; for one that has read all
    /// before, the object is asked again when there is room.
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

    /// Time to look for room again.
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

    /// Counts work. `false`: the response has done as much as its CPU limit allows, and ends after the event it is at.
    fn may_go_on_after(&mut self, work: Work) -> bool {
        self.allowance.spend(work);
        !self.allowance.is_spent()
    }
}
