//! Retention by age or size. The protocol leaves retention to the server (PROTOCOL.md 4), so `Stream-Retention`
//! is an extension.

use std::fmt;

use super::SAFE_INTEGER_MAX;
use super::lifetime::{TTL_SECONDS_MAX, whole_number};
use super::refusal::Refusal;

const BYTES: &str = "bytes=";

/// A stream's own retention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    /// Retain each segment for so long after its last message.
    Seconds { seconds: u64 },
    /// Retain the newest segments that together have at least so many bytes.
    Bytes { bytes: u64 },
}

impl Retention {
    /// Parses `Stream-Retention`, such as `86400` (seconds) or `bytes=1048576`. Refuses 0 and values above the
    /// bounds.
    pub fn parse(text: &str) -> Result<Retention, Refusal> {
        let parsed = match text.strip_prefix(BYTES) {
            Some(bytes) => {
                whole_number(bytes, SAFE_INTEGER_MAX).map(|bytes| (bytes, Retention::Bytes { bytes }))
            }
            None => {
                whole_number(text, TTL_SECONDS_MAX).map(|seconds| (seconds, Retention::Seconds { seconds }))
            }
        };
        // A stream that retains nothing would be useless.
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
