//! Searches the inherited part of a fork for the place where a read begins. Only the owners know when messages were
//! written and, in streams of bytes, where each begins, so the search names the owner to call next.

use crate::protocol::Millis;
use crate::protocol::content_type::Format;
use crate::protocol::fork::{Goal, Owner, Seek, Sought};
use crate::protocol::offset::Offset;

/// The most owners that one search calls for a number of messages. A search for a time calls at most nine: it halves the
/// list, which has at most `OWNERS_MAX` owners.
pub const OWNERS_SOUGHT_MAX: usize = 16;

/// A search in progress. All offsets are those of the stream that is searched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    goal: Goal,
    /// Whether positions count messages, so that some parts need no call.
    counts_messages: bool,
    start: Offset,
    owners: Vec<Owner>,
    /// The owners that may still have the place: from `low`, before `high`.
    low: usize,
    high: usize,
    calls_left: usize,
    /// The place, as far as it is known.
    at: Offset,
}

/// The next step of a search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SearchStep {
    There(Offset),
    /// Ask an owner: the path of its stream, and what to ask.
    Ask(String, Seek),
}

impl Search {
    /// Searches what these owners have, which begins at `start`, for the first message written at `since` or later.
    pub fn since(since: Millis, start: Offset, owners: Vec<Owner>) -> Search {
        Search::new(Goal::Since(since), false, start, owners)
    }

    /// Searches back from the end of what these owners have, over `count` messages.
    pub fn last(count: u64, format: Format, start: Offset, owners: Vec<Owner>) -> Search {
        Search::new(Goal::Last(count), format == Format::Json, start, owners)
    }

    fn new(goal: Goal, counts_messages: bool, start: Offset, owners: Vec<Owner>) -> Search {
        let at = owners.last().map_or(start, |owner| owner.until);
        let (low, high, calls_left) = (0, owners.len(), OWNERS_SOUGHT_MAX);
        Search { goal, counts_messages, start, owners, low, high, calls_left, at }
    }

    pub fn step(&mut self) -> SearchStep {
        self.count_positions();
        let is_over = match self.goal {
            Goal::Since(_) => self.low == self.high,
            Goal::Last(left) => left == 0 || self.high == 0,
        };
        if is_over || self.calls_left == 0 {
            return SearchStep::There(self.at);
        }
        let index = self.asked();
        let owner = &self.owners[index];
        let ask = Seek {
            incarnation: owner.incarnation,
            from: self.begins(index).shifted_back(owner.shift),
            until: owner.until.shifted_back(owner.shift),
            goal: self.goal,
        };
        SearchStep::Ask(owner.path.clone(), ask)
    }

    /// Continues with the answer of the owner in the last step.
    pub fn answered(&mut self, sought: Sought) {
        let index = self.asked();
        self.calls_left = self.calls_left.saturating_sub(1);
        let found = sought.at.map(|at| at.shifted(self.owners[index].shift));
        match (self.goal, found) {
            (Goal::Since(_), Some(at)) => (self.high, self.at) = (index, at),
            (Goal::Since(_), None) => self.low = index + 1,
            (Goal::Last(_), found) => {
                self.at = found.unwrap_or(self.begins(index));
                self.high = index;
                self.goal = Goal::Last(sought.left);
            }
        }
    }

    /// The owner to ask next. Messages of later owners are later, so a search for a time halves the list.
    fn asked(&self) -> usize {
        match self.goal {
            Goal::Since(_) => usize::midpoint(self.low, self.high),
            Goal::Last(_) => self.high - 1,
        }
    }

    fn begins(&self, index: usize) -> Offset {
        index.checked_sub(1).map_or(self.start, |before| self.owners[before].until)
    }

    /// Counts back over messages without a call, as far as positions tell.
    fn count_positions(&mut self) {
        while let Goal::Last(left) = self.goal
            && left > 0
            && self.counts_messages
            && self.high > 0
        {
            let (begins, until) = (self.begins(self.high - 1), self.at);
            let is_in_one_segment = begins.segment == until.segment;
            let room = until.position - if is_in_one_segment { begins.position } else { 0 };
            if left <= room {
                self.at = Offset { position: until.position - left, ..until };
                self.goal = Goal::Last(0);
            } else if is_in_one_segment {
                self.at = begins;
                self.high -= 1;
                self.goal = Goal::Last(left - room);
            } else {
                return;
            }
        }
    }
}
