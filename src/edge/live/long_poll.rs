//! One long-poll: waits at a socket for the frame that goes on where the client is, and asks the object again where a
//! socket ends without it.

use super::Answered;
use crate::edge::gate::{Bridge, Gate};
use crate::protocol::Millis;
use crate::protocol::offset::{Offset, ReadFrom};

/// How many sockets one long-poll waits at. Where one more would be needed there is nothing new.
pub const SOCKETS_MAX: usize = 3;

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollStep {
    /// Ask the object from this offset. Then call [`LongPoll::answered`].
    Ask(Offset),
    /// Wait for a frame of the socket until then, and close the socket. Then call [`LongPoll::frame`],
    /// [`LongPoll::ended`] or [`LongPoll::timed_out`].
    Wait(Millis),
    /// Answer with the object's last response.
    Answer {
        /// Whether no cache may keep it: the client's URL names another place than the offset that was asked for.
        uncached: bool,
    },
    /// Answer that there is nothing new, which the object's last response has as its headers.
    NothingNew,
}

/// One long-poll. Calls come in this order: [`LongPoll::begin`] with the object's first answer; then
/// [`LongPoll::next`], whose command is carried out and followed by the call that it names, until there is an answer.
pub struct LongPoll {
    waits_at: Offset,
    from: Option<ReadFrom>,
    deadline: Millis,
    /// How many sockets there have been.
    sockets: usize,
    next: PollStep,
}

impl LongPoll {
    /// Begins with the object's first answer, to a request that names this place. `None`: that is the response.
    pub fn begin(first: Answered, from: Option<ReadFrom>, deadline: Millis) -> Option<LongPoll> {
        let Answered::Socket { next: Some(waits_at) } = first else { return None };
        Some(LongPoll { waits_at, from, deadline, sockets: 1, next: PollStep::Wait(deadline) })
    }

    /// What to do now.
    pub fn next(&self) -> PollStep {
        self.next
    }

    /// The offset at which the client waits.
    pub fn waits_at(&self) -> Offset {
        self.waits_at
    }

    /// The object has answered.
    pub fn answered(&mut self, answered: Answered) {
        self.sockets += 1;
        self.next = match answered {
            // This one is only closed.
            Answered::Socket { .. } if self.has_given_up() => PollStep::Wait(0),
            Answered::Socket { .. } => PollStep::Wait(self.deadline),
            Answered::Found { .. } | Answered::Later | Answered::Ended => {
                PollStep::Answer { uncached: self.from != Some(ReadFrom::At(self.waits_at)) }
            }
        };
    }

    /// A frame came. Says whether it is the answer: if it does not begin where the client waits, something is missing.
    /// Where there is no room for it, [`LongPoll::ended`] has the object asked, which gives less.
    pub fn frame(&mut self, head: &[u8]) -> bool {
        let is_answer = (Bridge { passed: Some(self.waits_at) }).admit(head) == Gate::Pass;
        if !is_answer {
            self.ended();
        }
        is_answer
    }

    /// The socket ended without an answer.
    pub fn ended(&mut self) {
        self.next = if self.has_given_up() { PollStep::NothingNew } else { PollStep::Ask(self.waits_at) };
    }

    /// Time is up, or the client has gone.
    pub fn timed_out(&mut self) {
        self.next = PollStep::NothingNew;
    }

    fn has_given_up(&self) -> bool {
        self.sockets > SOCKETS_MAX
    }
}
