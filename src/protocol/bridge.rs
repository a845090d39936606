//! The socket behind one live response: its frames, tags and close codes. A deployment drops all sockets, so edge and object
//! are of one version and the format needs no number.
//!
//! A frame is `<start offset><next offset><payload>`: both offsets as text, so that the edge can compare a
//! frame with what it has already sent, without looking at the payload. The payload of an SSE bridge is
//! event text; that of a waiter is a whole reply: the length of the head (4 bytes, big-endian), the head, the body. The head
//! is lines: the status, then the name and the value of each header.

use std::str;

use serde::{Deserialize, Serialize};

use super::offset::{Offset, ReadFrom};
use super::reply::Reply;

/// Where the payload begins.
pub const FRAME_HEAD_BYTES: usize = 2 * Offset::TEXT_BYTES;

/// Close code: the response is complete.
pub const CLOSE_DONE: u16 = 1000;
/// Close code: the next data is too large for a frame; the edge reads it from where the response stands.
pub const CLOSE_CATCH_UP: u16 = 4000;

/// What a socket is for. Part of its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BridgeKind {
    Sse,
    /// An SSE response whose client's cursor was not behind the clock, so that it gets events of its own.
    SseAhead,
    LongPoll,
}

/// All sockets of a kind on one incarnation of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel {
    pub kind: BridgeKind,
    /// A socket of an earlier incarnation never gets data of a later one.
    pub incarnation: u64,
}

impl Channel {
    /// The tag of its sockets.
    pub fn tag(self) -> String {
        let kind = match self.kind {
            BridgeKind::Sse => "sse",
            BridgeKind::SseAhead => "sse-ahead",
            BridgeKind::LongPoll => "long-poll",
        };
        format!("{kind}.{}", self.incarnation)
    }
}

/// What the platform stores with a socket while the object hibernates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    pub cursor: Option<u64>,
    /// Where the reader asked to begin.
    pub place: Place,
    /// Whether the reader sent a valid reader key of the stream.
    pub keyed: bool,
    /// Whether the reader sent a key that is not valid, so that its answer carries one that is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renews: bool,
}

/// Where a read begins, by its URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// `-1`, or nothing.
    Start,
    /// `now`.
    Now,
    Offset,
}

impl Place {
    pub fn of(from: ReadFrom) -> Place {
        match from {
            ReadFrom::Start => Place::Start,
            ReadFrom::Now => Place::Now,
            ReadFrom::At(_) => Place::Offset,
        }
    }
}

/// The beginning of each frame: the offsets that it is between.
pub fn frame_head(start: Offset, next: Offset) -> Vec<u8> {
    format!("{start}{next}").into_bytes()
}

/// Reads a frame's offsets.
pub fn parse_frame_head(frame: &[u8]) -> Option<(Offset, Offset)> {
    let head = str::from_utf8(frame.get(..FRAME_HEAD_BYTES)?).ok()?;
    let (start, next) = head.split_at_checked(Offset::TEXT_BYTES)?;
    Some((Offset::parse(start)?, Offset::parse(next)?))
}

/// The head of a reply that came over a socket.
#[derive(PartialEq, Eq, Debug)]
pub struct ReplyHead<'f> {
    pub status: u16,
    /// The headers as [`Reply::header_lines`] writes them.
    pub header_lines: &'f str,
}

/// The value of a header in lines as [`Reply::header_lines`] writes them.
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

/// Where a waiter's head begins.
const REPLY_HEAD_AT: usize = FRAME_HEAD_BYTES + 4;

/// Where in a waiter's frame the body begins.
pub fn reply_body_at(frame: &[u8]) -> Option<usize> {
    let length = frame.get(FRAME_HEAD_BYTES..REPLY_HEAD_AT)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    REPLY_HEAD_AT.checked_add(usize::try_from(length).ok()?)
}

/// Reads the head of a waiter's frame, which may be cut off where the body begins.
pub fn parse_reply_head(frame: &[u8]) -> Option<ReplyHead<'_>> {
    let head = str::from_utf8(frame.get(REPLY_HEAD_AT..reply_body_at(frame)?)?).ok()?;
    let (status, header_lines) = head.split_once('\n')?;
    Some(ReplyHead { status: status.parse().ok()?, header_lines })
}
