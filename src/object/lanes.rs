//! Tracks the effects in flight: at most one in each lane. Lanes outlive the object's memory of its stream,
//! because effects do.

use std::collections::VecDeque;

use super::effect::LogEvent;
use crate::protocol::Millis;

/// One kind of background work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    Registry,
    Bucket,
    Index,
    Links,
    /// Of a stream: the subscriptions that watch it.
    Watchers,
    /// Of a subscription: the registry.
    Directory,
    /// Of a subscription: the streams that it watches.
    Watches,
    /// Of a subscription: its wake.
    Delivery,
    /// Of a subscription: its summary for the registry. No request waits for this lane.
    Summary,
}

pub(super) const LANES: [Lane; 9] = [
    Lane::Registry,
    Lane::Bucket,
    Lane::Index,
    Lane::Links,
    Lane::Watchers,
    Lane::Directory,
    Lane::Watches,
    Lane::Delivery,
    Lane::Summary,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum LaneStep {
    #[default]
    Idle,
    /// The next effect must start now.
    Next,
    UnderWay,
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    steps: [LaneStep; LANES.len()],
    /// A later turn was requested.
    pub(super) awaits_turn: bool,
    /// When the alarm rang, while its work is incomplete.
    pub(super) rings_since: Option<Millis>,
    /// The driver requested the alarm, not a request.
    pub(super) has_rearmed: bool,
    /// Events that the shell has not logged.
    log: VecDeque<LogEvent>,
}

impl Lanes {
    pub(super) fn is_idle(&self, lane: Lane) -> bool {
        self.steps[lane as usize] == LaneStep::Idle
    }

    /// Takes the first lane whose next effect must start. The lane counts as busy until [`Lanes::over`].
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
