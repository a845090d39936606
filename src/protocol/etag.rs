//! Entity tags: which bytes a response has, and whether it says that the stream is closed (PROTOCOL.md 5.6, 10.1).

use super::offset::Offset;

/// The tag of a range of one incarnation, with `:c` where the response says that the stream is closed.
pub fn of_range(incarnation: u64, start: Offset, end: Offset, closed: bool) -> String {
    let closed = if closed { ":c" } else { "" };
    format!("\"{incarnation}:{start}:{end}{closed}\"")
}

/// Whether an `If-None-Match` header names the tag: a list, weak tags and `*` are legal (RFC 9110, 13.1.2).
pub fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag)
}
