//! Append: POST with a body (PROTOCOL.md 5.2). The order of refusals is the protocol's: closed, content type,
//! producer, body, `Stream-Seq`, `Stream-Expected-Offset`.

use std::borrow::Cow;

use super::producer::{Fenced, ProducerState, fence};
use super::{Closure, Stream};
use crate::protocol::command::Append;
use crate::protocol::content_type::Format;
use crate::protocol::json::{Messages, each_message};
use crate::protocol::refusal::Refusal;

/// What becomes of an append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Appending<'a> {
    /// Store it.
    Append(Content<'a>),
    /// It is stored already.
    Duplicate(ProducerState),
}

/// Bytes to store, in the stream's own unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content<'a> {
    /// The bytes; JSON messages joined by commas.
    pub bytes: Cow<'a, [u8]>,
    /// How many positions they take: messages in JSON streams, bytes in all others.
    pub span: u64,
    /// How long each message of a JSON batch is, where that is known.
    lengths: Vec<u32>,
}

impl<'a> Content<'a> {
    /// Reads a body; an empty one (or an empty JSON batch) has no content.
    pub fn of_body(format: Format, body: &'a [u8]) -> Result<Content<'a>, Refusal> {
        match format {
            Format::Json if !body.is_empty() => {
                let Messages { joined, count, lengths } = Messages::parse(body)?;
                Ok(Content { bytes: joined, span: count, lengths })
            }
            Format::Json | Format::Text | Format::Binary => {
                Ok(Content { bytes: Cow::Borrowed(body), span: body.len() as u64, lengths: Vec::new() })
            }
        }
    }

    /// Visits the messages of a JSON append, which are joined by one comma each.
    pub fn each_json_message(&self, visit: &mut dyn FnMut(&[u8])) {
        let mut rest = &*self.bytes;
        for length in &self.lengths {
            let (message, after) = rest.split_at(*length as usize);
            visit(message);
            rest = after.strip_prefix(b",").unwrap_or(after);
        }
        if self.lengths.is_empty() {
            each_message(rest, &mut |message| {
                visit(message);
                true
            });
        }
    }
}

/// Decides an append.
pub fn append<'a>(
    stream: &Stream,
    known: Option<ProducerState>,
    request: &Append<'a>,
) -> Result<Appending<'a>, Refusal> {
    if stream.closure.is_closed() {
        return closed(stream, request);
    }
    let content_type = request.content_type.as_deref().ok_or(Refusal::MissingContentType)?;
    if !stream.content_type.matches(content_type) {
        return Err(Refusal::ContentTypeMismatch { expected: stream.content_type.as_str().to_owned() });
    }
    if let Some(producer) = &request.producer
        && let Fenced::Duplicate(state) = fence(known, producer)?
    {
        return Ok(Appending::Duplicate(state));
    }
    let content = Content::of_body(stream.content_type.format(), request.body)?;
    if content.span == 0 {
        return Err(Refusal::EmptyBatch);
    }
    if let (Some(last), Some(seq)) = (&stream.stream_seq, &request.stream_seq)
        && seq.as_bytes() <= last.as_bytes()
    {
        return Err(Refusal::StreamSeqRegression { tail: stream.tail });
    }
    stream.expect_tail(request.expected_offset)?;
    Ok(Appending::Append(content))
}

/// Only the request that closed the stream is answered again.
fn closed<'a>(stream: &Stream, request: &Append<'a>) -> Result<Appending<'a>, Refusal> {
    match (&stream.closure, &request.producer) {
        (Closure::ClosedBy(closer), Some(producer)) if closer == producer => {
            Ok(Appending::Duplicate(ProducerState { epoch: producer.epoch, seq: producer.seq }))
        }
        _ => Err(Refusal::Closed { tail: stream.tail }),
    }
}
