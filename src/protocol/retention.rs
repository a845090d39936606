//! Retention: how much of a stream is kept, by age or by size. The protocol leaves it to the server (PROTOCOL.md 4), so the
//! header is this server's own.

use std::fmt;

use super::SAFE_INTEGER_MAX;
use super::lifetime::{TTL_SECONDS_MAX, whole_number};
use super::refusal::Refusal;

const BYTES: &str = "bytes=";

/// The retention that a stream sets for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    /// Each segment, for so long after its last message.
    Seconds { seconds: u64 },
    /// The newest segments that have so many bytes.
    Bytes { bytes: u64 },
}

impl Retention {
    /// Parses `Stream-Retention`: `86400`, or `bytes=1048576`.
    pub fn parse(text: &str) -> Result<Retention, Refusal> {
        let parsed = match text.strip_prefix(BYTES) {
            Some(bytes) => {
                whole_number(bytes, SAFE_INTEGER_MAX).map(|bytes| (bytes, Retention::Bytes { bytes }))
            }
            None => {
                whole_number(text, TTL_SECONDS_MAX).map(|seconds| (seconds, Retention::Seconds { seconds }))
            }
        };
        // What keeps nothing is no stream.
        parsed.filter(|(number, _)| *number > 0).map(|(_, retention)| retention).ok_or(
            Refusal::InvalidHeader {
                name: "Stream-Retention",
                why: "it must be seconds from 1 to 3153600000, such as 86400, or a size, such as bytes=1048576; \
                      digits only, without leading zeros",
            },
        )
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retention::Seconds { seconds } => write!(f, "{seconds}"),
            Retention::Bytes { bytes } => write!(f, "{BYTES}{bytes}"),
        }
    }
}
