//! The socket behind one live response: its frames, tags and close codes. Edge and object of one deployment
//! speak it; a deploy drops all sockets, so it needs no versions.
//!
//! A frame is `<start offset><next offset><payload>`: both offsets as text, so that the edge can hold what it
//! passes on against what it has passed on without looking at the payload. The payload of an SSE bridge is
//! event text; that of a waiter is a whole reply: 4 bytes length (big-endian), that much JSON, the body.

use std::str;

use serde::{Deserialize, Serialize};

use super::offset::Offset;
use super::reply::Reply;

/// Where the payload begins.
pub const FRAME_HEAD_BYTES: usize = 2 * Offset::TEXT_BYTES;

/// Close code: the response is complete.
pub const CLOSE_DONE: u16 = 1000;
/// Close code: what comes next is too large for a frame; ask for it from where you are.
pub const CLOSE_CATCH_UP: u16 = 4000;

/// What a socket is for. Part of its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BridgeKind {
    /// An SSE response.
    Sse,
    /// An SSE response whose client's cursor was not behind the clock, so that it gets events of its own.
    SseAhead,
    /// A parked long-poll.
    LongPoll,
}

/// All sockets of a kind on one life of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel {
    /// What for.
    pub kind: BridgeKind,
    /// Which life: a socket of an earlier one never gets a later one's data.
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

/// What is kept with a socket while the object sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// The client's cursor.
    pub cursor: Option<u64>,
    /// The reader asked for `now`, so its answer belongs to it alone.
    pub from_now: bool,
}

/// Begins a frame.
pub fn frame_head(start: Offset, next: Offset) -> Vec<u8> {
    format!("{start}{next}").into_bytes()
}

/// Reads a frame's offsets.
pub fn parse_frame_head(frame: &[u8]) -> Option<(Offset, Offset)> {
    let head = str::from_utf8(frame.get(..FRAME_HEAD_BYTES)?).ok()?;
    Some((Offset::parse(&head[..Offset::TEXT_BYTES])?, Offset::parse(&head[Offset::TEXT_BYTES..])?))
}

#[derive(Serialize)]
struct HeadToSend<'a> {
    status: u16,
    headers: &'a [(&'static str, String)],
}

/// The head of a reply that came over a socket.
#[derive(Deserialize, PartialEq, Eq, Debug)]
pub struct ReplyHead {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

/// A waiter's frame.
pub fn reply_frame(start: Offset, next: Offset, reply: &Reply) -> Vec<u8> {
    let head = HeadToSend { status: reply.status.as_u16(), headers: &reply.headers };
    let head = serde_json::to_vec(&head).expect("strings and numbers always serialise");
    let length = u32::try_from(head.len()).expect("headers are a few hundred bytes");
    let mut frame = frame_head(start, next);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&head);
    frame.extend_from_slice(&reply.body);
    frame
}

/// Reads a waiter's payload: the head, and where in the payload the body begins.
pub fn parse_reply(payload: &[u8]) -> Option<(ReplyHead, usize)> {
    let length = u32::from_be_bytes(payload.get(..4)?.try_into().ok()?);
    let body_at = 4 + usize::try_from(length).ok()?;
    let head = serde_json::from_slice(payload.get(4..body_at)?).ok()?;
    Some((head, body_at))
}
