//! What keeps browsers from running a stream's content: writers choose its bytes and its type, and the cookies of its
//! readers belong to the same origin.

use super::names::header;

/// On every response. Embedding is no access: scripts of other sites read only what CORS lets them.
pub(super) const COMMON: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    (header::RESOURCE_POLICY, "cross-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
];

/// What a browser does with content that it might run: it saves the content instead of showing it.
pub(super) const SAVED: &str = "attachment";
