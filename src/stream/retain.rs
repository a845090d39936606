//! Retention (PROTOCOL.md 4): the segments that a stream must retain. Whole segments are dropped from the
//! bucket, oldest first. The hot log is never dropped.

use super::Stream;
use crate::protocol::Millis;
use crate::protocol::retention::Retention;

/// The retention of streams without their own. If both limits are set, a segment is dropped as soon as one of
/// them permits it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetentionDefaults {
    pub segments: Option<u64>,
    /// Retain each segment for so long after its last message.
    pub seconds: Option<u64>,
}

/// The conditions for retaining a segment, which must meet all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// Its number is at least this.
    pub from_segment: u64,
    /// Its last message was written at this time or later.
    pub written_from: Millis,
    /// It extends to this byte of the incarnation or a later one.
    pub bytes_from: u64,
}

/// How long a segment is retained after its last message, in milliseconds; `None` if there is no limit by age.
pub fn window(stream: &Stream, defaults: RetentionDefaults) -> Option<Millis> {
    let seconds = match stream.retention {
        Some(Retention::Seconds { seconds }) => Some(seconds),
        Some(Retention::Bytes { .. }) => None,
        None => defaults.seconds,
    };
    seconds.map(|seconds| seconds * 1000)
}

/// The conditions for retaining a segment; `None` if no segment can be dropped.
pub fn keep(stream: &Stream, defaults: RetentionDefaults, now: Millis) -> Option<Keep> {
    let segments = defaults.segments.filter(|_| stream.retention.is_none());
    let bytes = match stream.retention {
        Some(Retention::Bytes { bytes }) => Some(bytes),
        Some(Retention::Seconds { .. }) | None => None,
    };
    let window = window(stream, defaults);
    let is_limited = segments.is_some() || bytes.is_some() || window.is_some();
    (is_limited && stream.first_segment < stream.hot_from).then(|| Keep {
        from_segment: segments
            .map_or(0, |count| stream.hot_from.saturating_sub(count))
            .max(stream.first_segment),
        // A segment whose age equals the window is dropped.
        written_from: window.map_or(0, |window| (now + 1).saturating_sub(window)),
        // A segment is dropped when the data after it alone reaches the size.
        bytes_from: bytes.map_or(0, |bytes| (stream.rotated_bytes + 1).saturating_sub(bytes)),
    })
}
