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
        out.reserve(data.len() + data.len() / 2);
        out.extend_from_slice(b"event: data\n");
        match format {
            Format::Json => write_lines(out, &String::from_utf8_lossy(data)),
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

/// How long the events of some data become, or less: each line has a field name, base64 is a third longer.
pub fn bytes_at_most(format: Format, data: &[u8]) -> usize {
    const AROUND_DATA: usize = 512;
    let events = match format {
        Format::Json | Format::Text => {
            let line_ends = data.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
            // What is not UTF-8 becomes a replacement character of three bytes, each byte of it.
            let characters = if std::str::from_utf8(data).is_ok() { data.len() } else { 3 * data.len() };
            // "data: " before each line.
            characters + 6 * line_ends
        }
        Format::Binary => data.len().div_ceil(3) * 4,
    };
    events + AROUND_DATA
}

/// How much of `text` ends with a whole character: a chunk is not cut inside one.
pub fn whole_characters(text: &[u8]) -> usize {
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
