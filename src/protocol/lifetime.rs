//! A stream's lifetime: unlimited, a sliding TTL, or a fixed expiry (PROTOCOL.md 5.1).

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::Millis;
use super::refusal::Refusal;

/// The longest TTL, in seconds: 100 * 365 * 24 * 60 * 60. It bounds every instant far below 2^53 milliseconds.
pub const TTL_SECONDS_MAX: u64 = 3_153_600_000;

/// When the server ends a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Lifetime {
    Unlimited,
    /// Expires after so many seconds without a read or write.
    Ttl {
        seconds: u64,
    },
    ExpiresAt {
        /// Milliseconds since the Unix epoch.
        at: Millis,
    },
}

impl Lifetime {
    /// Parses `Stream-TTL` and `Stream-Expires-At`; refuses both at once.
    pub fn parse(ttl: Option<&str>, expires_at: Option<&str>) -> Result<Lifetime, Refusal> {
        match (ttl, expires_at) {
            (None, None) => Ok(Lifetime::Unlimited),
            (Some(_), Some(_)) => Err(Refusal::InvalidHeader {
                name: "Stream-TTL",
                why: "send it or Stream-Expires-At, not both",
            }),
            (Some(ttl), None) => whole_number(ttl, TTL_SECONDS_MAX)
                .map(|seconds| Lifetime::Ttl { seconds })
                .ok_or(Refusal::InvalidHeader {
                    name: "Stream-TTL",
                    why: "it must be whole seconds up to 3153600000, digits only, without leading zeros",
                }),
            (None, Some(text)) => instant(text).map(|at| Lifetime::ExpiresAt { at }),
        }
    }

    /// Refuses an expiry in the past.
    pub fn check(self, now: Millis) -> Result<(), Refusal> {
        match self {
            Lifetime::ExpiresAt { at } if at <= now => Err(PAST),
            Lifetime::Unlimited | Lifetime::Ttl { .. } | Lifetime::ExpiresAt { .. } => Ok(()),
        }
    }
}

const PAST: Refusal =
    Refusal::InvalidHeader { name: "Stream-Expires-At", why: "it is in the past: use a time to come" };

/// Formats an instant as RFC 3339, in UTC.
pub fn rfc3339(at: Millis) -> String {
    i64::try_from(at)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .unwrap_or_default()
}

/// Parses decimal digits without leading zeros; `None` above `max`.
pub(super) fn whole_number(text: &str, max: u64) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|_| canonical && digits)?;
    (value <= max).then_some(value)
}

fn instant(text: &str) -> Result<Millis, Refusal> {
    let malformed = Refusal::InvalidHeader {
        name: "Stream-Expires-At",
        why: "it must be an RFC 3339 time such as 2030-01-31T12:00:00Z",
    };
    // RFC 3339 has no years before 0, but some clients' clocks do. They write such years with four or six
    // digits.
    let (text, is_before_year_zero) = match text.strip_prefix('-') {
        Some(rest) => (rest.get(rest.find('-').map_or(0, |digits| digits.saturating_sub(4))..), true),
        None => (Some(text), false),
    };
    let time = text.and_then(|text| DateTime::parse_from_rfc3339(text).ok()).ok_or(malformed)?;
    // `Millis` cannot represent a time before 1970.
    Millis::try_from(time.timestamp_millis()).ok().filter(|_| !is_before_year_zero).ok_or(PAST)
}

/// The first millisecond at or after an RFC 3339 time, to search for messages; `None` if it is malformed. No message is
/// older than 1970.
pub(super) fn parse_since(text: &str) -> Option<Millis> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let is_after_millisecond = time.timestamp_subsec_nanos() % NANOS_PER_MILLI > 0;
    Some(Millis::try_from(time.timestamp_millis() + i64::from(is_after_millisecond)).unwrap_or_default())
}

const NANOS_PER_MILLI: u32 = 1_000_000;
