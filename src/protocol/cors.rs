//! CORS headers: the request headers that scripts of other sites may send, and the response headers that they
//! may read.

use super::content_type::is_token;
use super::names::header;

/// The response headers that scripts of other sites may read. One constant, because every public read sends it.
pub const EXPOSED: &str = "stream-next-offset, stream-start-offset, stream-cursor, stream-up-to-date, stream-closed, stream-public, stream-ttl, \
     stream-expires-at, stream-retention, stream-sse-data-encoding, producer-epoch, producer-seq, producer-expected-seq, \
     producer-received-seq, stream-reader-key, x-cache, etag, location, retry-after, allow, accept-encoding, \
     www-authenticate";

/// The other headers of a preflight's answer.
pub(super) const PREFLIGHT: [(&str, &str); 3] = [
    ("access-control-allow-methods", "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"),
    // The longest time that any browser honours (Chromium: two hours).
    ("access-control-max-age", "7200"),
    (header::VARY, header::REQUEST_HEADERS),
];

/// The request headers that every preflight allows: the protocol's, and those that tracing and HTTP libraries
/// add. `*` would exclude `Authorization`, and is a literal name in requests with credentials.
pub const ALLOWED: [&str; 26] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_NONE_MATCH,
    header::LAST_EVENT_ID,
    header::STREAM_SEQ,
    header::STREAM_EXPECTED_OFFSET,
    header::STREAM_TTL,
    header::STREAM_EXPIRES_AT,
    header::STREAM_RETENTION,
    header::STREAM_CLOSED,
    header::STREAM_PUBLIC,
    header::STREAM_READER_KEY,
    header::STREAM_FORKED_FROM,
    header::STREAM_FORK_OFFSET,
    header::STREAM_FORK_SUB_OFFSET,
    header::STREAM_FORK_AT,
    header::PRODUCER_ID,
    header::PRODUCER_EPOCH,
    header::PRODUCER_SEQ,
    header::CACHE_CONTROL,
    "pragma",
    "x-requested-with",
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
];

/// The longest `Access-Control-Request-Headers`, in bytes. A longer list is ignored.
pub const REQUESTED_MAX_BYTES: usize = 2048;

/// The value of `Access-Control-Allow-Headers`: [`ALLOWED`], and the requested names that are valid.
pub(super) fn allowed_headers(requested: Option<&str>) -> String {
    let mut allowed = ALLOWED.join(", ");
    let requested = requested.filter(|list| list.len() <= REQUESTED_MAX_BYTES).unwrap_or_default();
    let is_new =
        |name: &&str| is_token(name) && !ALLOWED.iter().any(|known| known.eq_ignore_ascii_case(name));
    for name in requested.split(',').map(str::trim).filter(is_new) {
        allowed.push_str(", ");
        allowed.push_str(name);
    }
    allowed
}
