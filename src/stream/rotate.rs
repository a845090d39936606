//! Rotation: when a segment is sealed, and which one moves to the bucket next.
//!
//! The append or initial content that fills a segment seals it. The tail is then the start of the next segment,
//! so that each point has one offset. A sealed segment never changes, and moves to the bucket later. The last
//! segment of a closed stream is sealed as it is. If it is too small to be worth an R2 object, it stays in the
//! hot log.

use super::Stream;
use super::content::Content;
use super::fill::Fill;

/// The thresholds for sealing a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentLimits {
    /// The number of appends that fills a segment.
    pub appends_max: u64,
    /// The number of bytes that fills a segment.
    pub bytes_max: u64,
    /// The least size of a closed stream's last segment that moves to the bucket, in bytes.
    pub closed_bytes_min: u64,
}

/// Whether this content fills, and so seals, the tail's segment.
pub fn fills(stream: &Stream, content: &Content<'_>, limits: SegmentLimits) -> bool {
    content.span > 0 && is_full(stream.fill.with(content), limits)
}

fn is_full(fill: Fill, limits: SegmentLimits) -> bool {
    fill.appends >= limits.appends_max || fill.bytes >= limits.bytes_max
}

/// The segment to rotate next: the oldest in the hot log, if it is sealed.
pub fn due(stream: &Stream, limits: SegmentLimits) -> Option<u64> {
    (stream.hot_from < sealed_until(stream, limits)).then_some(stream.hot_from)
}

/// The first segment that may change or that stays in the hot log.
fn sealed_until(stream: &Stream, limits: SegmentLimits) -> u64 {
    let tail_goes =
        stream.closure.is_closed() && stream.fill.appends > 0 && stream.fill.bytes >= limits.closed_bytes_min;
    stream.tail.segment + u64::from(tail_goes)
}
