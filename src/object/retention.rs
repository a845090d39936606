//! Finds the segments that retention drops. Readers lose access to them at once. Their objects and rows are
//! then deleted like those of a stream that has ended (`rotation.rs`).

use super::ports::Settings;
use crate::protocol::Millis;
use crate::storage::{Failure, Sql, segments};
use crate::stream::Stream;
use crate::stream::retain::{keep, window};

/// When retention may next drop segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum DropsNext {
    /// This has not been checked yet.
    #[default]
    Unknown,
    /// When the window of the oldest segment ends.
    DropsAt(Millis),
    /// Not before another segment is rotated.
    NextRotation,
}

/// The first retained segment, and when to check again.
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

    pub(super) fn alarm_at(self) -> Option<Millis> {
        match self {
            DropsNext::DropsAt(at) => Some(at),
            DropsNext::Unknown | DropsNext::NextRotation => None,
        }
    }
}

/// The retained part of a stream. Without a bucket nothing is dropped.
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
