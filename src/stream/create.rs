//! Create: PUT (PROTOCOL.md 5.1).

use super::append::Content;
use super::rotate::Fill;
use super::{Closure, Ended, Life, Stream};
use crate::protocol::Millis;
use crate::protocol::command::Create;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::offset::Offset;
use crate::protocol::refusal::Refusal;

/// What becomes of a create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Creating<'a> {
    /// Make this stream, still empty, and append its initial content.
    Create(Box<Stream>, Content<'a>),
    /// It is there as it was asked for.
    Exists,
}

/// Decides a create. A URL that had a stream before gets its next life, whose segments count on from the old
/// one's: no offset of the old one is ever one of the new.
pub fn create<'a>(life: &Life, request: &Create<'a>, now: Millis) -> Result<Creating<'a>, Refusal> {
    let (incarnation, read_seq) = match life {
        Life::Live(stream) => return exists(stream, request),
        Life::Unborn => (1, 0),
        Life::Ended(Ended { incarnation, next_read_seq }) => (incarnation + 1, *next_read_seq),
    };
    let content = Content::of_body(request.content_type.format(), request.body)?;
    let lease_until = match request.lifetime {
        Lifetime::Ttl { seconds } => now + seconds * 1000,
        Lifetime::Unlimited | Lifetime::ExpiresAt { .. } => 0,
    };
    let stream = Stream {
        incarnation,
        content_type: request.content_type.clone(),
        lifetime: request.lifetime,
        public: request.public,
        reader_key: request.reader_key.clone(),
        retention: request.retention,
        created_at: now,
        first_read_seq: read_seq,
        hot_from: read_seq,
        rotated_bytes: 0,
        tail: Offset::segment_start(read_seq),
        fill: Fill::default(),
        stream_seq: None,
        closure: if request.closed { Closure::Closed } else { Closure::Open },
        written_at: now,
        touched_at: now,
        lease_until,
    };
    Ok(Creating::Create(Box::new(stream), content))
}

fn exists<'a>(stream: &Stream, request: &Create<'a>) -> Result<Creating<'a>, Refusal> {
    let differs = |what| Err(Refusal::ExistsWithOtherConfig { what });
    if !stream.content_type.matches(request.content_type.as_str()) {
        return differs("Content-Type");
    }
    if stream.lifetime != request.lifetime {
        return differs("lifetime (Stream-TTL, Stream-Expires-At)");
    }
    // As with the lifetime, none is another one than some: what a deployment keeps by default may change.
    if stream.retention != request.retention {
        return differs("retention (Stream-Retention)");
    }
    if stream.closure.is_closed() != request.closed {
        return differs("closure (Stream-Closed)");
    }
    if stream.public != request.public {
        return differs("audience (Stream-Public)");
    }
    Ok(Creating::Exists)
}
