//! Retention: which segments a stream has to keep (PROTOCOL.md 4). Only segments in the bucket are dropped, whole and the oldest
//! first, so a stream always keeps its hot log.

use super::Stream;
use crate::protocol::Millis;
use crate::protocol::retention::Retention;

/// The retention of streams that set none. If both are set, a segment is dropped as soon as one of them allows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetentionDefaults {
    pub segments: Option<u64>,
    /// Each segment for so long after its last message.
    pub seconds: Option<u64>,
}

/// The conditions for a segment to be kept; it must meet all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// This one or later.
    pub from_segment: u64,
    /// Its last message was written then or later.
    pub written_from: Millis,
    /// It reaches this byte of the life or a later one.
    pub bytes_from: u64,
}

/// How long a segment is kept after its last message, if there is a limit.
pub fn window(stream: &Stream, defaults: RetentionDefaults) -> Option<Millis> {
    let seconds = match stream.retention {
        Some(Retention::Seconds { seconds }) => Some(seconds),
        Some(Retention::Bytes { .. }) => None,
        None => defaults.seconds,
    };
    seconds.map(|seconds| seconds * 1000)
}

/// The conditions for keeping a segment; `None` where all are kept.
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
        // A window is over when it is as long as it says.
        written_from: window.map_or(0, |window| (now + 1).saturating_sub(window)),
        // What is after this one would be enough without it.
        bytes_from: bytes.map_or(0, |bytes| (stream.rotated_bytes + 1).saturating_sub(bytes)),
    })
}
