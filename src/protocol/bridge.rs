//! The socket behind one live response: its frames, tags and close codes. A deployment drops all sockets, so
//! the Worker and the object always run the same build and the format has no version number.
//!
//! A frame is `<start offset><next offset><payload>`. Both offsets are text, so the Worker can compare a frame
//! with what it has already sent without parsing the payload. In an SSE bridge, the payload is event text. For
//! a parked long-poll, it is a whole reply: the length of the head (4 bytes, big-endian), the head, the body.
//! The head consists of lines: the status, then the name and the value of each header.

use std::str;

use serde::{Deserialize, Serialize};

use super::names::header;
use super::offset::{Offset, ReadFrom};
use super::reply::Reply;

/// Offset of the payload in a frame, in bytes.
pub const FRAME_HEAD_BYTES: usize = 2 * Offset::TEXT_BYTES;

/// Close code: the response is complete.
pub const CLOSE_DONE: u16 = 1000;
/// Close code: the next data is too large for a frame. The Worker requests it as a catch-up read.
pub const CLOSE_CATCH_UP: u16 = 4000;

/// The kind of live response that a socket serves; part of its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BridgeKind {
    Sse,
    /// An SSE response to a client whose cursor is not behind the clock. It gets a cursor of its own, so its
    /// events differ from those of the other readers.
    SseAhead,
    LongPoll,
}

/// All sockets of one kind and one incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel {
    pub kind: BridgeKind,
    /// A socket of an earlier incarnation never receives data of a later one.
    pub incarnation: u64,
}

impl Channel {
    /// The tag that the platform stores with these sockets.
    pub fn tag(self) -> String {
        let kind = match self.kind {
            BridgeKind::Sse => "sse",
            BridgeKind::SseAhead => "sse-ahead",
            BridgeKind::LongPoll => "long-poll",
        };
        format!("{kind}.{}", self.incarnation)
    }
}

/// The state that the platform stores with a socket while the object hibernates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    pub cursor: Option<u64>,
    /// Where the reader's request begins.
    pub place: Place,
    /// Whether the reader sent a valid reader key of the stream.
    pub keyed: bool,
    /// Whether the reader sent an invalid key; its answer then carries a valid one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renews: bool,
}

/// Where a read begins, according to its URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// `-1`, or no offset.
    Start,
    /// `now`, and what moves as it does: `at` and `last`.
    Now,
    Offset,
}

impl Place {
    pub fn of(from: ReadFrom) -> Place {
        match from {
            ReadFrom::Start => Place::Start,
            // All three are other offsets for other requests with the same URL.
            ReadFrom::Now | ReadFrom::Since(_) | ReadFrom::Last(_) => Place::Now,
            ReadFrom::At(_) => Place::Offset,
        }
    }
}

impl Reply {
    /// Adds the offset at which the response begins, unless the URL says it.
    pub fn with_start(self, place: Place, start: Offset) -> Reply {
        match place {
            Place::Offset => self,
            Place::Start | Place::Now => self.with(header::STREAM_START_OFFSET, start.to_string()),
        }
    }
}

/// The head of a frame: the offsets before and after its data.
pub fn frame_head(start: Offset, next: Offset) -> Vec<u8> {
    format!("{start}{next}").into_bytes()
}

/// Parses a frame's two offsets; `None` if the head is malformed.
pub fn parse_frame_head(frame: &[u8]) -> Option<(Offset, Offset)> {
    let head = str::from_utf8(frame.get(..FRAME_HEAD_BYTES)?).ok()?;
    let (start, next) = head.split_at_checked(Offset::TEXT_BYTES)?;
    Some((Offset::parse(start)?, Offset::parse(next)?))
}

/// The head of a reply that arrived over a socket.
#[derive(PartialEq, Eq, Debug)]
pub struct ReplyHead<'f> {
    pub status: u16,
    /// The headers, in the format of [`Reply::header_lines`].
    pub header_lines: &'f str,
}

/// Finds a header's value in the format of [`Reply::header_lines`].
pub fn header_in<'l>(header_lines: &'l str, name: &str) -> Option<&'l str> {
    let mut lines = header_lines.split('\n');
    while let (Some(known), Some(value)) = (lines.next(), lines.next()) {
        if known == name {
            return Some(value);
        }
    }
    None
}

/// The frame that answers a parked long-poll.
pub fn reply_frame(start: Offset, next: Offset, reply: &Reply) -> Vec<u8> {
    let head = format!("{}\n{}", reply.status.as_u16(), reply.header_lines());
    let length = u32::try_from(head.len()).expect("headers are a few hundred bytes");
    let mut frame = frame_head(start, next);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(head.as_bytes());
    frame.extend_from_slice(&reply.body);
    frame
}

/// Offset of the reply's head in a long-poll's frame, in bytes.
const REPLY_HEAD_AT: usize = FRAME_HEAD_BYTES + 4;

/// Offset of the reply's body in a long-poll's frame, in bytes.
pub fn reply_body_at(frame: &[u8]) -> Option<usize> {
    let length = frame.get(FRAME_HEAD_BYTES..REPLY_HEAD_AT)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    REPLY_HEAD_AT.checked_add(usize::try_from(length).ok()?)
}

/// Parses the reply's head in a long-poll's frame. The frame may be cut off where the body begins.
pub fn parse_reply_head(frame: &[u8]) -> Option<ReplyHead<'_>> {
    let head = str::from_utf8(frame.get(REPLY_HEAD_AT..reply_body_at(frame)?)?).ok()?;
    let (status, header_lines) = head.split_once('\n')?;
    Some(ReplyHead { status: status.parse().ok()?, header_lines })
}
