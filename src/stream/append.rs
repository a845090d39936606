//! Append: POST with a body (PROTOCOL.md 5.2). The checks run in the protocol's order: closed, content type,
//! producer, body, `Stream-Seq`, `Stream-Expected-Offset`.

use super::content::Content;
use super::producer::{Fenced, ProducerState, fence};
use super::{Closure, Stream};
use crate::protocol::command::Append;
use crate::protocol::refusal::Refusal;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Appending<'a> {
    Append(Content<'a>),
    /// Already stored: repeat the answer, store nothing.
    Duplicate(ProducerState),
}

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

/// Refuses appends to a closed stream, except a repeat of the append that closed it.
fn closed<'a>(stream: &Stream, request: &Append<'a>) -> Result<Appending<'a>, Refusal> {
    match (&stream.closure, &request.producer) {
        (Closure::ClosedBy(closer), Some(producer)) if closer == producer => {
            Ok(Appending::Duplicate(ProducerState { epoch: producer.epoch, seq: producer.seq }))
        }
        _ => Err(Refusal::Closed { tail: stream.tail }),
    }
}
