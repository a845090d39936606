//! Forks (PROTOCOL.md 4.2): what a PUT asks for, and what the calls between the objects of a fork and of its source say.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::fork_refusal::ForkRefusal;
use super::lifetime::{Lifetime, whole_number};
use super::names::header;
use super::offset::Offset;
use super::path::StreamPath;
use super::refusal::Refusal;
use super::request_head::{RequestHead, check_plain};
use super::sse::Mark;

/// How many streams a fork may have inherited parts of: its source, the source's source, and so on. Every later fork has a
/// copy of the list.
pub const OWNERS_MAX: usize = 256;

/// The largest sub-offset: as many messages or bytes as one append can have.
const SUB_OFFSET_MAX: u64 = 16 << 20;

/// How long after the fork's intent a source may grant a reference. A reference that arrives later is refused.
pub const REFERENCE_VALID: Millis = 30_000;

/// The fork that a PUT asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForkRequest {
    pub source: StreamPath,
    /// Where it leaves the source; at the tail if absent.
    pub offset: Option<Offset>,
    /// How many messages (JSON) or bytes further.
    pub sub_offset: u64,
    /// The link's name, which is unique: no other link ever has it.
    pub link: String,
}

impl ForkRequest {
    /// Parses the three headers; `None` where a PUT asks for no fork.
    pub fn parse(head: &RequestHead<'_>) -> Result<Option<ForkRequest>, Refusal> {
        let source = (head.header)(header::STREAM_FORKED_FROM);
        let offset = head.text(header::STREAM_FORK_OFFSET)?;
        let sub_offset = head.text(header::STREAM_FORK_SUB_OFFSET)?;
        let Some(source) = source else {
            let needs = "it needs Stream-Forked-From";
            return match (offset, sub_offset) {
                (None, None) => Ok(None),
                (Some(_), _) => Err(Refusal::InvalidHeader { name: "Stream-Fork-Offset", why: needs }),
                (None, Some(_)) => Err(Refusal::InvalidHeader { name: "Stream-Fork-Sub-Offset", why: needs }),
            };
        };
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
        Ok(Some(ForkRequest { source: source_path(&source)?, offset, sub_offset, link: (head.random)() }))
    }
}

/// The path of the stream that `Stream-Forked-From` names.
pub fn source_path(text: &str) -> Result<StreamPath, Refusal> {
    check_plain(header::STREAM_FORKED_FROM, text)?;
    let refused = |why| Refusal::InvalidHeader { name: "Stream-Forked-From", why };
    let raw = StreamPath::in_url(text)
        .ok_or(refused("it must be the path of a stream's URL, such as /v1/stream/my-stream"))?;
    let path = StreamPath::parse(raw).map_err(|_| refused("no stream can have this path"))?;
    if path.is_reserved() { Err(refused("streams of the server itself have no forks")) } else { Ok(path) }
}

/// Asks a source to keep its data for a fork, as long as the fork exists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// The link's name. If the source has stored it already, it stores no second one.
    #[serde(rename = "edge")]
    pub link: String,
    /// The path of the fork.
    pub fork: String,
    /// Where it leaves the source; at the tail if absent.
    pub offset: Option<Offset>,
    /// How many messages (JSON) or bytes further.
    pub sub_offset: u64,
    /// The content type that the PUT names, if any.
    pub content_type: Option<String>,
    /// Until when the source may grant this.
    pub valid_until: Millis,
}

/// What the source answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Referenced {
    /// The source keeps its data for the fork from now on.
    Granted(Box<Inheritance>),
    /// There can be no such fork.
    Refused(ForkRefusal),
}

/// Tells a source that a fork does not need it any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    #[serde(rename = "edge")]
    pub link: String,
    /// Until when a late reference by this link might still be granted.
    pub valid_until: Millis,
}

/// What a fork gets from its source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inheritance {
    /// The source's content type.
    pub content_type: String,
    /// How long the source lives.
    pub lifetime: Lifetime,
    /// Where the source begins.
    pub start: Offset,
    /// The offset that was asked for.
    pub anchor: Offset,
    /// Where the fork leaves the source, if the source knows it: only the owners can count in what the source has inherited.
    pub until: Option<Offset>,
    /// The owners of the bytes up to `until`, or else up to the source's tail, in order; empty parts are left out.
    pub owners: Vec<Owner>,
}

/// A stream that owns a part of what a fork has inherited.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owner {
    pub path: String,
    pub incarnation: u64,
    /// By how much the fork's segment numbers are higher than the owner's.
    pub shift: u64,
    /// Where its part ends, in the fork's offsets.
    pub until: Offset,
    /// Its segments before this one are in the bucket, by the owner's numbers.
    pub hot_from: u64,
}

/// Asks an owner for bytes that are not in the bucket. The offsets are the owner's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inherit {
    pub incarnation: u64,
    pub from: Offset,
    /// Where to stop at the latest.
    pub until: Offset,
    /// About how many bytes may come.
    pub max_bytes: usize,
    /// Whether the first message comes even if it is larger than that.
    pub any_size: bool,
    /// Whether the bytes become SSE events. An owner of an older version ignores this, and those events stay in one piece.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub events: bool,
}

/// Bytes that become SSE events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InheritedEvents {
    /// Where to read on.
    pub next: Offset,
    /// Where an event may begin.
    pub begins: Vec<Mark>,
}

/// Asks an owner where so many messages (JSON) or bytes lead. The offsets are the owner's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Walk {
    pub incarnation: u64,
    pub from: Offset,
    /// Where to stop at the latest.
    pub until: Offset,
    pub count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Walked {
    pub at: Offset,
    /// How many are left where the owner's part ends.
    pub left: u64,
}
