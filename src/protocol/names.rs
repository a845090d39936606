//! Every header, query and SSE field name, once. Header names are lower case, as HTTP/2 sends them.

/// The names of request and response headers.
pub mod header {
    /// The stream's media type (PROTOCOL.md 9).
    pub const CONTENT_TYPE: &str = "content-type";
    /// How a body is compressed.
    pub const CONTENT_ENCODING: &str = "content-encoding";
    /// How a body may be compressed, on 415.
    pub const ACCEPT_ENCODING: &str = "accept-encoding";
    /// Has a browser save a response instead of showing it.
    pub const CONTENT_DISPOSITION: &str = "content-disposition";
    /// How long caches may keep a response (PROTOCOL.md 10).
    pub const CACHE_CONTROL: &str = "cache-control";
    /// `no` has nginx pass each event on at once.
    pub const X_ACCEL_BUFFERING: &str = "x-accel-buffering";
    /// Entity tag of a read (PROTOCOL.md 10.1).
    pub const ETAG: &str = "etag";
    /// The reader's copy of an [`ETAG`].
    pub const IF_NONE_MATCH: &str = "if-none-match";
    /// The URL of a created stream (PROTOCOL.md 5.1).
    pub const LOCATION: &str = "location";
    /// The methods a URL has, on 405.
    pub const ALLOW: &str = "allow";
    /// How long a body says it is.
    pub const CONTENT_LENGTH: &str = "content-length";
    /// Asks the object for a socket.
    pub const UPGRADE: &str = "upgrade";
    /// Seconds to wait, on 429 and 503.
    pub const RETRY_AFTER: &str = "retry-after";
    /// Who asks (RFC 6750).
    pub const AUTHORIZATION: &str = "authorization";
    /// How to say who asks, on 401 and 403.
    pub const WWW_AUTHENTICATE: &str = "www-authenticate";
    /// What a browser sends by itself.
    pub const COOKIE: &str = "cookie";
    /// The site whose script asks.
    pub const ORIGIN: &str = "origin";
    /// Which request headers a cached response depends on.
    pub const VARY: &str = "vary";
    /// The request headers that a browser's preflight asks for.
    pub const REQUEST_HEADERS: &str = "access-control-request-headers";
    /// The request headers that a preflight allows.
    pub const ALLOW_HEADERS: &str = "access-control-allow-headers";
    /// The site whose scripts may read a response.
    pub const ALLOW_ORIGIN: &str = "access-control-allow-origin";
    /// The response headers that such a script sees.
    pub const EXPOSE_HEADERS: &str = "access-control-expose-headers";
    /// Whether it may ask with cookies.
    pub const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
    /// Which sites may embed a response.
    pub const RESOURCE_POLICY: &str = "cross-origin-resource-policy";
    /// The name that the client asks, of which the platform makes the URL.
    pub const HOST: &str = "host";
    /// Where a request came from, as Cloudflare's network saw it.
    pub const CONNECTING_IP: &str = "cf-connecting-ip";
    /// What Cloudflare's network numbers each request with; nobody else can leave it out.
    pub const RAY: &str = "cf-ray";
    /// What an `EventSource` sends when it reconnects: the last `id:` it saw.
    pub const LAST_EVENT_ID: &str = "last-event-id";

    /// The tail after a write; where to read on after a read.
    pub const STREAM_NEXT_OFFSET: &str = "stream-next-offset";
    /// Echoed by live readers so that caches can collapse them (PROTOCOL.md 10.1).
    pub const STREAM_CURSOR: &str = "stream-cursor";
    /// `true` when a read reached the tail.
    pub const STREAM_UP_TO_DATE: &str = "stream-up-to-date";
    /// `true` to close, and on everything that shows a closed stream's end (PROTOCOL.md 4.1).
    pub const STREAM_CLOSED: &str = "stream-closed";
    /// The writer's own sequence, compared byte by byte (PROTOCOL.md 5.2).
    pub const STREAM_SEQ: &str = "stream-seq";
    /// The tail that an append or a close expects, compared before anything is stored (this server's own, on its way
    /// into the protocol).
    pub const STREAM_EXPECTED_OFFSET: &str = "stream-expected-offset";
    /// Sliding time to live, in seconds (PROTOCOL.md 5.1).
    pub const STREAM_TTL: &str = "stream-ttl";
    /// Absolute expiry, RFC 3339 (PROTOCOL.md 5.1).
    pub const STREAM_EXPIRES_AT: &str = "stream-expires-at";
    /// How much of the stream is kept; this server's own.
    pub const STREAM_RETENTION: &str = "stream-retention";
    /// `base64` on SSE responses of binary streams (PROTOCOL.md 5.8).
    pub const STREAM_SSE_DATA_ENCODING: &str = "stream-sse-data-encoding";
    /// `true` to let everybody read (this server's own).
    pub const STREAM_PUBLIC: &str = "stream-public";
    /// The key under which caches may keep what is read of a private stream; `new` in a PUT makes another (this
    /// server's own).
    pub const STREAM_READER_KEY: &str = "stream-reader-key";
    /// Whether the answer came from a cache of the edge (this server's own).
    pub const X_CACHE: &str = "x-cache";
    /// The edge's mark on a request of somebody who may read public streams only. It can only take away, so it does no
    /// harm that a client can send it, too.
    pub const STREAM_STRANGER: &str = "stream-stranger";
    /// The source of a fork (PROTOCOL.md 4.2).
    pub const STREAM_FORKED_FROM: &str = "stream-forked-from";
    /// Where a fork leaves its source (PROTOCOL.md 4.2).
    pub const STREAM_FORK_OFFSET: &str = "stream-fork-offset";
    /// A refinement of [`STREAM_FORK_OFFSET`] (PROTOCOL.md 4.2).
    pub const STREAM_FORK_SUB_OFFSET: &str = "stream-fork-sub-offset";

    /// Who appends (PROTOCOL.md 5.2.1).
    pub const PRODUCER_ID: &str = "producer-id";
    /// Which life of the producer.
    pub const PRODUCER_EPOCH: &str = "producer-epoch";
    /// Which request of that life.
    pub const PRODUCER_SEQ: &str = "producer-seq";
    /// What a gap should have been, on 409.
    pub const PRODUCER_EXPECTED_SEQ: &str = "producer-expected-seq";
    /// What it was, on 409.
    pub const PRODUCER_RECEIVED_SEQ: &str = "producer-received-seq";

    /// A name as people write it, for messages.
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
    /// Where to read from.
    pub const OFFSET: &str = "offset";
    /// `long-poll` or `sse`.
    pub const LIVE: &str = "live";
    /// The echoed `Stream-Cursor`; of the administrator, that of the last page.
    pub const CURSOR: &str = "cursor";
    /// Who asks, for an `EventSource`, which cannot send headers.
    pub const TOKEN: &str = "token";
    /// The stream's reader key, with which caches may keep what is read of a private stream.
    pub const READER_KEY: &str = "rk";
    /// The last `id:` it saw, from a client that cannot send the header.
    pub const LAST_EVENT_ID: &str = "lastEventId";
    /// Whether orphans are deleted.
    pub const DELETE: &str = "delete";
    /// How the paths begin that are listed.
    pub const PREFIX: &str = "prefix";
    /// Where the last page of a listing ended.
    pub const AFTER: &str = "after";
    /// How many streams a page of a listing has.
    pub const LIMIT: &str = "limit";
}

/// The cookie that has a token, for an `EventSource` with credentials.
pub const TOKEN_COOKIE: &str = "stream-token";

/// The value that every flag header has.
pub const TRUE: &str = "true";

/// What the path of a stream's URL begins with, in each of its forms. An object sees the first form only.
pub const STREAM_PREFIXES: [&str; 3] = [STREAM_PREFIX, "/v1/streams/", "/streams/"];
/// The first form, `/v1/stream/<path>`.
pub const STREAM_PREFIX: &str = "/v1/stream/";
/// Where the administrator asks for orphans.
pub const ORPHANS_PATH: &str = "/v1/admin/orphans";
/// Where streams are listed.
pub const LISTING_PATH: &str = "/v1/streams";
/// The first segment of what belongs to the protocol itself (PROTOCOL.md 6), and the second one in a project.
pub const PROTOCOL_SEGMENT: &str = "__ds";
/// The last segment of a registry's path, and what has no project its only one.
pub const REGISTRY_SEGMENT: &str = "__registry__";
/// First segments that no application stream may have, and no project.
pub const RESERVED_SEGMENTS: [&str; 2] = [PROTOCOL_SEGMENT, REGISTRY_SEGMENT];
