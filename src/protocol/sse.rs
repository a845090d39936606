//! Server-sent events (PROTOCOL.md 5.8): text that a browser's `EventSource` reads and resumes by itself.
//!
//! Both events carry `id: <next offset>`, so that wherever the connection breaks, `Last-Event-ID` names exactly
//! what was dispatched.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::content_type::Format;
use super::offset::Offset;

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
                out.extend_from_slice(b"data:");
                out.extend_from_slice(STANDARD.encode(data).as_bytes());
                out.push(b'\n');
            }
        }
        write_id(out, control.next);
    }
    write_control(out, control);
}

/// What events have around their data, at most: names, ids, and the control event.
pub const AROUND_DATA: usize = 512;

/// How much the events of one read may have besides [`AROUND_DATA`], unless they are of one JSON message.
pub const EVENTS_MAX_BYTES: usize = 6 << 20;

/// How long a byte of text becomes in an event, at most: a line feed is `data:` and a line feed. A byte that is no UTF-8
/// becomes a replacement character of three.
const TEXT_GROWTH_MAX: usize = 6;

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

/// How long the lines of a text become, or less: a field name for each, and a space before another one.
fn text_bytes(text: &str) -> usize {
    let text = text.as_bytes();
    let line_ends = text.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
    let is_indented = |pair: &&[u8]| matches!(pair, [b'\r' | b'\n', b' ']);
    text.len() + 5 * line_ends + if line_ends == 0 { 0 } else { text.windows(2).filter(is_indented).count() }
}

/// How much a read takes of the stream instead, if the events of what it has taken are too large: it fits whatever it is.
/// Events may be half as long again as a chunk, which is enough for base64 and for all text but that of very short lines.
pub fn fewer_bytes(format: Format, data: &[u8], chunk_max_bytes: usize) -> Option<usize> {
    let events_max_bytes = (chunk_max_bytes + chunk_max_bytes / 2).min(EVENTS_MAX_BYTES);
    let fewer = match format {
        // It ends with a row or is one message, and events add nothing to it.
        Format::Json => return None,
        Format::Text => events_max_bytes / TEXT_GROWTH_MAX,
        Format::Binary => events_max_bytes / 4 * 3,
    };
    let is_too_large = bytes_at_most(format, data) > events_max_bytes + AROUND_DATA;
    is_too_large.then(|| fewer.max(char::MAX_LEN_UTF8))
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
    out.extend_from_slice(b"data:");
    for piece in json.split(|byte| matches!(byte, b'\r' | b'\n')) {
        out.extend_from_slice(piece);
    }
    out.push(b'\n');
}

/// One `data:` line for each line, whatever ends it, so that no content can end an event.
fn write_lines(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        let end = rest.find(['\r', '\n']).unwrap_or(rest.len());
        let line = &rest[..end];
        out.extend_from_slice(b"data:");
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
