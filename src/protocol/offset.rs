//! Offsets (PROTOCOL.md 8): `<segment>_<position>`, 16 decimal digits each, so that text order is stream order.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Millis;

const DIGITS: usize = 16;

/// A point in a stream. Segment numbers are unique over all incarnations of a URL: they are not reused when a
/// deleted stream is created again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub struct Offset {
    #[serde(rename = "read_seq")]
    pub segment: u64,
    /// The position within the segment: messages in JSON streams, bytes in all others.
    pub position: u64,
}

impl Offset {
    /// The length of the text form, in bytes.
    pub const TEXT_BYTES: usize = 2 * DIGITS + 1;

    /// The start of a segment.
    pub const fn segment_start(segment: u64) -> Offset {
        Offset { segment, position: 0 }
    }

    /// The same point where segment numbers are higher by `segments`.
    pub const fn shifted(self, segments: u64) -> Offset {
        Offset { segment: self.segment + segments, position: self.position }
    }

    /// The opposite of [`Offset::shifted`].
    pub const fn shifted_back(self, segments: u64) -> Offset {
        Offset { segment: self.segment.saturating_sub(segments), position: self.position }
    }

    /// Parses the text form; `None` for any other text.
    pub fn parse(text: &str) -> Option<Offset> {
        let bytes = text.as_bytes();
        if bytes.len() != Self::TEXT_BYTES || bytes[DIGITS] != b'_' {
            return None;
        }
        Some(Offset { segment: decimal(&bytes[..DIGITS])?, position: decimal(&bytes[DIGITS + 1..])? })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}_{:016}", self.segment, self.position)
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0u64, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))
}

/// The point from which a reader requests data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadFrom {
    /// `-1` or no offset: the first retained message.
    Start,
    /// `now`: only messages appended after the request.
    Now,
    /// An offset from an earlier response.
    At(Offset),
    /// `at`: the first message written at this time or later.
    Since(Millis),
    /// `last`: so many messages before the tail.
    Last(u64),
}

impl ReadFrom {
    /// Parses the value of `offset`; `None` if it is malformed.
    pub fn parse(text: &str) -> Option<ReadFrom> {
        match text {
            "-1" => Some(ReadFrom::Start),
            "now" => Some(ReadFrom::Now),
            _ => Offset::parse(text).map(ReadFrom::At),
        }
    }
}
