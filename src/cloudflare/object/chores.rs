//! What an object does in its own time, for nobody who waits: of each kind never two at once, and after a failure none before
//! a rest, at the end of which the alarm rings.

use std::cell::Cell;
use std::rc::Rc;

use super::stream_object::ObjectHost;
use crate::cloudflare::clock::{self, Timer};
use crate::cloudflare::telemetry;
use crate::protocol::Millis;
use crate::storage::Failure;

/// The kinds.
#[derive(Clone, Copy)]
pub(super) enum Chore {
    /// Telling the mirror of segments.
    Mirror,
    /// Telling the registry of streams.
    Report,
    /// Letting sources of forks go.
    Release,
}

/// All of them.
const CHORES: [Chore; 3] = [Chore::Mirror, Chore::Report, Chore::Release];

/// What became of one; if it failed, when it is tried again.
pub(super) type Done = Result<(), (Failure, Millis)>;

/// How it stands with each kind.
#[derive(Default)]
pub(super) struct Chores([State; CHORES.len()]);

#[derive(Default)]
struct State {
    /// Whether it is being done, or soon will be.
    busy: Cell<bool>,
    rests_until: Cell<Millis>,
}

impl Chores {
    fn of(&self, chore: Chore) -> &State {
        &self.0[chore as usize]
    }

    /// When it is tried again, if it rests.
    pub(super) fn rests_until(&self, chore: Chore, now: Millis) -> Option<Millis> {
        Some(self.of(chore).rests_until.get()).filter(|at| *at > now)
    }
}

impl ObjectHost {
    /// Does in later turns what there is to do.
    pub(super) fn chores_soon(self: &Rc<Self>) {
        for chore in CHORES {
            if !self.may_do(chore) {
                continue;
            }
            let inner = Rc::clone(self);
            self.state.wait_until(async move {
                let _next_turn = Timer::new(0).over().await;
                inner.carry_out(chore).await;
            });
        }
    }

    /// Does one kind at once.
    pub(super) async fn chore_now(&self, chore: Chore) {
        if self.may_do(chore) {
            self.carry_out(chore).await;
        }
    }

    /// Whether there may be something to do, and nobody does it; whoever asks does then.
    fn may_do(&self, chore: Chore) -> bool {
        let object = self.object.borrow();
        let is_due = match chore {
            Chore::Mirror => object.may_have_notices(),
            Chore::Report => object.may_have_reports(),
            Chore::Release => object.may_have_releases(),
        };
        let state = self.chores.of(chore);
        is_due && clock::now() >= state.rests_until.get() && !state.busy.replace(true)
    }

    async fn carry_out(&self, chore: Chore) {
        let _busy = telemetry::busy(|| self.name(), |_| {});
        let done = match chore {
            Chore::Mirror => self.mirror().await,
            Chore::Report => self.report().await,
            Chore::Release => self.release().await,
        };
        let state = self.chores.of(chore);
        state.busy.set(false);
        if let Err((failure, again_at)) = done {
            telemetry::failure(&self.name(), &failure);
            state.rests_until.set(again_at);
            self.rearm_or_log();
        }
    }
}
