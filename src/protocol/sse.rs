//! Server-sent events (PROTOCOL.md 5.8): text that a browser's `EventSource` reads and resumes by itself.
//!
//! Both events carry `id: <next offset>`, so that wherever the connection breaks, `Last-Event-ID` names exactly
//! what was dispatched.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr2, memchr2_iter};

use super::content_type::Format;
use super::offset::Offset;

/// The first line of each response: how long an `EventSource` waits, in milliseconds, before it reconnects. Chromium
/// waits 3 s without it. All readers whose responses end together come back together, whatever the value; it decides how
/// long the gap at a recycle is, and how often each reader retries while nothing answers. Firefox waits 500 ms at least.
pub const RETRY: &[u8] = b"retry: 1000\n";

/// A comment, which readers ignore.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// What a control event says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    /// Where to read on.
    pub next: Offset,
    /// The cursor to echo; left out when the stream is closed.
    pub cursor: u64,
    /// Nothing more is there at this moment.
    pub up_to_date: bool,
    /// Nothing more will ever be.
    pub closed: bool,
}

/// Appends one data event and its control event, or the control event alone when there are no bytes.
/// JSON comes as an array of messages.
pub fn write_events(out: &mut Vec<u8>, format: Format, data: &[u8], control: Control) {
    if !data.is_empty() {
        out.reserve(bytes_at_most(format, data));
        out.extend_from_slice(b"event: data\n");
        match format {
            Format::Json => write_json(out, data),
            Format::Text => write_lines(out, &String::from_utf8_lossy(data)),
            Format::Binary => {
                out.extend_from_slice(DATA);
                out.extend_from_slice(STANDARD.encode(data).as_bytes());
                out.push(b'\n');
            }
        }
        write_id(out, control.next);
    }
    write_control(out, control);
}

/// Begins a line of data. No space follows: three tests of the official suite look for `data:` and the data right after it.
const DATA: &[u8] = b"data:";

/// What events have around their data, at most: names, ids, the control event, and [`RETRY`].
pub const AROUND_DATA: usize = 512;

/// How much the events of one read may have besides [`AROUND_DATA`], unless they are of one JSON message.
pub const EVENTS_MAX_BYTES: usize = 6 << 20;

/// How much a line end adds, at most: a field name, and a space before another one.
const LINE_GROWTH_MAX: usize = DATA.len() + 1;

/// What becomes of some bytes that are no UTF-8.
const REPLACEMENT_BYTES: usize = char::REPLACEMENT_CHARACTER.len_utf8();

/// How long the events of some data become, or less; nothing is written for that.
pub fn bytes_at_most(format: Format, data: &[u8]) -> usize {
    let events = match format {
        Format::Json => data.len(),
        Format::Text => match std::str::from_utf8(data) {
            Ok(text) => text_bytes(text),
            Err(_) => data.utf8_chunks().map(|chunk| text_bytes(chunk.valid()) + REPLACEMENT_BYTES).sum(),
        },
        Format::Binary => data.len().div_ceil(3) * 4,
    };
    events + AROUND_DATA
}

/// How long the lines of a text become, or less.
fn text_bytes(text: &str) -> usize {
    text.len() + LINE_GROWTH_MAX * memchr2_iter(b'\r', b'\n', text.as_bytes()).count()
}

/// How much of its data a read gives, if the events of all of it are too large. They may be half as long again as a chunk, which
/// is enough for base64 and for all text but that of short lines.
pub fn fewer_bytes(format: Format, data: &[u8], chunk_max_bytes: usize) -> Option<usize> {
    let events_max_bytes = (chunk_max_bytes + chunk_max_bytes / 2).min(EVENTS_MAX_BYTES);
    if bytes_at_most(format, data) <= events_max_bytes + AROUND_DATA {
        return None;
    }
    let fewer = match format {
        // It ends with a row or is one message, and events add nothing to it.
        Format::Json => return None,
        Format::Text => text_that_fits(data, events_max_bytes),
        Format::Binary => events_max_bytes / 4 * 3,
    };
    Some(fewer.max(char::MAX_LEN_UTF8))
}

/// How much of a text has events that are no longer than this.
fn text_that_fits(text: &[u8], events_max_bytes: usize) -> usize {
    let wide = if std::str::from_utf8(text).is_ok() { 1 } else { REPLACEMENT_BYTES };
    let mut left = events_max_bytes;
    let is_too_much = |byte: &u8| {
        let bytes = match byte {
            b'\r' | b'\n' => 1 + LINE_GROWTH_MAX,
            0x80.. => wide,
            _ => 1,
        };
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return true,
        }
        false
    };
    text.iter().position(is_too_much).unwrap_or(text.len())
}

/// How much of `text` ends with a whole character and no line feed is missing after a carriage return: a chunk is not cut
/// inside of these.
pub fn whole_characters(text: &[u8]) -> usize {
    match text.strip_suffix(b"\r") {
        Some(before) => before.len(),
        None => whole_of_last(text),
    }
}

fn whole_of_last(text: &[u8]) -> usize {
    match std::str::from_utf8(text) {
        Ok(_) => text.len(),
        // `error_len` is `None` only for an unfinished character at the very end.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => unfinished_suffix(text),
    }
}

/// Text that is not UTF-8 anyway: only its last few bytes decide.
fn unfinished_suffix(text: &[u8]) -> usize {
    let lead = text.iter().rev().take(3).position(|byte| *byte >= 0xC0);
    match lead {
        Some(back) => {
            let start = text.len() - back - 1;
            let unfinished =
                std::str::from_utf8(&text[start..]).is_err_and(|error| error.error_len().is_none());
            if unfinished { start } else { text.len() }
        }
        None => text.len(),
    }
}

/// One `data:` line. What the line ends of JSON are between is insignificant: streams that are older than their removal still
/// have some.
fn write_json(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(DATA);
    let mut rest = json;
    while let Some(end) = memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\n');
}

/// One `data:` line for each line, whatever ends it, so that no content can end an event.
fn write_lines(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        let end = memchr2(b'\r', b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let line = &rest[..end];
        out.extend_from_slice(DATA);
        if line.starts_with(' ') {
            // A reader drops one space after the colon.
            out.push(b' ');
        }
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        rest = match rest[end..].strip_prefix("\r\n").or_else(|| rest[end..].get(1..)) {
            Some(rest) => rest,
            None => return,
        };
    }
}

fn write_control(out: &mut Vec<u8>, control: Control) {
    let Control { next, cursor, up_to_date, closed } = control;
    let infallible = "writing to memory cannot fail";
    write!(out, "event: control\ndata:{{\"streamNextOffset\":\"{next}\"").expect(infallible);
    if !closed {
        write!(out, ",\"streamCursor\":\"{cursor}\"").expect(infallible);
    }
    if up_to_date {
        out.extend_from_slice(b",\"upToDate\":true");
    }
    if closed {
        out.extend_from_slice(b",\"streamClosed\":true");
    }
    out.extend_from_slice(b"}\n");
    write_id(out, next);
}

fn write_id(out: &mut Vec<u8>, next: Offset) {
    writeln!(out, "id: {next}\n").expect("writing to memory cannot fail");
}
