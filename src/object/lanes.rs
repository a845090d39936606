//! What is under way outside of an object: one thing in each lane at most. This outlives the object's memory of its stream,
//! because what is under way does so, too.

use std::collections::VecDeque;

use super::effect::LogEvent;
use crate::protocol::Millis;

/// One kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    Registry,
    Bucket,
    Index,
    Links,
}

pub(super) const LANES: [Lane; 4] = [Lane::Registry, Lane::Bucket, Lane::Index, Lane::Links];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum LaneStep {
    #[default]
    Idle,
    /// The next thing is to begin now.
    Next,
    UnderWay,
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    steps: [LaneStep; LANES.len()],
    /// A later turn has been asked for.
    pub(super) awaits_turn: bool,
    /// When the alarm has rung, if not everything has been done that it rang for.
    pub(super) rings_since: Option<Millis>,
    /// The alarm was wanted by the driver, and not by a request.
    pub(super) has_rearmed: bool,
    /// What the shell has yet to log.
    log: VecDeque<LogEvent>,
}

impl Lanes {
    pub(super) fn is_idle(&self, lane: Lane) -> bool {
        self.steps[lane as usize] == LaneStep::Idle
    }

    /// The first lane in which something is to begin now; it is under way then, unless it is said to be [`Lanes::over`].
    pub(super) fn begin(&mut self) -> Option<Lane> {
        let lane = LANES.into_iter().find(|lane| self.steps[*lane as usize] == LaneStep::Next)?;
        self.steps[lane as usize] = LaneStep::UnderWay;
        Some(lane)
    }

    pub(super) fn next(&mut self, lane: Lane) {
        self.steps[lane as usize] = LaneStep::Next;
    }

    pub(super) fn over(&mut self, lane: Lane) {
        self.steps[lane as usize] = LaneStep::Idle;
    }

    pub(super) fn are_all_idle(&self) -> bool {
        LANES.into_iter().all(|lane| self.is_idle(lane))
    }

    pub(super) fn log(&mut self, event: LogEvent) {
        self.log.push_back(event);
    }

    pub(super) fn next_to_log(&mut self) -> Option<LogEvent> {
        self.log.pop_front()
    }
}
