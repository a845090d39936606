//! The shell of a host's object: what `src/cloudflare/object/shell.rs` is on the platform. It carries out what the driver asks
//! for at once, hands out the rest, and holds the driver to what it promises.

use std::collections::BTreeMap;

use durable_streams::object::driver::Rung;
use durable_streams::object::effect::{About, Calling, Effect, LogEvent, Outcome};
use durable_streams::object::pending::RETRY;
use durable_streams::object::reports::REST_MAX;
use durable_streams::object::{Object, Ports};
use durable_streams::protocol::Millis;
use durable_streams::storage::Failure;

use super::sockets::HostSockets;

/// Outlives the object's memory, but for what it remembers of the driver.
#[derive(Default)]
pub(crate) struct Shell {
    pub(crate) alarm_at: Option<Millis>,
    /// How often the alarm was set: billed as a row each.
    pub(crate) alarms_set: u64,
    /// Whether the alarm can be set; where it cannot, nothing of it is held against the driver until it can.
    pub(crate) refuses_alarms: bool,
    pub(crate) logged: Vec<LogEvent>,
    is_ringing: bool,
    alarm_was_refused: bool,
    /// What is under way, by its lane.
    under_way: Vec<&'static str>,
    /// What has failed, and until when it may not be tried again.
    rests: BTreeMap<String, Millis>,
}

impl Shell {
    /// Has the driver go on: what it begins.
    pub(crate) fn drive(
        &mut self,
        object: &mut Object,
        ports: &Ports<'_, HostSockets>,
        now: Millis,
    ) -> Vec<Effect> {
        let mut begun = Vec::new();
        while let Some(effect) = object.poll(ports, now) {
            match effect {
                Effect::SetAlarm(at) => {
                    let set = self.set_alarm(at);
                    object.done(ports, effect, set, now);
                }
                Effect::Log(event) => self.logged.push(event),
                Effect::NextTurn
                | Effect::Put(_)
                | Effect::Delete(_)
                | Effect::Index(_)
                | Effect::Call(_) => {
                    self.check_begun(&effect, now);
                    begun.push(effect);
                }
            }
        }
        if self.is_ringing && object.rung() != Rung::NotYet {
            self.is_ringing = false;
            if object.rung() == Rung::Again {
                self.alarm_at = Some(now);
            }
        }
        begun
    }

    /// An effect has ended.
    pub(crate) fn done(
        &mut self,
        object: &mut Object,
        ports: &Ports<'_, HostSockets>,
        effect: Effect,
        outcome: Outcome,
        now: Millis,
    ) -> Vec<Effect> {
        let lane = lane(&effect);
        let of_lane = self.under_way.iter().position(|other| *other == lane).expect("it is under way");
        self.under_way.remove(of_lane);
        let has_failed = matches!(outcome, Outcome::Failed(_));
        if has_failed {
            self.rests.insert(what(&effect), now + RETRY);
        }
        object.done(ports, effect, outcome, now);
        let begun = self.drive(object, ports, now);
        if has_failed && !self.under_way.contains(&lane) {
            self.assert_rings_for_what_failed(object, lane, now);
        }
        begun
    }

    /// The alarm rings, whether or not it is time.
    pub(crate) fn ring(
        &mut self,
        object: &mut Object,
        ports: &Ports<'_, HostSockets>,
        now: Millis,
    ) -> Vec<Effect> {
        (self.alarm_at, self.is_ringing) = (None, true);
        object.ring(ports, now);
        self.drive(object, ports, now)
    }

    /// The object is another one, and knows of nothing. The platform rings an alarm again that has not come to its end.
    pub(crate) fn lost_memory(&mut self, now: Millis) {
        self.under_way.clear();
        self.rests.clear();
        if std::mem::take(&mut self.is_ringing) {
            self.alarm_at = Some(now);
        }
    }

    /// Whether there is an alarm: one that is ringing is rung again if the object dies.
    pub(crate) fn has_alarm(&self) -> bool {
        self.alarm_at.is_some() || self.is_ringing
    }

    /// Whether an alarm has rung and not come to its end.
    pub(crate) fn is_ringing(&self) -> bool {
        self.is_ringing
    }

    fn set_alarm(&mut self, at: Millis) -> Outcome {
        self.alarm_was_refused = self.refuses_alarms;
        if self.refuses_alarms {
            return Outcome::Failed(Failure::new("set alarm", "injected fault"));
        }
        self.alarm_at = Some(at);
        self.alarms_set += 1;
        Outcome::Done
    }

    // What the driver promises.

    #[track_caller]
    fn check_begun(&mut self, effect: &Effect, now: Millis) {
        let lane = lane(effect);
        assert!(!self.under_way.contains(&lane), "two effects under way in one lane ({lane}): {effect:.80?}");
        self.under_way.push(lane);
        if let Some(until) = self.rests.remove(&what(effect)) {
            assert!(now >= until, "tried again {} ms before its rest was over: {effect:.80?}", until - now);
        }
    }

    #[track_caller]
    fn assert_rings_for_what_failed(&self, object: &Object, lane: &str, now: Millis) {
        if object.rung() == Rung::NotYet || self.alarm_was_refused {
            return;
        }
        let rings = self.alarm_at.is_some_and(|at| at <= now + REST_MAX);
        assert!(rings, "no alarm for what failed ({lane}): it is set for {:?}", self.alarm_at);
    }
}

/// In which of the driver's lanes it is; there is one thing at most in each.
fn lane(effect: &Effect) -> &'static str {
    match effect {
        Effect::SetAlarm(_) | Effect::Log(_) => "this turn",
        Effect::NextTurn => "turns",
        Effect::Put(_) | Effect::Delete(_) => "bucket",
        Effect::Index(_) => "index",
        Effect::Call(Calling { about: About::Report(_), .. }) => "registry",
        Effect::Call(Calling { about: About::Release(_), .. }) => "links",
    }
}

/// What rests when it has failed: all of a lane, but of the links only the one.
fn what(effect: &Effect) -> String {
    match effect {
        Effect::Call(Calling { about: About::Release(link), .. }) => format!("{link:?}"),
        Effect::SetAlarm(_)
        | Effect::Log(_)
        | Effect::NextTurn
        | Effect::Put(_)
        | Effect::Delete(_)
        | Effect::Index(_)
        | Effect::Call(_) => lane(effect).to_owned(),
    }
}
