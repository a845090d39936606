//! Headers that stop browsers from running a stream's content. Writers choose the bytes and the content type,
//! and the cookies of readers belong to the same origin.

use super::names::header;

/// Sent with every response. `cross-origin` permits embedding, not access: scripts of other sites read only
/// what CORS allows.
pub(super) const COMMON: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    (header::RESOURCE_POLICY, "cross-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
];

/// `Content-Disposition` for content that a browser might run: the browser saves it instead of showing it.
pub(super) const SAVED: &str = "attachment";
