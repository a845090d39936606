//! Parses requests: every check of methods, headers and query parameters that does not need the stream.

use std::borrow::Cow;

use http::Method;

use super::content_type::{self, ContentType};
use super::cursor;
use super::fork::ForkRequest;
use super::lifetime::{Lifetime, parse_since, whole_number};
use super::names::{TRUE, header, query};
use super::offset::{Offset, ReadFrom};
use super::producer::Producer;
use super::refusal::Refusal;
pub use super::request_head::RequestHead;
use super::retention::Retention;

/// The value of `Allow` at a stream's URL.
pub const STREAM_METHODS: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
/// The longest `Stream-Seq`, in bytes: each stored append has a copy of it.
pub const STREAM_SEQ_MAX_BYTES: usize = 1024;
/// The largest `last`: how many messages before the tail a read may begin.
pub const LAST_MAX: u64 = 10_000;

/// A request to one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// PUT (PROTOCOL.md 5.1).
    Create(Create<'a>),
    /// POST with a body (PROTOCOL.md 5.2).
    Append(Append<'a>),
    /// POST without a body (PROTOCOL.md 5.3).
    Close(Close),
    /// GET (PROTOCOL.md 5.6 to 5.8).
    Read(Read),
    /// HEAD (PROTOCOL.md 5.5).
    Head,
    /// DELETE (PROTOCOL.md 5.4).
    Delete,
}

/// PUT (PROTOCOL.md 5.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Create<'a> {
    /// The stream's URL, returned in `Location`.
    pub location: Cow<'a, str>,
    /// The value of `Content-Type`, if the request has one.
    pub content_type: Option<ContentType>,
    pub lifetime: Lifetime,
    /// `Stream-Retention`, if the request has it.
    pub retention: Option<Retention>,
    pub closed: bool,
    /// Whether clients without a token may read it (`Stream-Public`).
    pub public: bool,
    /// A new random secret for reader keys, used by a new stream or if `rekeys` is set.
    pub reader_key: String,
    /// Whether an existing stream replaces its secret (`Stream-Reader-Key: new`).
    pub rekeys: bool,
    /// Set if the request creates a fork.
    pub fork: Option<ForkRequest>,
    pub body: Cow<'a, [u8]>,
}

impl Create<'_> {
    /// Copies the borrowed data, so that the request can outlive its buffers.
    pub fn into_owned(self) -> Create<'static> {
        let Create { location, content_type, lifetime, retention, closed, public, .. } = self;
        let Create { reader_key, rekeys, fork, body, .. } = self;
        Create {
            location: Cow::Owned(location.into_owned()),
            body: Cow::Owned(body.into_owned()),
            content_type,
            lifetime,
            retention,
            closed,
            public,
            reader_key,
            rekeys,
            fork,
        }
    }
}

/// POST with a body (PROTOCOL.md 5.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append<'a> {
    /// `None` if the header is absent; only the stream can tell whether that is allowed.
    pub content_type: Option<String>,
    /// `Stream-Seq`.
    pub stream_seq: Option<String>,
    /// `Stream-Expected-Offset`.
    pub expected_offset: Option<Offset>,
    pub producer: Option<Producer>,
    pub closes: bool,
    /// The request's body, never empty.
    pub body: &'a [u8],
}

/// POST without a body (PROTOCOL.md 5.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Close {
    /// `Stream-Expected-Offset`.
    pub expected_offset: Option<Offset>,
    pub producer: Option<Producer>,
}

/// GET (PROTOCOL.md 5.6 to 5.8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    pub from: ReadFrom,
    pub mode: ReadMode,
    pub cursor: Option<u64>,
    pub reader_key: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
}

/// What a read does when it reaches the tail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadMode {
    /// Ends the response (PROTOCOL.md 5.6).
    CatchUp,
    /// Waits for the next message (PROTOCOL.md 5.7).
    LongPoll,
    /// Continues with server-sent events (PROTOCOL.md 5.8).
    Sse,
}

impl<'a> Command<'a> {
    /// Parses a request whose body has been received.
    pub fn parse(head: &RequestHead<'a>, body: &'a [u8]) -> Result<Command<'a>, Refusal> {
        match *head.method {
            Method::GET => parse_read(head).map(Command::Read),
            Method::HEAD => Ok(Command::Head),
            Method::PUT => parse_create(head, body).map(Command::Create),
            Method::POST => parse_post(head, body),
            Method::DELETE => Ok(Command::Delete),
            _ => Err(Refusal::MethodNotAllowed { allow: STREAM_METHODS }),
        }
    }
}

fn parse_create<'a>(head: &RequestHead<'a>, body: &'a [u8]) -> Result<Create<'a>, Refusal> {
    let content_type = (head.header)(header::CONTENT_TYPE);
    let (ttl, expires_at) = (head.text(header::STREAM_TTL)?, head.text(header::STREAM_EXPIRES_AT)?);
    check_encoding(head, body)?;
    Ok(Create {
        location: Cow::Borrowed(head.url.split(['?', '#']).next().unwrap_or(head.url)),
        content_type: content_type.as_deref().map(ContentType::parse).transpose()?,
        lifetime: Lifetime::parse(ttl.as_deref(), expires_at.as_deref())?,
        retention: head.text(header::STREAM_RETENTION)?.as_deref().map(Retention::parse).transpose()?,
        closed: flag(head, header::STREAM_CLOSED)?,
        public: flag(head, header::STREAM_PUBLIC)?,
        reader_key: (head.random)(),
        rekeys: parse_rekeys(head.text(header::STREAM_READER_KEY)?.as_deref())?,
        fork: ForkRequest::parse(head)?,
        body: Cow::Borrowed(body),
    })
}

/// All headers that affect the answer to a POST.
pub const APPEND_HEADERS: [&str; 8] = [
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::PRODUCER_ID,
    header::PRODUCER_EPOCH,
    header::PRODUCER_SEQ,
    header::STREAM_CLOSED,
    header::STREAM_EXPECTED_OFFSET,
    header::STREAM_SEQ,
];

fn parse_post<'a>(head: &RequestHead<'a>, body: &'a [u8]) -> Result<Command<'a>, Refusal> {
    let producer = Producer::parse(
        head.text(header::PRODUCER_ID)?,
        head.text(header::PRODUCER_EPOCH)?,
        head.text(header::PRODUCER_SEQ)?,
    )?;
    let closes = flag(head, header::STREAM_CLOSED)?;
    let content_type = (head.header)(header::CONTENT_TYPE);
    content_type::check_single(content_type.as_deref())?;
    let stream_seq = head.text(header::STREAM_SEQ)?;
    let expected_offset =
        head.text(header::STREAM_EXPECTED_OFFSET)?.as_deref().map(parse_expected).transpose()?;
    if body.is_empty() {
        let close = Close { expected_offset, producer };
        return if closes { Ok(Command::Close(close)) } else { Err(Refusal::EmptyBody) };
    }
    check_encoding(head, body)?;
    if stream_seq.as_ref().is_some_and(|seq| seq.is_empty() || seq.len() > STREAM_SEQ_MAX_BYTES) {
        return Err(Refusal::InvalidHeader { name: "Stream-Seq", why: "it must have 1 to 1,024 bytes" });
    }
    Ok(Command::Append(Append { content_type, stream_seq, expected_offset, producer, closes, body }))
}

fn parse_expected(text: &str) -> Result<Offset, Refusal> {
    Offset::parse(text).ok_or(Refusal::InvalidHeader {
        name: "Stream-Expected-Offset",
        why: "it must be the Stream-Next-Offset of a response",
    })
}

fn parse_read(head: &RequestHead<'_>) -> Result<Read, Refusal> {
    let found = Query::parse(head.url)?;
    let named = found.named_start()?;
    let Query { offset, live, cursor, reader_key, last_event_id, .. } = found;
    let mode = match live.as_deref() {
        None => ReadMode::CatchUp,
        Some("long-poll") => ReadMode::LongPoll,
        Some("sse") => ReadMode::Sse,
        Some(_) => {
            return Err(Refusal::InvalidQuery { name: query::LIVE, why: "it must be long-poll or sse" });
        }
    };
    let malformed = "it must be -1, now, or an offset that a response gave";
    let mut from = match (offset.as_deref(), named) {
        (None, Some(named)) => named,
        (None, None) if mode == ReadMode::CatchUp => ReadFrom::Start,
        (None, None) => {
            return Err(Refusal::InvalidQuery { name: query::OFFSET, why: "live reads must have it" });
        }
        (Some(text), _) => {
            ReadFrom::parse(text).ok_or(Refusal::InvalidQuery { name: query::OFFSET, why: malformed })?
        }
    };
    // An `EventSource` always reconnects to its first URL. The header, or a polyfill's parameter, carries the
    // current offset.
    if mode == ReadMode::Sse {
        let given = |id: &String| !id.is_empty();
        if let Some(id) = head.text(header::LAST_EVENT_ID)?.filter(given) {
            from = ReadFrom::parse(&id)
                .ok_or(Refusal::InvalidHeader { name: "Last-Event-ID", why: malformed })?;
        } else if let Some(id) = last_event_id.filter(given) {
            from = ReadFrom::parse(&id)
                .ok_or(Refusal::InvalidQuery { name: query::LAST_EVENT_ID, why: malformed })?;
        }
    }
    Ok(Read {
        from,
        mode,
        cursor: cursor.as_deref().and_then(cursor::parse),
        reader_key,
        // A tag that the platform cannot decode matches nothing, so it needs no check.
        if_none_match: (head.header)(header::IF_NONE_MATCH),
    })
}

/// Parses `Stream-Reader-Key`: whether a PUT replaces the secret.
fn parse_rekeys(value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("new") => Ok(true),
        Some(_) => Err(Refusal::InvalidHeader {
            name: "Stream-Reader-Key",
            why: "its only value is new, which replaces the key by one that the server chooses",
        }),
    }
}

fn flag(head: &RequestHead<'_>, name: &'static str) -> Result<bool, Refusal> {
    Ok(head.text(name)?.is_some_and(|value| value.eq_ignore_ascii_case(TRUE)))
}

/// Refuses compressed bodies: the stream would store the compressed bytes as its content.
fn check_encoding(head: &RequestHead<'_>, body: &[u8]) -> Result<(), Refusal> {
    let is_identity = |codings: &str| {
        codings
            .split(',')
            .map(str::trim)
            .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
    };
    match (head.header)(header::CONTENT_ENCODING) {
        Some(codings) if !body.is_empty() && !is_identity(&codings) => Err(Refusal::EncodedBody),
        Some(_) | None => Ok(()),
    }
}

const ONE_START: &str = "send only one of offset, at and last";

/// The query parameters that the server knows; it ignores all others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// `offset`.
    pub offset: Option<String>,
    /// `live`.
    pub live: Option<String>,
    /// `cursor`.
    pub cursor: Option<String>,
    /// `token`.
    pub token: Option<String>,
    /// `rk`.
    pub reader_key: Option<String>,
    /// `lastEventId`.
    pub last_event_id: Option<String>,
    /// `at`.
    pub at: Option<String>,
    /// `last`.
    pub last: Option<String>,
}

impl Query {
    /// The start that `at` or `last` names. Refuses two of `offset`, `at` and `last`.
    fn named_start(&self) -> Result<Option<ReadFrom>, Refusal> {
        let Query { offset, at, last, .. } = self;
        let refused = |name, why| Err(Refusal::InvalidQuery { name, why });
        match (at, last) {
            (None, None) => Ok(None),
            (Some(_), _) if offset.is_some() || last.is_some() => refused(query::AT, ONE_START),
            (_, Some(_)) if offset.is_some() => refused(query::LAST, ONE_START),
            (Some(at), _) => match parse_since(at) {
                Some(since) => Ok(Some(ReadFrom::Since(since))),
                None => refused(
                    query::AT,
                    "it must be an RFC 3339 time such as 2030-01-31T12:00:00Z, with %2B for +",
                ),
            },
            (None, Some(last)) => match whole_number(last, LAST_MAX) {
                Some(count) if count > 0 => Ok(Some(ReadFrom::Last(count))),
                _ => refused(
                    query::LAST,
                    "it must be a whole number from 1 to 10000, digits only, without leading zeros",
                ),
            },
        }
    }

    /// Whether any of these is a parameter of a read.
    pub fn reads(&self) -> bool {
        *self != Query::default()
    }

    /// Whether the read begins where `at` or `last` says.
    pub fn seeks(&self) -> bool {
        self.at.is_some() || self.last.is_some()
    }

    /// Parses a URL's query; refuses a repeated parameter.
    pub fn parse(url: &str) -> Result<Query, Refusal> {
        let mut found = Query::default();
        for (name, value) in form_urlencoded::parse(query_of(url).as_bytes()) {
            let (slot, name) = match &*name {
                query::OFFSET => (&mut found.offset, query::OFFSET),
                query::LIVE => (&mut found.live, query::LIVE),
                query::CURSOR => (&mut found.cursor, query::CURSOR),
                query::TOKEN => (&mut found.token, query::TOKEN),
                query::READER_KEY => (&mut found.reader_key, query::READER_KEY),
                query::LAST_EVENT_ID => (&mut found.last_event_id, query::LAST_EVENT_ID),
                query::AT => (&mut found.at, query::AT),
                query::LAST => (&mut found.last, query::LAST),
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(Refusal::InvalidQuery { name, why: "it must be given once" });
            }
        }
        Ok(found)
    }
}

/// The query of a URL, without its `?`.
pub(super) fn query_of(url: &str) -> &str {
    let url = url.split('#').next().unwrap_or_default();
    url.split_once('?').map_or("", |(_, query)| query)
}
