//! One long-poll: it waits for a frame that continues at the client's offset, and repeats the request to the
//! object if the socket ends without one.

use super::LiveAnswer;
use crate::edge::gate::{Bridge, Gate};
use crate::protocol::Millis;
use crate::protocol::offset::{Offset, ReadFrom};

/// The most sockets of one long-poll. After that it answers that there is nothing new.
pub const SOCKETS_MAX: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollStep {
    /// Send a request to the object from this offset. Then call [`LongPoll::answered`].
    Ask(Offset),
    /// Wait until then for a frame of the socket, and close the socket. Then call [`LongPoll::frame`],
    /// [`LongPoll::ended`] or [`LongPoll::timed_out`].
    Wait(Millis),
    /// Answer with the object's last response.
    Answer {
        /// Whether the response must not be cached, because the client's URL names another offset than the last
        /// request.
        uncached: bool,
    },
    /// Answer that there is nothing new; the object's last response has the headers.
    NothingNew,
}

/// One long-poll. First call [`LongPoll::begin`] with the object's first answer. Then carry out each step of
/// [`LongPoll::next`] and make the call that it names, until a step is an answer.
pub struct LongPoll {
    waits_at: Offset,
    from: Option<ReadFrom>,
    deadline: Millis,
    sockets: usize,
    next: PollStep,
}

impl LongPoll {
    /// Begins with the object's first answer, to a request from `from`. `None` if that answer is the response.
    pub fn begin(first: LiveAnswer, from: Option<ReadFrom>, deadline: Millis) -> Option<LongPoll> {
        let LiveAnswer::Socket { next: Some(waits_at) } = first else { return None };
        Some(LongPoll { waits_at, from, deadline, sockets: 1, next: PollStep::Wait(deadline) })
    }

    pub fn next(&self) -> PollStep {
        self.next
    }

    pub fn waits_at(&self) -> Offset {
        self.waits_at
    }

    /// Records the object's answer.
    pub fn answered(&mut self, answered: LiveAnswer) {
        self.sockets += 1;
        self.next = match answered {
            // The limit of sockets is exceeded: only close this one.
            LiveAnswer::Socket { .. } if self.has_given_up() => PollStep::Wait(0),
            LiveAnswer::Socket { .. } => PollStep::Wait(self.deadline),
            LiveAnswer::Found { .. } | LiveAnswer::Later | LiveAnswer::Ended => {
                PollStep::Answer { uncached: self.from != Some(ReadFrom::At(self.waits_at)) }
            }
        };
    }

    /// Compares a frame with the client's offset. `true` if it is the answer; `false` if data is missing before
    /// it. If there is no memory for the answer, call [`LongPoll::ended`]: the object then returns less.
    pub fn frame(&mut self, head: &[u8]) -> bool {
        let is_answer = (Bridge { passed: Some(self.waits_at) }).admit(head) == Gate::Pass;
        if !is_answer {
            self.ended();
        }
        is_answer
    }

    /// Records that the socket ended without an answer.
    pub fn ended(&mut self) {
        self.next = if self.has_given_up() { PollStep::NothingNew } else { PollStep::Ask(self.waits_at) };
    }

    /// Records that the time is up, or that the client disconnected.
    pub fn timed_out(&mut self) {
        self.next = PollStep::NothingNew;
    }

    fn has_given_up(&self) -> bool {
        self.sockets > SOCKETS_MAX
    }
}
