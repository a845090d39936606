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

/// How many streams a fork may have inherited parts of, its source and that one's sources; each is known by every fork
/// behind it.
pub const OWNERS_MAX: usize = 256;

/// The largest sub-offset: what one append can have of messages or bytes, and more than enough to count.
const SUB_OFFSET_MAX: u64 = 16 << 20;

/// How long a source may grant what a fork asked it for. What comes later is refused, whatever kept it.
pub const REFERENCE_VALID: Millis = 30_000;

/// What a PUT says of the fork that it asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForkRequest {
    pub source: StreamPath,
    /// Where it leaves the source; at the tail if nothing is said.
    pub offset: Option<Offset>,
    /// How many messages (JSON) or bytes further.
    pub sub_offset: u64,
    /// The name of what would hold the source, which nothing else has.
    pub link: String,
}

impl ForkRequest {
    /// Reads the three headers; `None` where a PUT asks for no fork.
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

/// Asked of a source: to be there for a fork as long as that is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// Its name; a source that knows it already knows no second one.
    #[serde(rename = "edge")]
    pub link: String,
    /// The path of the fork.
    pub fork: String,
    /// Where it leaves the source; at the tail if nothing is said.
    pub offset: Option<Offset>,
    /// How many messages (JSON) or bytes further.
    pub sub_offset: u64,
    /// The content type that the fork is to have, if that is said.
    pub content_type: Option<String>,
    /// Until when this may be granted.
    pub valid_until: Millis,
}

/// What the source answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Referenced {
    /// It is there for the fork from now on.
    Granted(Box<Inheritance>),
    /// There can be no such fork.
    Refused(ForkRefusal),
}

/// Asked of a source: not to be there for a fork any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// The name of what held it.
    #[serde(rename = "edge")]
    pub link: String,
    /// Until when the source may still be asked to be held by it.
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
    /// Where the fork leaves the source, if it is known: what the source has inherited itself, only its owners can count.
    pub until: Option<Offset>,
    /// Whose the bytes up to there are, in order, or else up to the source's tail; what is empty is left out.
    pub owners: Vec<Owner>,
}

/// A stream of which a fork has inherited something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owner {
    pub path: String,
    pub incarnation: u64,
    /// How many segments the fork counts on from where the owner does.
    pub shift: u64,
    /// Where its part ends, as the fork counts.
    pub until: Offset,
    /// Its segments before this one are in the bucket, as the owner counts.
    pub hot_from: u64,
}

/// Asked of an owner: bytes that are not in the bucket, as the owner counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inherit {
    pub incarnation: u64,
    pub from: Offset,
    /// Until where at most.
    pub until: Offset,
    /// About how many bytes may come.
    pub max_bytes: usize,
    /// Whether a message comes that is larger than that.
    pub any_size: bool,
    /// Whether they become events. An owner of an older version does not look at this, and those events stay in one piece.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub events: bool,
}

/// Bytes that become events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InheritedEvents {
    /// Where to read on.
    pub next: Offset,
    /// Where each event begins, if they are not made larger.
    pub begins: Vec<Mark>,
}

/// Asked of an owner: where so many messages (JSON) or bytes lead, as the owner counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Walk {
    pub incarnation: u64,
    pub from: Offset,
    /// Until where at most.
    pub until: Offset,
    pub count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Walked {
    pub at: Offset,
    /// How many are left, at the end.
    pub left: u64,
}
