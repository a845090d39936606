//! The shell of an object on the host, in place of `src/cloudflare/object/shell.rs`. It performs immediate
//! effects, returns the others to the test, and asserts the driver's guarantees.

use std::collections::BTreeMap;

use durable_streams::object::driver::Rung;
use durable_streams::object::effect::{About, Calling, Calls, Effect, LogEvent, Outcome};
use durable_streams::object::pending::RETRY;
use durable_streams::object::reports::REST_MAX;
use durable_streams::object::{Object, Ports};
use durable_streams::protocol::Millis;
use durable_streams::storage::Failure;

use super::sockets::HostSockets;

/// The shell's state. It survives the loss of the object's memory, except for what it tracks about the
/// driver.
#[derive(Default)]
pub(crate) struct Shell {
    pub(crate) alarm_at: Option<Millis>,
    /// How often the alarm was set. Each time bills one row.
    pub(crate) alarms_set: u64,
    /// Whether setting the alarm fails. Until it works again, the shell does not assert alarms.
    pub(crate) refuses_alarms: bool,
    pub(crate) logged: Vec<LogEvent>,
    is_ringing: bool,
    alarm_was_refused: bool,
    /// The lanes of the effects in flight.
    under_way: Vec<&'static str>,
    /// The failed effects, and the end of each one's backoff.
    rests: BTreeMap<String, Millis>,
}

impl Shell {
    /// Lets the driver continue, and returns the effects that it starts.
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
                | Effect::Call(_)
                | Effect::Calls(_)
                | Effect::Post(_) => {
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

    /// Reports the outcome of an effect to the driver.
    pub(crate) fn done(
        &mut self,
        object: &mut Object,
        ports: &Ports<'_, HostSockets>,
        effect: Effect,
        outcome: Outcome,
        now: Millis,
    ) -> Vec<Effect> {
        let lane = lane(&effect);
        let of_lane =
            self.under_way.iter().position(|other| *other == lane).expect("the effect is in flight");
        self.under_way.remove(of_lane);
        // The state of a subscription says when a delivery is repeated, not its lane. A summary is not repeated.
        let has_failed = matches!(outcome, Outcome::Failed(_)) && lane != "delivery" && lane != "summary";
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

    /// Rings the alarm, whether or not it is due.
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

    /// Replaces the object by a new one. The platform repeats an alarm that has not completed.
    pub(crate) fn lost_memory(&mut self, now: Millis) {
        self.under_way.clear();
        self.rests.clear();
        if std::mem::take(&mut self.is_ringing) {
            self.alarm_at = Some(now);
        }
    }

    /// Whether an alarm is set. One that is ringing counts, because it is repeated if the object dies.
    pub(crate) fn has_alarm(&self) -> bool {
        self.alarm_at.is_some() || self.is_ringing
    }

    /// Whether an alarm has rung and not completed.
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

    // The driver's guarantees.

    #[track_caller]
    fn check_begun(&mut self, effect: &Effect, now: Millis) {
        let lane = lane(effect);
        assert!(!self.under_way.contains(&lane), "two effects in flight in one lane ({lane}): {effect:.80?}");
        self.under_way.push(lane);
        if let Some(until) = self.rests.remove(&what(effect)) {
            assert!(now >= until, "retried {} ms before its backoff ended: {effect:.80?}", until - now);
        }
    }

    #[track_caller]
    fn assert_rings_for_what_failed(&self, object: &Object, lane: &str, now: Millis) {
        if object.rung() == Rung::NotYet || self.alarm_was_refused {
            return;
        }
        let rings = self.alarm_at.is_some_and(|at| at <= now + REST_MAX);
        assert!(rings, "the alarm is too late for a failed lane ({lane}): it is set for {:?}", self.alarm_at);
    }
}

/// The lane of an effect. Each lane has at most one effect in flight.
fn lane(effect: &Effect) -> &'static str {
    match effect {
        Effect::SetAlarm(_) | Effect::Log(_) => "this turn",
        Effect::NextTurn => "turns",
        Effect::Put(_) | Effect::Delete(_) => "bucket",
        Effect::Index(_) => "index",
        Effect::Call(Calling { about, .. }) | Effect::Calls(Calls { about, .. }) => match about {
            About::Report(_) => "registry",
            About::Release(_) => "links",
            About::Enlist { .. } | About::Events { .. } => "directory",
            About::Page { .. } | About::Watches => "watches",
            About::WakeEvent { .. } => "delivery",
            About::Watchers => "watchers",
            About::Summary => "summary",
        },
        Effect::Post(_) => "delivery",
    }
}

/// The unit that backs off after a failure: the whole lane, but for links each link.
fn what(effect: &Effect) -> String {
    match effect {
        Effect::Call(Calling { about: About::Release(link), .. }) => format!("{link:?}"),
        Effect::SetAlarm(_)
        | Effect::Log(_)
        | Effect::NextTurn
        | Effect::Put(_)
        | Effect::Delete(_)
        | Effect::Index(_)
        | Effect::Call(_)
        | Effect::Calls(_)
        | Effect::Post(_) => lane(effect).to_owned(),
    }
}
