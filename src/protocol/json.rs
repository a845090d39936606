//! JSON mode (PROTOCOL.md 9.1): flattens one level of arrays and removes white space between tokens.
//!
//! Messages are stored joined by commas, exactly as they appear between the brackets of a batch. `serde_json`
//! validates a body once. All later steps scan only for strings, brackets and commas, and preserve every other
//! byte that the client sent: numbers, escapes, and the order and repetition of keys.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::refusal::Refusal;

/// The most messages of a batch whose lengths are recorded: a body of 16 MiB may contain eight million.
pub const LENGTHS_MAX: usize = 4096;

/// The messages of one request body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Messages<'a> {
    /// The messages, joined by commas: the same bytes as in the hot log, in segments and in responses.
    pub joined: Cow<'a, [u8]>,
    pub count: u64,
    /// The length of each message in bytes, so that later steps need not scan; empty if there are more than
    /// [`LENGTHS_MAX`].
    pub lengths: Vec<u32>,
}

impl<'a> Messages<'a> {
    /// Validates a body. A top-level array is a batch of its elements; an empty array contains no message.
    pub fn parse(body: &'a [u8]) -> Result<Messages<'a>, Refusal> {
        // Some editors and .NET write a byte order mark, which is not part of the text (RFC 8259, 8.1).
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let text = std::str::from_utf8(body).map_err(|error| invalid(format!("it is not UTF-8: {error}")))?;
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| invalid(error.to_string()))?;
        let text = text.as_bytes().trim_ascii();
        match text.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
            Some(elements) => Ok(Messages::joined(elements, LENGTHS_MAX)),
            None if has_space(text) => Ok(Messages::joined(text, 0)),
            None => Ok(Messages { joined: Cow::Borrowed(text), count: 1, lengths: Vec::new() }),
        }
    }

    /// Removes white space between tokens from comma-joined messages, and counts the messages.
    fn joined(text: &'a [u8], lengths_max: usize) -> Messages<'a> {
        let (mut compact, mut from) = (Vec::new(), 0);
        let (mut count, mut lengths, mut begins) = (0, Vec::new(), 0);
        let mut message_ends = |end: usize| {
            count += 1;
            if count as usize <= lengths_max {
                lengths.push((end - begins) as u32);
            }
            begins = end + 1;
        };
        let (mut depth, mut at) = (0_usize, 0);
        while let Some(byte) = text.get(at) {
            match byte {
                b'"' => at = end_of_string(text, at),
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' if depth == 0 => message_ends(compact.len() + at - from),
                ..=b' ' => {
                    if from == 0 {
                        compact.reserve(text.len());
                    }
                    compact.extend_from_slice(&text[from..at]);
                    from = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        let end = compact.len() + text.len() - from;
        if end > 0 {
            message_ends(end);
        }
        if count as usize > lengths_max {
            lengths = Vec::new();
        }
        if from == 0 {
            return Messages { joined: Cow::Borrowed(text), count, lengths };
        }
        compact.extend_from_slice(&text[from..]);
        Messages { joined: Cow::Owned(compact), count, lengths }
    }
}

fn invalid(why: String) -> Refusal {
    Refusal::InvalidJson { why }
}

/// Calls `visit` with each message of `joined`, in order, until it returns `false`.
pub fn each_message<'a>(joined: &'a [u8], visit: &mut dyn FnMut(&'a [u8]) -> bool) {
    let mut rest = joined;
    while !rest.is_empty() {
        let end = end_of_messages(rest, 1);
        if !visit(&rest[..end]) {
            return;
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
}

/// The rest of `joined` after its first `skip` messages.
pub fn after(joined: &[u8], skip: u64) -> &[u8] {
    if skip == 0 { joined } else { joined.get(end_of_messages(joined, skip) + 1..).unwrap_or_default() }
}

/// The first `count` messages of `joined`.
pub fn first(joined: &[u8], count: u64) -> &[u8] {
    if count == 0 { &[] } else { &joined[..end_of_messages(joined, count)] }
}

/// The end of the first `count` messages, with `count` at least 1: a comma, or the end of `joined`.
fn end_of_messages(joined: &[u8], count: u64) -> usize {
    let (mut left, mut depth, mut at) = (count, 0_usize, 0);
    while let Some(byte) = joined.get(at) {
        match byte {
            b'"' => at = end_of_string(joined, at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                left -= 1;
                if left == 0 {
                    return at;
                }
            }
            _ => {}
        }
        at += 1;
    }
    joined.len()
}

/// The index of the closing quote of the string that begins at `at`.
fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether the text has white space, inside or outside of strings. Checks eight bytes at a time, because most
/// messages have none.
fn has_space(text: &[u8]) -> bool {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let (words, rest) = text.as_chunks::<8>();
    let has = |word: u64| word.wrapping_sub(each(b' ' + 1)) & !word & each(0x80) != 0;
    words.iter().any(|word| has(u64::from_ne_bytes(*word))) || rest.iter().any(|byte| *byte <= b' ')
}
