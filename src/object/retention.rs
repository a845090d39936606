//! Retention: finds the segments that nothing keeps any more. Readers miss them at once; their objects and rows go like those
//! of a stream that ended (`rotation.rs`).

use super::ports::Settings;
use crate::protocol::Millis;
use crate::storage::{Failure, Sql, segments};
use crate::stream::Stream;
use crate::stream::retain::{keep, window};

/// When segments may have to be dropped next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum DropsNext {
    /// That was not looked at yet.
    #[default]
    Unknown,
    /// When the oldest segment's time is over.
    DropsAt(Millis),
    /// Not before another segment is in the bucket.
    NextRotation,
}

/// The first segment that is kept, and when to look again.
pub(super) struct Retained {
    pub(super) first_segment: u64,
    pub(super) then: DropsNext,
}

impl DropsNext {
    pub(super) fn is_due(self, now: Millis) -> bool {
        match self {
            DropsNext::Unknown => true,
            DropsNext::DropsAt(at) => now >= at,
            DropsNext::NextRotation => false,
        }
    }

    /// What the alarm has to ring for.
    pub(super) fn alarm_at(self) -> Option<Millis> {
        match self {
            DropsNext::DropsAt(at) => Some(at),
            DropsNext::Unknown | DropsNext::NextRotation => None,
        }
    }
}

/// What is kept of a stream; nothing is dropped without a bucket.
pub(super) fn kept(
    sql: &dyn Sql,
    stream: &Stream,
    settings: Settings,
    now: Millis,
) -> Result<Option<Retained>, Failure> {
    let Settings { retention, segments: Some(_), .. } = settings else { return Ok(None) };
    let Some(keep) = keep(stream, retention, now) else { return Ok(None) };
    let first = segments::first_kept(sql, &keep)?;
    let oldest_until = first.zip(window(stream, retention)).map(|(first, window)| first.written_at + window);
    Ok(Some(Retained {
        first_segment: first.map_or(stream.hot_from, |first| first.number),
        then: oldest_until.map_or(DropsNext::NextRotation, DropsNext::DropsAt),
    }))
}
