//! Reports a stream's incarnations to its registry. No request waits for a report, and reports may fail
//! indefinitely.

use super::pending::{Pending, shortened};
use crate::protocol::registry::{Record, Registries, RegistryEvent, event};
use crate::protocol::{Millis, lifetime};
use crate::storage::registry::{ReportMark, Unreported, unreported};
use crate::storage::{Failure, Sql};
use crate::stream::Life;

/// The most incarnations in one report: about 250 kB with paths and content types of maximal length.
pub const LIVES_AT_ONCE_MAX: u64 = 50;

/// The shortest backoff after a failed report, in milliseconds.
pub const REST_MIN: Millis = 60_000;
/// The longest backoff after a failed report, in milliseconds.
pub const REST_MAX: Millis = 3_600_000;

/// The mark to store once the registry has recorded the report, and the time of the oldest change in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub(super) through: ReportMark,
    since: Millis,
}

pub(super) struct ToReport {
    pub(super) registry: String,
    pub(super) record: Record,
    pub(super) report: Report,
}

impl ToReport {
    /// Each incarnation is reported from its creation, even if the registry should know of that. So a
    /// registry that lost data recovers.
    fn of(Unreported { path, registry, lives, through, since }: Unreported) -> ToReport {
        let mut events = Vec::new();
        for life in lives {
            for operation in life.operations() {
                let message = event(&path, &life.content_type, life.created_at, *operation);
                events.push(RegistryEvent { incarnation: life.incarnation, seq: operation.seq(), message });
            }
        }
        ToReport {
            registry,
            record: Record { path, events, summary: None },
            report: Report { through, since },
        }
    }
}

impl Report {
    /// When a failed report is retried, in milliseconds. The longer the registry is out of date, the longer
    /// the backoff.
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
    /// The registry may not know that the stream was created. Until it does, patterns do not find it.
    is_birth_owed: bool,
    /// Whether the alarm is set for this report.
    has_alarm: bool,
    /// Why the last report failed.
    error: Option<String>,
}

impl Reports {
    pub(super) fn forgotten(&self) -> Reports {
        let mut pending = self.pending;
        pending.renew();
        Reports { pending, error: self.error.clone(), ..Reports::default() }
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The result of a report.
    pub(super) fn has_ended(&mut self, error: Option<&str>) {
        self.error = error.map(shortened);
    }

    /// The time of the oldest creation or end that was not reported.
    pub(super) fn behind_since(
        &self,
        sql: &dyn Sql,
        registries: Registries,
    ) -> Result<Option<Millis>, Failure> {
        if self.pending == Pending::Nothing {
            return Ok(None);
        }
        Ok(unreported(sql, registries, 1)?.map(|unreported| unreported.since))
    }

    pub(super) fn may_begin(&self, life: Option<&Life>, registries: Registries, now: Millis) -> bool {
        self.has_any(life, registries) && self.pending.may_begin(now)
    }

    fn has_any(&self, life: Option<&Life>, registries: Registries) -> bool {
        registries != Registries::Off
            && self.pending != Pending::Nothing
            && !matches!(life, Some(Life::Unborn) | None)
    }

    /// Whether the end of a stream may be unreported. No request follows an end, so only the alarm can report it.
    pub(super) fn owe_end(&self, life: Option<&Life>, registries: Registries) -> bool {
        self.has_any(life, registries) && !matches!(life, Some(Life::Live(_)))
    }

    pub(super) fn alarm_at(
        &self,
        life: Option<&Life>,
        registries: Registries,
        now: Millis,
    ) -> Option<Millis> {
        let owes = self.owe_end(life, registries) || self.owes_birth(life, registries);
        let owed_at = owes.then(|| self.pending.alarm_at(now));
        owed_at.or(self.pending.rests_until(now))
    }

    /// Whether the creation of a stream that has news is unreported. A subscription may wait for it, and perhaps no
    /// further request arrives.
    fn owes_birth(&self, life: Option<&Life>, registries: Registries) -> bool {
        self.is_birth_owed && self.has_any(life, registries) && has_news(life)
    }

    /// Whether an alarm must be set for a creation that has just become reportable.
    pub(super) fn wants_alarm(&mut self, life: Option<&Life>, registries: Registries) -> bool {
        if !self.is_birth_owed || self.has_alarm {
            return false;
        }
        self.has_alarm = self.owes_birth(life, registries);
        self.has_alarm
    }

    /// The alarm could not be set, so a creation that is owed needs it again.
    pub(super) fn lost_alarm(&mut self) {
        self.has_alarm = false;
    }

    /// The stream was loaded, and its creation may be unreported. If it has news, either its arrival has set an alarm, or
    /// the stream is older than its registry and no subscription waits for it.
    pub(super) fn loaded(&mut self, life: Option<&Life>, is_birth_owed: bool) {
        self.is_birth_owed = is_birth_owed;
        self.has_alarm |= is_birth_owed && has_news(life);
    }

    /// A new incarnation has begun.
    pub(super) fn born(&mut self) {
        self.pending.renew();
        (self.is_birth_owed, self.has_alarm) = (true, false);
    }

    /// The current incarnation has ended.
    pub(super) fn renew(&mut self) {
        self.pending.renew();
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.pending = Pending::RestsUntil(at);
    }

    pub(super) fn next(
        &mut self,
        sql: &dyn Sql,
        registries: Registries,
    ) -> Result<Option<ToReport>, Failure> {
        let unreported = unreported(sql, registries, LIVES_AT_ONCE_MAX)?;
        self.pending = if unreported.is_some() { Pending::Maybe } else { Pending::Nothing };
        self.is_birth_owed &= unreported.is_some();
        Ok(unreported.map(ToReport::of))
    }
}

/// Whether the stream has anything for a subscription: messages, or its closure.
fn has_news(life: Option<&Life>) -> bool {
    let Some(Life::Live(stream)) = life else { return false };
    stream.tail > stream.segment_start(stream.first_segment) || stream.closure.is_closed()
}
