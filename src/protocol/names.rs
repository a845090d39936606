//! The names of all headers, query parameters and reserved paths, each once. Header names are in lower case, as
//! HTTP/2 sends them.

/// The names of request and response headers.
pub mod header {
    /// The stream's media type (PROTOCOL.md 9).
    pub const CONTENT_TYPE: &str = "content-type";
    /// The compression of a body.
    pub const CONTENT_ENCODING: &str = "content-encoding";
    /// Accepted encodings, on 415.
    pub const ACCEPT_ENCODING: &str = "accept-encoding";
    /// Makes a browser save a response instead of showing it.
    pub const CONTENT_DISPOSITION: &str = "content-disposition";
    /// Caching rules of a response (PROTOCOL.md 10).
    pub const CACHE_CONTROL: &str = "cache-control";
    /// `no` makes nginx forward each event at once.
    pub const X_ACCEL_BUFFERING: &str = "x-accel-buffering";
    /// Entity tag of a read (PROTOCOL.md 10.1).
    pub const ETAG: &str = "etag";
    /// The [`ETAG`] of the reader's copy.
    pub const IF_NONE_MATCH: &str = "if-none-match";
    /// The URL of a created stream (PROTOCOL.md 5.1).
    pub const LOCATION: &str = "location";
    /// Allowed methods, on 405.
    pub const ALLOW: &str = "allow";
    /// The declared length of a body, in bytes.
    pub const CONTENT_LENGTH: &str = "content-length";
    /// Requests a socket from the object.
    pub const UPGRADE: &str = "upgrade";
    /// Seconds to wait, on 429 and 503.
    pub const RETRY_AFTER: &str = "retry-after";
    /// The bearer token (RFC 6750).
    pub const AUTHORIZATION: &str = "authorization";
    /// The authentication challenge, on 401 and 403.
    pub const WWW_AUTHENTICATE: &str = "www-authenticate";
    /// Cookies, which browsers attach to requests by themselves.
    pub const COOKIE: &str = "cookie";
    /// The site whose script sent the request.
    pub const ORIGIN: &str = "origin";
    /// The request headers that a cached response depends on.
    pub const VARY: &str = "vary";
    /// The request headers that a preflight requests.
    pub const REQUEST_HEADERS: &str = "access-control-request-headers";
    /// The request headers that a preflight allows.
    pub const ALLOW_HEADERS: &str = "access-control-allow-headers";
    /// The site whose scripts may read a response.
    pub const ALLOW_ORIGIN: &str = "access-control-allow-origin";
    /// The response headers that such scripts may read.
    pub const EXPOSE_HEADERS: &str = "access-control-expose-headers";
    /// Whether such scripts may send cookies.
    pub const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
    /// The sites that may embed a response.
    pub const RESOURCE_POLICY: &str = "cross-origin-resource-policy";
    /// The host in the client's request; the platform builds the URL from it.
    pub const HOST: &str = "host";
    /// The client's address, as seen by Cloudflare's network.
    pub const CONNECTING_IP: &str = "cf-connecting-ip";
    /// The identifier that Cloudflare's network adds to each request; a client cannot remove it.
    pub const RAY: &str = "cf-ray";
    /// The last `id:` that a reconnecting `EventSource` saw.
    pub const LAST_EVENT_ID: &str = "last-event-id";

    /// The tail after a write, or the offset at which to continue after a read.
    pub const STREAM_NEXT_OFFSET: &str = "stream-next-offset";
    /// The cursor that live readers echo, so that caches can collapse them (PROTOCOL.md 10.1).
    pub const STREAM_CURSOR: &str = "stream-cursor";
    /// `true` when a read reached the tail.
    pub const STREAM_UP_TO_DATE: &str = "stream-up-to-date";
    /// `true` in a request closes the stream; `true` in a response reports its closed end (PROTOCOL.md 4.1).
    pub const STREAM_CLOSED: &str = "stream-closed";
    /// The writer's own sequence, compared byte by byte (PROTOCOL.md 5.2).
    pub const STREAM_SEQ: &str = "stream-seq";
    /// The tail that an append or a close expects, compared before the write (an extension, proposed for the
    /// protocol).
    pub const STREAM_EXPECTED_OFFSET: &str = "stream-expected-offset";
    /// Sliding time to live, in seconds (PROTOCOL.md 5.1).
    pub const STREAM_TTL: &str = "stream-ttl";
    /// Absolute expiry, RFC 3339 (PROTOCOL.md 5.1).
    pub const STREAM_EXPIRES_AT: &str = "stream-expires-at";
    /// The retention of the stream (an extension).
    pub const STREAM_RETENTION: &str = "stream-retention";
    /// `base64` on SSE responses of binary streams (PROTOCOL.md 5.8).
    pub const STREAM_SSE_DATA_ENCODING: &str = "stream-sse-data-encoding";
    /// `true` allows reads without a token (an extension).
    pub const STREAM_PUBLIC: &str = "stream-public";
    /// The key that lets caches store reads of a private stream; `new` in a PUT replaces it (an extension).
    pub const STREAM_READER_KEY: &str = "stream-reader-key";
    /// Whether a cache of the Worker answered (an extension).
    pub const X_CACHE: &str = "x-cache";
    /// The Worker's mark on requests that may read public streams only. It only removes access, so a client
    /// that sends it gains nothing.
    pub const STREAM_STRANGER: &str = "stream-stranger";
    /// The source of a fork (PROTOCOL.md 4.2).
    pub const STREAM_FORKED_FROM: &str = "stream-forked-from";
    /// The offset at which a fork leaves its source (PROTOCOL.md 4.2).
    pub const STREAM_FORK_OFFSET: &str = "stream-fork-offset";
    /// A refinement of [`STREAM_FORK_OFFSET`] (PROTOCOL.md 4.2).
    pub const STREAM_FORK_SUB_OFFSET: &str = "stream-fork-sub-offset";

    /// The producer's id (PROTOCOL.md 5.2.1).
    pub const PRODUCER_ID: &str = "producer-id";
    /// The producer's epoch (PROTOCOL.md 5.2.1).
    pub const PRODUCER_EPOCH: &str = "producer-epoch";
    /// The request's number within the epoch (PROTOCOL.md 5.2.1).
    pub const PRODUCER_SEQ: &str = "producer-seq";
    /// The sequence that the server expected, on 409.
    pub const PRODUCER_EXPECTED_SEQ: &str = "producer-expected-seq";
    /// The sequence that the server received, on 409.
    pub const PRODUCER_RECEIVED_SEQ: &str = "producer-received-seq";

    /// The conventional spelling of a header's name, for messages.
    pub fn capitalized(name: &'static str) -> &'static str {
        match name {
            PRODUCER_ID => "Producer-Id",
            PRODUCER_EPOCH => "Producer-Epoch",
            PRODUCER_SEQ => "Producer-Seq",
            STREAM_SEQ => "Stream-Seq",
            STREAM_EXPECTED_OFFSET => "Stream-Expected-Offset",
            STREAM_CLOSED => "Stream-Closed",
            STREAM_TTL => "Stream-TTL",
            STREAM_EXPIRES_AT => "Stream-Expires-At",
            STREAM_RETENTION => "Stream-Retention",
            STREAM_PUBLIC => "Stream-Public",
            STREAM_READER_KEY => "Stream-Reader-Key",
            STREAM_FORKED_FROM => "Stream-Forked-From",
            STREAM_FORK_OFFSET => "Stream-Fork-Offset",
            STREAM_FORK_SUB_OFFSET => "Stream-Fork-Sub-Offset",
            LAST_EVENT_ID => "Last-Event-ID",
            _ => name,
        }
    }
}

/// The names of query parameters.
pub mod query {
    /// The offset from which to read.
    pub const OFFSET: &str = "offset";
    /// `long-poll` or `sse`.
    pub const LIVE: &str = "live";
    /// The echoed `Stream-Cursor`; in the listing of orphans, the cursor of the previous page.
    pub const CURSOR: &str = "cursor";
    /// The token of an `EventSource`, which cannot send headers.
    pub const TOKEN: &str = "token";
    /// The stream's reader key, which lets caches store reads of a private stream.
    pub const READER_KEY: &str = "rk";
    /// The last `id:` that the client saw, for clients that cannot send the header.
    pub const LAST_EVENT_ID: &str = "lastEventId";
    /// Whether to delete orphans.
    pub const DELETE: &str = "delete";
    /// The prefix of the paths to list.
    pub const PREFIX: &str = "prefix";
    /// The last path of the previous page.
    pub const AFTER: &str = "after";
    /// The most streams on a page.
    pub const LIMIT: &str = "limit";
}

/// The cookie that carries a token, for an `EventSource` with credentials.
pub const TOKEN_COOKIE: &str = "stream-token";

/// The value of a flag header that is set.
pub const TRUE: &str = "true";

/// The prefixes of a stream's URL, in each of its forms. Objects receive the first form only.
pub const STREAM_PREFIXES: [&str; 3] = [STREAM_PREFIX, "/v1/streams/", "/streams/"];
/// The first form, `/v1/stream/<path>`.
pub const STREAM_PREFIX: &str = "/v1/stream/";
/// The administrator's list of orphans.
pub const ORPHANS_PATH: &str = "/v1/admin/orphans";
/// The listing of streams.
pub const LISTING_PATH: &str = "/v1/streams";
/// The console for developers, and the prefix of its files.
pub const CONSOLE_PATH: &str = "/console";
/// The first segment of the protocol's own paths (PROTOCOL.md 6), and the second one within a project.
pub const PROTOCOL_SEGMENT: &str = "__ds";
/// What the control API of subscriptions has below [`PROTOCOL_SEGMENT`] (PROTOCOL.md 6 and 7).
pub mod control {
    pub const SUBSCRIPTIONS: &str = "subscriptions";
    pub const KEYS: &str = "jwks.json";
    pub const STREAMS: &str = "streams";
    pub const CALLBACK: &str = "callback";
    pub const CLAIM: &str = "claim";
    pub const ACK: &str = "ack";
    pub const RELEASE: &str = "release";
    /// Ends the parking of a webhook (an extension).
    pub const RESUME: &str = "resume";
}

/// The last segment of a registry's path. In the registry of all streams it is the only segment.
pub const REGISTRY_SEGMENT: &str = "__registry__";
/// The first segments that neither an application's stream nor a project may have.
pub const RESERVED_SEGMENTS: [&str; 2] = [PROTOCOL_SEGMENT, REGISTRY_SEGMENT];
