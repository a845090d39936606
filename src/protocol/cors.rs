//! What browsers are told of the scripts of other sites, where those may ask.

/// What scripts of other sites see.
pub const EXPOSED: &str = "stream-next-offset, stream-cursor, stream-up-to-date, stream-closed, stream-public, stream-ttl, \
     stream-expires-at, stream-retention, stream-sse-data-encoding, producer-epoch, producer-seq, producer-expected-seq, \
     producer-received-seq, stream-reader-key, x-cache, etag, location, retry-after, allow, www-authenticate";

/// What a browser's preflight is told besides.
pub(super) const PREFLIGHT: [(&str, &str); 3] = [
    ("access-control-allow-methods", "GET, HEAD, PUT, POST, DELETE, OPTIONS"),
    (
        "access-control-allow-headers",
        "authorization, content-type, if-none-match, last-event-id, stream-seq, stream-expected-offset, stream-ttl, \
         stream-expires-at, stream-retention, stream-closed, stream-public, stream-reader-key, stream-forked-from, stream-fork-offset, \
         stream-fork-sub-offset, producer-id, \
         producer-epoch, producer-seq",
    ),
    // The longest that browsers honour (Chromium: two hours).
    ("access-control-max-age", "7200"),
];
