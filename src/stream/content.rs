//! What an append or a PUT brings: bytes to store, in the stream's own unit.

use std::borrow::Cow;

use crate::protocol::content_type::Format;
use crate::protocol::json::{Messages, each_message};
use crate::protocol::refusal::Refusal;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content<'a> {
    /// The bytes; JSON messages joined by commas.
    pub bytes: Cow<'a, [u8]>,
    /// How many positions they take: messages in JSON streams, bytes in all others.
    pub span: u64,
    /// The length of each message of a JSON batch, where it is known.
    lengths: Vec<u32>,
}

impl<'a> Content<'a> {
    /// Parses a body; an empty one (or an empty JSON batch) has no content.
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
