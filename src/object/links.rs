//! A fork's links to its sources, in memory: which sources are being asked, which have refused, and which are to be released.

use super::pending::Pending;
use crate::protocol::Millis;
use crate::protocol::call::Call;
use crate::protocol::fork::REFERENCE_VALID;
use crate::storage::forks::{self, Link};
use crate::storage::{Failure, Sql};
use crate::stream::fork::Way;

/// How many creations of one fork may wait for their source at the same time.
pub const FORKS_ASKED_MAX: usize = 16;

/// How many links are kept whose sources have refused them.
pub const REFUSED_KEPT_MAX: usize = 16;

/// Somebody to be asked about a fork that is to be created; then `Object::confirm`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asking {
    pub path: String,
    /// What; `Object::answer` answers.
    pub call: Call,
    pub(super) link: String,
    /// What the source has granted, once it has, and how far it is from there.
    pub(super) way: Option<Way>,
}

#[derive(Debug)]
pub(super) struct ForkLinks {
    pending: Pending,
    /// Those whose sources are being asked.
    asking: Vec<Link>,
    /// Those that their sources have refused but might still grant.
    refused: Vec<Link>,
    /// The link of this run that could not be released; those before it were, or could not be either.
    failed: Option<String>,
}

impl ForkLinks {
    /// Until the stream's row is read, there are none.
    pub(super) fn unknown() -> ForkLinks {
        let pending = Pending::Nothing;
        ForkLinks { pending, asking: Vec::new(), refused: Vec::new(), failed: None }
    }

    /// The same after memory was lost. What is being asked is so all the same, and what rests goes on resting.
    pub(super) fn forgotten(&mut self) -> ForkLinks {
        let pending = match self.pending {
            Pending::Maybe | Pending::Nothing => Pending::Nothing,
            resting @ Pending::RestsUntil(_) => resting,
        };
        let (asking, failed) = (std::mem::take(&mut self.asking), self.failed.take());
        ForkLinks { pending, asking, refused: Vec::new(), failed }
    }

    /// The stream's row was read, and says whether there are any.
    pub(super) fn loaded(&mut self, has_links: bool) {
        if has_links {
            self.pending.renew();
        }
    }

    pub(super) fn may_begin(&self, now: Millis) -> bool {
        self.pending.may_begin(now)
    }

    /// When the alarm has to ring for them: whoever asks may die, and what was refused is released later.
    pub(super) fn alarm_at(&self, now: Millis) -> Option<Millis> {
        let is_idle = self.pending == Pending::Nothing && self.asking.is_empty() && self.refused.is_empty();
        (!is_idle).then(|| self.pending.alarm_at(now))
    }

    /// Some may have to be released that were not to be before.
    pub(super) fn renew(&mut self) {
        self.pending.renew();
    }

    pub(super) fn is_asking_many(&self) -> bool {
        self.asking.len() >= FORKS_ASKED_MAX
    }

    pub(super) fn ask(&mut self, link: &Link) {
        self.asking.push(link.clone());
    }

    pub(super) fn is_asking(&self, link: &str) -> bool {
        self.asking.iter().any(|asked| asked.id == link)
    }

    /// Its source was asked. Unless it has become the stream's own, it is to be released.
    pub(super) fn asked(&mut self, link: &str) {
        self.asking.retain(|asked| asked.id != link);
        self.pending.renew();
    }

    /// Should the same question arrive once more, it may be granted: so the link stays until nothing grants it any more, and
    /// its source has nothing to remember then. Where there are too many, the oldest is released at once.
    pub(super) fn keep_refused(&mut self, link: &str) {
        let Some(refused) = self.asking.iter().find(|asked| asked.id == link) else { return };
        if self.refused.len() == REFUSED_KEPT_MAX {
            self.refused.remove(0);
        }
        self.refused.push(refused.clone());
    }

    /// Whoever waited for an answer so long may be gone: an answer that comes after all is none. What was refused is granted
    /// by nobody any more, and released like all else; the alarm rings for it.
    pub(super) fn give_up(&mut self, now: Millis) {
        let count = self.asking.len() + self.refused.len();
        self.asking.retain(|asked| now < asked.valid_until + REFERENCE_VALID);
        self.refused.retain(|refused| now <= refused.valid_until);
        if self.asking.len() + self.refused.len() < count {
            self.pending.renew();
        }
    }

    /// The next link to release, of all but the stream's own. One that cannot be released holds up no other, but this run ends
    /// in a rest.
    pub(super) fn next(&mut self, sql: &dyn Sql, own: &str) -> Result<Option<Link>, Failure> {
        let mut after = self.failed.clone().unwrap_or_default();
        while let Some(link) = forks::next_link(sql, own, &after)? {
            if !self.asking.contains(&link) && !self.refused.contains(&link) {
                return Ok(Some(link));
            }
            after = link.id;
        }
        if self.failed.is_none() {
            self.pending = Pending::Nothing;
        }
        Ok(None)
    }

    /// One could not be released; whether it is the first of this run.
    pub(super) fn failed(&mut self, link: &Link) -> bool {
        self.failed.replace(link.id.clone()).is_none()
    }

    /// The run is over; whether one of them could not be released.
    pub(super) fn take_failed(&mut self) -> bool {
        self.failed.take().is_some()
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.pending = Pending::RestsUntil(at);
    }
}
