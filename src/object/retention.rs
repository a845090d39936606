//! Retention: drops the oldest segments once nothing keeps them. Readers miss them at once; their objects and rows go like
//! those of a stream that ended (`rotation.rs`).

use super::rotation::Garbage;
use super::{Object, Settings};
use crate::protocol::Millis;
use crate::storage::commit::{Change, commit};
use crate::storage::{Failure, Sql, segments};
use crate::stream::Life;
use crate::stream::retain::{keep, window};

/// When segments may have to be dropped next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TrimsAt {
    /// That was not looked at yet.
    Unknown,
    /// When the oldest segment's time is over.
    At(Millis),
    /// Not before another segment is in the bucket.
    NextRotation,
}

impl TrimsAt {
    pub(super) fn is_due(self, now: Millis) -> bool {
        match self {
            TrimsAt::Unknown => true,
            TrimsAt::At(at) => now >= at,
            TrimsAt::NextRotation => false,
        }
    }

    /// What the alarm has to ring for.
    pub(super) fn alarm_at(self) -> Option<Millis> {
        match self {
            TrimsAt::At(at) => Some(at),
            TrimsAt::Unknown | TrimsAt::NextRotation => None,
        }
    }
}

impl Object {
    /// Drops what need not be kept any more, and finds out when to look again.
    pub(super) fn trim(&mut self, sql: &dyn Sql, now: Millis) -> Result<(), Failure> {
        // If this fails, so that it is tried again.
        self.trims_at = TrimsAt::Unknown;
        let (is_trimmed, trims_at) = self.drop_oldest(sql, now)?;
        self.trims_at = trims_at;
        if is_trimmed {
            self.garbage = Garbage::Unknown;
            self.arm(now);
        }
        Ok(())
    }

    fn drop_oldest(&mut self, sql: &dyn Sql, now: Millis) -> Result<(bool, TrimsAt), Failure> {
        let nothing = Ok((false, TrimsAt::NextRotation));
        let Settings { retention, segments: Some(_), .. } = self.settings else { return nothing };
        let Life::Live(stream) = self.load(sql)? else { return nothing };
        let Some(keep) = keep(stream, retention, now) else { return nothing };
        let kept = segments::first_kept(sql, &keep)?;
        let oldest_until = kept.zip(window(stream, retention)).map(|(kept, window)| kept.written_at + window);
        let trims_at = oldest_until.map_or(TrimsAt::NextRotation, TrimsAt::At);
        let first_segment = kept.map_or(stream.hot_from, |kept| kept.number);
        if first_segment == stream.first_segment {
            return Ok((false, trims_at));
        }
        if let Err(failure) = commit(sql, &Change::Trim { stream, first_segment }) {
            self.forget();
            return Err(failure);
        }
        stream.first_segment = first_segment;
        Ok((true, trims_at))
    }
}
