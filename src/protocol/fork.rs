//! Forks (PROTOCOL.md 4.2): the headers of a PUT, and the calls between a fork, its source and the owners of
//! its data.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::fork_refusal::ForkRefusal;
use super::lifetime::{Lifetime, parse_since, whole_number};
use super::names::header;
use super::offset::Offset;
use super::path::StreamPath;
use super::refusal::Refusal;
use super::request_head::{RequestHead, check_plain};
use super::sse::Mark;

/// The most streams from which a fork may inherit: its source, the source's source, and so on. Every descendant
/// stores the list.
pub const OWNERS_MAX: usize = 256;

/// The largest sub-offset: the most messages or bytes in one append.
const SUB_OFFSET_MAX: u64 = 16 << 20;

/// How long after the fork's intent a source may grant a reference, in milliseconds. A later reference is
/// refused.
pub const REFERENCE_VALID: Millis = 30_000;

/// The fork that a PUT requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForkRequest {
    pub source: StreamPath,
    /// `Stream-Fork-Offset`; the tail if absent.
    pub offset: Option<Offset>,
    /// `Stream-Fork-At`, instead of an offset: the fork begins before the first message written then or later.
    pub at: Option<Millis>,
    /// `Stream-Fork-Sub-Offset`: messages (JSON) or bytes after `offset`.
    pub sub_offset: u64,
    /// The link's unique name; no two links ever share one.
    pub link: String,
}

impl ForkRequest {
    /// Parses the fork headers; `None` if the PUT requests no fork. Refuses malformed or orphaned
    /// headers.
    pub fn parse(head: &RequestHead<'_>) -> Result<Option<ForkRequest>, Refusal> {
        let source = (head.header)(header::STREAM_FORKED_FROM);
        let offset = head.text(header::STREAM_FORK_OFFSET)?;
        let sub_offset = head.text(header::STREAM_FORK_SUB_OFFSET)?;
        let at = head.text(header::STREAM_FORK_AT)?;
        let refused = |name, why| Err(Refusal::InvalidHeader { name, why });
        let Some(source) = source else {
            let needs = "it needs Stream-Forked-From";
            return match (offset, sub_offset, at) {
                (None, None, None) => Ok(None),
                (Some(_), _, _) => refused("Stream-Fork-Offset", needs),
                (None, Some(_), _) => refused("Stream-Fork-Sub-Offset", needs),
                (None, None, Some(_)) => refused("Stream-Fork-At", needs),
            };
        };
        if at.is_some() && (offset.is_some() || sub_offset.is_some()) {
            return refused(
                "Stream-Fork-At",
                "send it instead of Stream-Fork-Offset and Stream-Fork-Sub-Offset",
            );
        }
        let at = at.map(|text| parse_since(&text).ok_or(NOT_A_TIME)).transpose()?;
        let malformed = "it must be an offset that a response of the source gave";
        let offset = offset
            .map(|text| {
                Offset::parse(&text)
                    .ok_or(Refusal::InvalidHeader { name: "Stream-Fork-Offset", why: malformed })
            })
            .transpose()?;
        let sub_offset = sub_offset.map_or(Ok(0), |text| {
            whole_number(&text, SUB_OFFSET_MAX).ok_or(Refusal::InvalidHeader {
                name: "Stream-Fork-Sub-Offset",
                why: "it must be a whole number up to 16777216, digits only, without leading zeros",
            })
        })?;
        Ok(Some(ForkRequest { source: source_path(&source)?, offset, at, sub_offset, link: (head.random)() }))
    }
}

const NOT_A_TIME: Refusal = Refusal::InvalidHeader {
    name: "Stream-Fork-At",
    why: "it must be an RFC 3339 time such as 2030-01-31T12:00:00Z",
};

/// Parses `Stream-Forked-From`: the path of a stream's URL.
pub fn source_path(text: &str) -> Result<StreamPath, Refusal> {
    check_plain(header::STREAM_FORKED_FROM, text)?;
    let refused = |why| Refusal::InvalidHeader { name: "Stream-Forked-From", why };
    let raw = StreamPath::in_url(text)
        .ok_or(refused("it must be the path of a stream's URL, such as /v1/stream/my-stream"))?;
    let path = StreamPath::parse(raw).map_err(|_| refused("no stream can have this path"))?;
    if path.is_reserved() { Err(refused("streams of the server itself have no forks")) } else { Ok(path) }
}

/// Asks a source to retain its data as long as the fork exists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// The link's name. A source that already stores it does not store it again.
    #[serde(rename = "edge")]
    pub link: String,
    /// The path of the fork.
    pub fork: String,
    /// Where the fork begins in the source; the tail if absent.
    pub offset: Option<Offset>,
    /// The time before whose first message the fork begins, instead of the offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Millis>,
    /// Messages (JSON) or bytes after `offset`.
    pub sub_offset: u64,
    pub content_type: Option<String>,
    /// The source may grant this until then.
    pub valid_until: Millis,
}

/// The source's answer to a [`Reference`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Referenced {
    /// The source retains its data for the fork from now on.
    Granted(Box<Inheritance>),
    Refused(ForkRefusal),
}

/// Tells a source that the fork no longer needs it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    #[serde(rename = "edge")]
    pub link: String,
    /// A delayed reference with this link may still be granted until then.
    pub valid_until: Millis,
}

/// The data and settings that a fork takes over from its source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inheritance {
    /// The source's content type.
    pub content_type: String,
    pub lifetime: Lifetime,
    /// The first offset of the source.
    pub start: Offset,
    /// The offset that the PUT named.
    pub anchor: Offset,
    /// The time that the PUT named. A source of an older build does not repeat it, and grants its tail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Millis>,
    /// Where the fork begins, if the source knows it. In data that the source has itself inherited, only the
    /// owners can resolve a sub-offset or a time.
    pub until: Option<Offset>,
    /// The owners of the bytes up to `until`, or else up to the source's tail, in order and without empty
    /// parts.
    pub owners: Vec<Owner>,
}

/// A stream that owns a part of a fork's inherited data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owner {
    pub path: String,
    pub incarnation: u64,
    /// The fork's segment numbers minus the owner's.
    pub shift: u64,
    /// The end of the part, in the fork's offsets.
    pub until: Offset,
    /// The owner's segments before this number are in the bucket.
    pub hot_from: u64,
}

/// Asks an owner for bytes that are not in the bucket. The offsets are the owner's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inherit {
    pub incarnation: u64,
    pub from: Offset,
    /// The latest offset at which to stop.
    pub until: Offset,
    /// The approximate limit of the answer, in bytes.
    pub max_bytes: usize,
    /// Whether the first message may exceed that limit.
    pub any_size: bool,
    /// Whether the bytes become SSE events. An owner of an older build ignores this, and those events stay in
    /// one piece.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub events: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InheritedEvents {
    /// The offset at which to continue.
    pub next: Offset,
    /// The places at which an event may begin.
    pub begins: Vec<Mark>,
}

/// Asks an owner for the offset `count` messages (JSON) or bytes after `from`. The offsets are the owner's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Walk {
    pub incarnation: u64,
    pub from: Offset,
    /// The latest offset at which to stop.
    pub until: Offset,
    pub count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Walked {
    pub at: Offset,
    /// The rest of the count at the end of the owner's part.
    pub left: u64,
}

/// What a [`Seek`] looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Goal {
    /// The first message written at this time or later.
    Since(Millis),
    /// So many messages (JSON) or appends before the end.
    Last(u64),
}

/// Asks an owner for a place in a part of its data. The offsets are the owner's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seek {
    pub incarnation: u64,
    pub from: Offset,
    pub until: Offset,
    pub goal: Goal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sought {
    /// The place; `None` if no message of the part is as late.
    pub at: Option<Offset>,
    /// The messages or appends that are missing at the start of the part.
    pub left: u64,
}
