//! Entity tags (PROTOCOL.md 5.6, 10.1). A tag identifies the bytes of a response and whether it reports
//! closure.

use super::offset::Offset;

/// The tag of a range of one incarnation; `:c` marks a response that reports closure.
pub fn of_range(incarnation: u64, start: Offset, end: Offset, closed: bool) -> String {
    let closed = if closed { ":c" } else { "" };
    format!("\"{incarnation}:{start}:{end}{closed}\"")
}

/// Whether `If-None-Match` contains the tag. The header may be a list, and may use weak tags or `*` (RFC 9110,
/// 13.1.2).
pub fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag)
}
