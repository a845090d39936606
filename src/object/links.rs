//! Tracks a fork's links to its sources in memory: links whose source is being called, refused links, and
//! links to release.

use super::pending::Pending;
use crate::protocol::Millis;
use crate::protocol::call::Call;
use crate::protocol::fork::REFERENCE_VALID;
use crate::storage::forks::{self, Link};
use crate::storage::{Failure, Sql};
use crate::stream::fork::Way;

/// The most concurrent creations of one fork.
pub const FORKS_ASKED_MAX: usize = 16;

/// The most refused links in memory.
pub const REFUSED_KEPT_MAX: usize = 16;

/// A call to another stream about a fork to be created. `Object::confirm` continues with the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asking {
    pub path: String,
    /// The call, which `Object::answer` answers.
    pub call: Call,
    pub(super) link: String,
    /// What the source has granted, and the rest of the way from there.
    pub(super) way: Option<Way>,
}

#[derive(Debug)]
pub(super) struct ForkLinks {
    pending: Pending,
    /// Links whose sources are being called.
    asking: Vec<Link>,
    /// Links that their sources refused but might still grant.
    refused: Vec<Link>,
    /// The last link whose release failed in this run. Every link before it was tried.
    failed: Option<String>,
}

impl ForkLinks {
    /// The state before the stream's row is read.
    pub(super) fn unknown() -> ForkLinks {
        let pending = Pending::Nothing;
        ForkLinks { pending, asking: Vec::new(), refused: Vec::new(), failed: None }
    }

    /// The state after memory is lost. Calls in flight continue, and so does a backoff.
    pub(super) fn forgotten(&mut self) -> ForkLinks {
        let pending = match self.pending {
            Pending::Maybe | Pending::Nothing => Pending::Nothing,
            resting @ Pending::RestsUntil(_) => resting,
        };
        let (asking, failed) = (std::mem::take(&mut self.asking), self.failed.take());
        ForkLinks { pending, asking, refused: Vec::new(), failed }
    }

    /// Applies what the stream's row says about links.
    pub(super) fn loaded(&mut self, has_links: bool) {
        if has_links {
            self.pending.renew();
        }
    }

    pub(super) fn may_begin(&self, now: Millis) -> bool {
        self.pending.may_begin(now)
    }

    /// When the alarm must ring for links. The object may die during a call, and refused links are released
    /// later.
    pub(super) fn alarm_at(&self, now: Millis) -> Option<Millis> {
        let is_idle = self.pending == Pending::Nothing && self.asking.is_empty() && self.refused.is_empty();
        (!is_idle).then(|| self.pending.alarm_at(now))
    }

    /// There may be new links to release.
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

    /// A call to a source has ended. Its link is released unless it became the stream's own.
    pub(super) fn asked(&mut self, link: &str) {
        self.asking.retain(|asked| asked.id != link);
        self.pending.renew();
    }

    /// A repeated request might still be granted, so the link stays until no source grants it any more. Then
    /// the source need not remember the release. Beyond [`REFUSED_KEPT_MAX`], the oldest link is released at
    /// once.
    pub(super) fn keep_refused(&mut self, link: &str) {
        let Some(refused) = self.asking.iter().find(|asked| asked.id == link) else { return };
        if self.refused.len() == REFUSED_KEPT_MAX {
            self.refused.remove(0);
        }
        self.refused.push(refused.clone());
    }

    /// Gives up calls that have waited too long: their client may be gone, and a later answer is ignored.
    /// Refused links that can no longer be granted are released too, when the alarm rings.
    pub(super) fn give_up(&mut self, now: Millis) {
        let count = self.asking.len() + self.refused.len();
        self.asking.retain(|asked| now < asked.valid_until + REFERENCE_VALID);
        self.refused.retain(|refused| now <= refused.valid_until);
        if self.asking.len() + self.refused.len() < count {
            self.pending.renew();
        }
    }

    /// The next link to release, other than the stream's own. A link that cannot be released does not delay
    /// others, but the run ends with a backoff.
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

    /// Records that a link could not be released. Returns whether it is the first of this run.
    pub(super) fn failed(&mut self, link: &Link) -> bool {
        self.failed.replace(link.id.clone()).is_none()
    }

    /// Ends the run. Returns whether a release failed.
    pub(super) fn take_failed(&mut self) -> bool {
        self.failed.take().is_some()
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.pending = Pending::RestsUntil(at);
    }
}
