//! What a stream reports of its lives to its registry. Nothing waits for that, and it may fail for as long as it likes.

use super::pending::Pending;
use crate::protocol::registry::{Record, Registries, RegistryEvent, event};
use crate::protocol::{Millis, lifetime};
use crate::storage::registry::{ReportMark, Unreported, unreported};
use crate::storage::{Failure, Sql};
use crate::stream::Life;

/// How many lives are reported at a time: with paths and content types at their longest some 250 kB.
pub const LIVES_AT_ONCE_MAX: u64 = 50;

/// How soon the registry is told again when it failed.
pub const REST_MIN: Millis = 60_000;
/// How late at the latest.
pub const REST_MAX: Millis = 3_600_000;

/// How far the registry knows once it has taken what it is told, and since when it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub(super) through: ReportMark,
    since: Millis,
}

/// What there is to report.
pub(super) struct ToReport {
    /// The path of the registry.
    pub(super) registry: String,
    pub(super) record: Record,
    pub(super) report: Report,
}

impl ToReport {
    /// A life is reported from its beginning, also where the registry should know that: so it finds its way back from
    /// whatever became of the registry.
    fn of(Unreported { path, registry, lives, through, since }: Unreported) -> ToReport {
        let mut events = Vec::new();
        for life in lives {
            for operation in life.operations() {
                let message = event(&path, &life.content_type, life.created_at, *operation);
                events.push(RegistryEvent { incarnation: life.incarnation, seq: operation.seq(), message });
            }
        }
        ToReport { registry, record: Record { path, events }, report: Report { through, since } }
    }
}

impl Report {
    /// When it is tried again: the longer the registry should have known, the longer it rests.
    pub fn again_at(&self, now: Millis) -> Millis {
        now + now.saturating_sub(self.since).clamp(REST_MIN, REST_MAX)
    }

    pub fn failure(&self, cause: &str) -> Failure {
        let since = lifetime::rfc3339(self.since);
        Failure::new("report stream", format_args!("what happened {since}: {cause}"))
    }
}

#[derive(Debug, Default)]
pub(super) struct Reports {
    pending: Pending,
}

impl Reports {
    pub(super) fn forgotten(&self) -> Reports {
        let mut pending = self.pending;
        pending.renew();
        Reports { pending }
    }

    pub(super) fn may_begin(&self, life: Option<&Life>, registries: Registries, now: Millis) -> bool {
        self.has_any(life, registries) && self.pending.may_begin(now)
    }

    fn has_any(&self, life: Option<&Life>, registries: Registries) -> bool {
        registries != Registries::Off
            && self.pending != Pending::Nothing
            && !matches!(life, Some(Life::Unborn) | None)
    }

    /// Whether that may be the end of a stream. Nobody asks for one that has ended, so nobody else would see to it that the
    /// registry knows.
    pub(super) fn owe_end(&self, life: Option<&Life>, registries: Registries) -> bool {
        self.has_any(life, registries) && !matches!(life, Some(Life::Live(_)))
    }

    /// When the alarm has to ring for them.
    pub(super) fn alarm_at(
        &self,
        life: Option<&Life>,
        registries: Registries,
        now: Millis,
    ) -> Option<Millis> {
        let owed_at = self.owe_end(life, registries).then(|| self.pending.alarm_at(now));
        owed_at.or(self.pending.rests_until(now))
    }

    /// A life has begun or ended.
    pub(super) fn renew(&mut self) {
        self.pending.renew();
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.pending = Pending::RestsUntil(at);
    }

    /// The next thing to report.
    pub(super) fn next(
        &mut self,
        sql: &dyn Sql,
        registries: Registries,
    ) -> Result<Option<ToReport>, Failure> {
        let unreported = unreported(sql, registries, LIVES_AT_ONCE_MAX)?;
        self.pending = if unreported.is_some() { Pending::Maybe } else { Pending::Nothing };
        Ok(unreported.map(ToReport::of))
    }
}
