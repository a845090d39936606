//! JSON mode (PROTOCOL.md 9.1): one level of flattening, and the bytes of each message kept as they came.
//!
//! Messages are stored joined by commas, which is what stands between the brackets of a batch: a body is
//! checked in one pass, and written again only to leave out what is between its messages.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// For how many messages of a batch it is kept how long each is: a body of 16 MiB may hold eight million.
pub const LENGTHS_MAX: usize = 4096;

/// The messages of one request body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Messages<'a> {
    /// The messages, joined by commas and nothing else: the same bytes wherever they are kept.
    pub joined: Cow<'a, str>,
    /// How many.
    pub count: u64,
    /// How long each one is, in bytes, so that nobody has to look for their ends again; empty where they are too many.
    pub lengths: Vec<u32>,
}

impl<'a> Messages<'a> {
    /// Checks a body. A top-level array is a batch of its elements; an empty one holds no message.
    pub fn parse(body: &'a [u8]) -> Result<Messages<'a>, Refusal> {
        let text =
            std::str::from_utf8(body).map_err(|error| invalid(format_args!("it is not UTF-8: {error}")))?;
        let text = text.trim_matches(is_json_whitespace);
        match text.strip_prefix('[') {
            Some(rest) => {
                let Counted { count, bytes, lengths } =
                    count_elements(text).map_err(|error| invalid(format_args!("{error}")))?;
                let joined = rest.strip_suffix(']').unwrap_or(rest).trim_matches(is_json_whitespace);
                let is_joined = joined.len() == bytes + (count as usize).saturating_sub(1);
                let joined = if is_joined { Cow::Borrowed(joined) } else { Cow::Owned(rejoined(joined)) };
                Ok(Messages { joined, count, lengths })
            }
            None => {
                serde_json::from_str::<IgnoredAny>(text).map_err(|error| invalid(format_args!("{error}")))?;
                Ok(Messages { joined: Cow::Borrowed(text), count: 1, lengths: Vec::new() })
            }
        }
    }
}

/// Calls `visit` with each message of `joined`, in order, until it returns `false`.
pub fn each_message<'a>(joined: &'a str, visit: &mut dyn FnMut(&'a str) -> bool) {
    let mut rest = joined.trim_start_matches(is_json_whitespace);
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let Some(Ok(value)) = values.next() else { return };
        let end = values.byte_offset();
        if !visit(value.get()) {
            return;
        }
        rest = rest[end..].trim_start_matches(|c| c == ',' || is_json_whitespace(c));
    }
}

/// What is left of `joined` after its first `skip` messages.
pub fn after(joined: &str, skip: u64) -> &str {
    let mut left = skip;
    let mut rest = "";
    each_message(joined, &mut |message| {
        if left == 0 {
            rest = &joined[message.as_ptr() as usize - joined.as_ptr() as usize..];
            return false;
        }
        left -= 1;
        true
    });
    rest
}

/// The first messages of `joined`, so many.
pub fn first(joined: &str, count: u64) -> &str {
    let rest = after(joined, count);
    if rest.is_empty() {
        return joined;
    }
    joined[..joined.len() - rest.len()].trim_end_matches(|c| c == ',' || is_json_whitespace(c))
}

fn is_json_whitespace(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn invalid(why: fmt::Arguments<'_>) -> Refusal {
    Refusal::InvalidJson { why: why.to_string() }
}

fn rejoined(joined: &str) -> String {
    let mut text = String::with_capacity(joined.len());
    each_message(joined, &mut |message| {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(message);
        true
    });
    text
}

/// How many messages there are, and how many bytes they have, all and each.
#[derive(Default)]
struct Counted {
    count: u64,
    bytes: usize,
    lengths: Vec<u32>,
}

fn count_elements(text: &str) -> serde_json::Result<Counted> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let counted = deserializer.deserialize_seq(Count)?;
    deserializer.end()?;
    Ok(counted)
}

/// Counts without keeping the messages.
struct Count;

impl<'de> Visitor<'de> for Count {
    type Value = Counted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Counted, A::Error> {
        let mut counted = Counted::default();
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let length = element.get().len();
            counted.count += 1;
            counted.bytes += length;
            if counted.lengths.len() < LENGTHS_MAX {
                counted.lengths.push(length as u32);
            }
        }
        if counted.count as usize > LENGTHS_MAX {
            counted.lengths = Vec::new();
        }
        Ok(counted)
    }
}
