//! Rotation: when a segment is full, and which one is due for the bucket.
//!
//! The append (or initial content) that fills a segment seals it: the tail is then the start of the next segment, so that each
//! place has one offset. A sealed segment never changes, and goes to the bucket later. A closed stream's last segment is
//! sealed as it is; if it is too small to be worth an object, it stays in the hot log.

use super::Stream;
use super::content::Content;
use super::fill::Fill;

/// How large a segment gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentLimits {
    /// From how many appends on it is full.
    pub appends_max: u64,
    /// From how many bytes on it is full.
    pub bytes_max: u64,
    /// From how many bytes on a closed stream's last segment goes to the bucket, too.
    pub closed_bytes_min: u64,
}

/// Whether this content fills the tail's segment, which is sealed then.
pub fn fills(stream: &Stream, content: &Content<'_>, limits: SegmentLimits) -> bool {
    content.span > 0 && is_full(stream.fill.with(content), limits)
}

fn is_full(fill: Fill, limits: SegmentLimits) -> bool {
    fill.appends >= limits.appends_max || fill.bytes >= limits.bytes_max
}

/// The segment that is to be rotated next: the oldest in the hot log, if it is sealed.
pub fn due(stream: &Stream, limits: SegmentLimits) -> Option<u64> {
    (stream.hot_from < sealed_until(stream, limits)).then_some(stream.hot_from)
}

/// The first segment that may still change, or that stays.
fn sealed_until(stream: &Stream, limits: SegmentLimits) -> u64 {
    let tail_goes =
        stream.closure.is_closed() && stream.fill.appends > 0 && stream.fill.bytes >= limits.closed_bytes_min;
    stream.tail.segment + u64::from(tail_goes)
}
