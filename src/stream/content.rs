//! The content of an append or a PUT: bytes to store, counted in the stream's unit.

use std::borrow::Cow;

use crate::protocol::content_type::Format;
use crate::protocol::json::{Messages, each_message};
use crate::protocol::refusal::Refusal;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content<'a> {
    /// The bytes; JSON messages joined by commas.
    pub bytes: Cow<'a, [u8]>,
    /// The number of positions that they take: messages in JSON streams, bytes in all others.
    pub span: u64,
    /// The length of each message of a JSON batch, in bytes; empty if not recorded.
    lengths: Vec<u32>,
}

impl<'a> Content<'a> {
    /// Parses a body. An empty body or JSON batch has a span of 0; refuses invalid JSON.
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

    /// Visits the messages of a JSON append in order.
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
