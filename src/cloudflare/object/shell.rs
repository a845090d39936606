//! Carries out the effects that an object's driver requests, and reports their outcomes to it. The driver
//! (`src/object/driver.rs`) decides the order and the retries.

use std::cell::RefMut;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::host::ObjectHost;
use super::sockets::ObjectSockets;
use crate::cloudflare::clock::{self, Timer};
use crate::cloudflare::{calls, telemetry, webhooks};
use crate::object::driver::Rung;
use crate::object::effect::{Calling, Calls, Effect, LogEvent, Outcome};
use crate::object::{Object, Ports};
use crate::storage::Failure;
use crate::telemetry::counts::RowCounts;

/// An effect in progress. Dropping it reports the outcome, which is a failure until the effect has ended.
struct UnderWay {
    host: Rc<ObjectHost>,
    effect: Option<Effect>,
    outcome: Outcome,
    /// The rows read and written to find the effect.
    rows: RowCounts,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(effect) = self.effect.take() else { return };
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Done);
        let host = &self.host;
        host.in_own_time(std::mem::take(&mut self.rows), |object, ports| {
            object.done(ports, effect, outcome, clock::now());
        });
    }
}

impl ObjectHost {
    /// Handles the alarm. Returns when the work that the alarm started, and the work that followed from it, is done.
    pub(super) async fn ring(self: &Rc<Self>) -> Result<(), Failure> {
        {
            let _busy = telemetry::busy(|| self.name(), |counts| counts.alarms_rung += 1);
            self.in_own_time(RowCounts::default(), |object, ports| object.ring(ports, clock::now()));
        }
        let rung = |object: &Object| Some(object.rung()).filter(|rung| *rung != Rung::NotYet);
        match self.until(rung).await {
            Rung::Again => {
                Err(Failure::new("set alarm", "the alarm could not be set; the platform repeats this one"))
            }
            Rung::NotYet | Rung::Done => Ok(()),
        }
    }

    /// Waits for a result of the object's background work.
    pub(super) fn until<T>(&self, probe: impl Fn(&Object) -> Option<T>) -> impl Future<Output = T> {
        poll_fn(move |context| match probe(&self.object.borrow()) {
            Some(found) => Poll::Ready(found),
            None => {
                let mut waiters = self.waiters.borrow_mut();
                if !waiters.iter().any(|waiter| waiter.will_wake(context.waker())) {
                    waiters.push(context.waker().clone());
                }
                Poll::Pending
            }
        })
    }

    /// Starts the work that follows a request or a call. It sets the alarm in the same turn, and the row of the alarm counts as
    /// the request's.
    pub(super) fn follow_up(self: &Rc<Self>, mut object: RefMut<'_, Object>) {
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let now = clock::now();
        while let Some(effect) = object.poll(&ports, now) {
            self.carry_out(&mut object, &ports, effect, &mut RowCounts::default());
        }
    }

    /// Runs background work and starts the work that follows. Its rows do not count as the next request's.
    fn in_own_time(
        self: &Rc<Self>,
        mut rows: RowCounts,
        act: impl FnOnce(&mut Object, &Ports<'_, ObjectSockets<'_>>),
    ) {
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let mut object = self.object.borrow_mut();
        act(&mut object, &ports);
        let now = clock::now();
        loop {
            let next = object.poll(&ports, now);
            rows = rows + self.sql.take_row_counts();
            let Some(effect) = next else { break };
            self.carry_out(&mut object, &ports, effect, &mut rows);
        }
        drop(object);
        self.waiters.take().into_iter().for_each(Waker::wake);
    }

    /// Completes a synchronous effect, or begins an asynchronous one.
    fn carry_out(
        self: &Rc<Self>,
        object: &mut Object,
        ports: &Ports<'_, ObjectSockets<'_>>,
        effect: Effect,
        rows: &mut RowCounts,
    ) {
        let set = match &effect {
            Effect::SetAlarm(at) => self.sql.set_alarm(*at),
            Effect::Log(event) => return self.log(event, std::mem::take(rows)),
            Effect::NextTurn
            | Effect::Put(_)
            | Effect::Delete(_)
            | Effect::Index(_)
            | Effect::Call(_)
            | Effect::Calls(_)
            | Effect::Post(_) => return self.begin(effect, std::mem::take(rows)),
        };
        object.done(ports, effect, set.into(), clock::now());
    }

    fn begin(self: &Rc<Self>, effect: Effect, rows: RowCounts) {
        let host = Rc::clone(self);
        let busy = telemetry::busy(|| self.name(), |_| {});
        let outcome = Outcome::Failed(Failure::new("carry out", "the effect was dropped before it ended"));
        let mut under_way = UnderWay { host, effect: Some(effect), outcome, rows };
        self.state.wait_until(async move {
            let _busy = busy;
            if let UnderWay { host, effect: Some(effect), .. } = &mut under_way {
                under_way.outcome = host.outcome_of(effect).await;
            }
            drop(under_way);
        });
    }

    async fn outcome_of(&self, effect: &mut Effect) -> Outcome {
        let none = || Failure::new("carry out", "no bucket is bound");
        match effect {
            Effect::NextTurn => Timer::new(0).over().await.map(drop).map_err(|_| none()).into(),
            Effect::Put(upload) => {
                let pieces = std::mem::take(&mut upload.pieces);
                match &self.bucket {
                    Some(bucket) => bucket.put(&upload.key, pieces).await.into(),
                    None => Outcome::Failed(none()),
                }
            }
            Effect::Delete(collection) => {
                let keys = std::mem::take(&mut collection.keys);
                match &self.bucket {
                    Some(bucket) => bucket.delete(keys).await.into(),
                    None => Outcome::Failed(none()),
                }
            }
            Effect::Index(delivery) => self.segment_index.deliver(delivery).await.into(),
            Effect::Call(Calling { to, call, .. }) => {
                let answered = calls::call(&self.namespace, to, call).await;
                answered.map_or_else(Outcome::Failed, Outcome::Answered)
            }
            Effect::Calls(Calls { calls, .. }) => {
                let answered = calls::call_all(&self.namespace, calls).await;
                answered.map_or_else(Outcome::Failed, Outcome::AllAnswered)
            }
            Effect::Post(post) => {
                let delivered = webhooks::deliver(&self.env, &self.namespace, post).await;
                delivered.map_or_else(Outcome::Failed, Outcome::Delivered)
            }
            Effect::SetAlarm(_) | Effect::Log(_) => Outcome::Done,
        }
    }

    fn log(&self, event: &LogEvent, rows: RowCounts) {
        let (name, segment) = match event {
            LogEvent::Failed(failure) => return telemetry::failure(&self.name(), None, failure),
            LogEvent::Reclaimed => return self.debug("reclaimed"),
            LogEvent::Rearmed => return self.debug("rearmed"),
            LogEvent::Rotated { segment } => ("rotated", Some(*segment)),
            LogEvent::Collected { through_segment } => ("collected", Some(*through_segment)),
            LogEvent::Indexed => ("mirrored", None),
            LogEvent::Reported => ("reported", None),
            LogEvent::Released => ("released", None),
            LogEvent::Notified => ("notified", None),
            LogEvent::Woken { .. } => ("woken", None),
            LogEvent::Linked => ("linked", None),
        };
        if self.config.debug {
            telemetry::worked(&self.name(), name, segment, rows);
        }
    }
}
