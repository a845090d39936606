//! Server-sent events (PROTOCOL.md 5.8): text that a browser's `EventSource` reads and resumes by itself.
//!
//! Both events carry `id: <next offset>`, so that wherever the connection breaks, `Last-Event-ID` names exactly
//! what was dispatched.

use std::io::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr2, memchr2_iter};
use serde::{Deserialize, Serialize};

use super::content_type::Format;
use super::json;
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
    /// The response has reached the tail.
    pub up_to_date: bool,
    /// The stream is closed and this is its end.
    pub closed: bool,
}

/// Begins a line of JSON or base64. A reader drops one space after the colon, and parsers written by hand expect one.
const DATA: &[u8] = b"data: ";

/// Begins a line of text, and that of a control event: the official suite compares them as text without a space.
const BARE_DATA: &[u8] = b"data:";

/// How long a data event is at most, with all that is around its data, unless it is of a single message: readers limit lines.
pub const EVENT_MAX_BYTES: usize = 128 << 10;

/// What an event pair has around its data, at most: names, ids, the control event, and [`RETRY`].
pub const AROUND_DATA: usize = 512;

/// How long the lines of a data event are at most.
const LINES_MAX_BYTES: usize = EVENT_MAX_BYTES - AROUND_DATA;

/// The most data between two marks. Its lines fit into an event, whatever the data is.
pub const GRAIN_BYTES: usize = LINES_MAX_BYTES / (1 + LINE_GROWTH_MAX);

/// How much the events of one read may have besides [`AROUND_DATA`], unless they are of one JSON message.
pub const EVENTS_MAX_BYTES: usize = 6 << 20;

/// How much a line end adds, at most: a field name, and a space before another one.
const LINE_GROWTH_MAX: usize = BARE_DATA.len() + 1;

/// The length of what replaces bytes that are not UTF-8.
const REPLACEMENT_BYTES: usize = char::REPLACEMENT_CHARACTER.len_utf8();

/// A place in the data of a response where a message begins and an event may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// After how many bytes of the data.
    pub at: usize,
    /// Where in the stream.
    pub offset: Offset,
}

/// The events that some data becomes: each data event is followed by its control event, so that a reader resumes after any.
#[derive(Clone, Debug)]
pub struct Events<'d> {
    format: Format,
    data: &'d [u8],
    /// Where each data event begins.
    begins: Vec<Mark>,
    /// How long the lines of the last one become, or less.
    last_bytes: usize,
    /// The same of all.
    lines_bytes: usize,
}

impl<'d> Events<'d> {
    /// Divides data, of which `marks` say where it may be taken apart; without any it stays in one piece. JSON comes as an array
    /// of messages.
    pub fn of(format: Format, data: &'d [u8], marks: &[Mark]) -> Events<'d> {
        let mut events = Events { format, data, begins: Vec::new(), last_bytes: 0, lines_bytes: 0 };
        // A bracket or comma before and after each grain.
        let around = usize::from(format == Format::Json);
        if marks.is_empty() && !data.is_empty() {
            let unused = Offset::segment_start(0);
            events.add(Mark { at: around, offset: unused }, lines_at_most(format, data));
        }
        for (n, mark) in marks.iter().enumerate() {
            let end = marks.get(n + 1).map_or(data.len(), |next| next.at);
            let grain = &data[mark.at..end - around];
            let bytes = lines_at_most(format, grain);
            if bytes > LINES_MAX_BYTES && format == Format::Json {
                events.add_each(*mark, grain);
            } else {
                events.add(*mark, bytes);
            }
        }
        events
    }

    /// Adds the messages of a batch that is stored as one.
    fn add_each(&mut self, mut mark: Mark, batch: &[u8]) {
        json::each_message(batch, &mut |message| {
            let bytes = lines_at_most(Format::Json, message);
            self.add(mark, bytes);
            mark.at += bytes;
            mark.offset.position += 1;
            true
        });
    }

    fn add(&mut self, mark: Mark, bytes: usize) {
        if self.begins.is_empty() || self.last_bytes + bytes > LINES_MAX_BYTES {
            self.begins.push(mark);
            self.last_bytes = 0;
        }
        self.last_bytes += bytes;
        self.lines_bytes += bytes;
    }

    /// Where each data event begins.
    pub fn begins(&self) -> &[Mark] {
        &self.begins
    }

    /// How long they become, or less; nothing is written for that.
    pub fn bytes_at_most(&self) -> usize {
        self.lines_bytes + AROUND_DATA * self.begins.len().max(1)
    }

    /// How much of its data a read gives, if the events of all of it are too large. They may be half as long again as a chunk,
    /// which is enough for base64 and for all text but that of short lines.
    pub fn fewer_bytes(&self, chunk_max_bytes: usize) -> Option<usize> {
        let events_max_bytes = (chunk_max_bytes + chunk_max_bytes / 2).min(EVENTS_MAX_BYTES);
        if self.bytes_at_most() <= events_max_bytes + AROUND_DATA {
            return None;
        }
        // Two neighbours would not fit into one event, or they would be one.
        let around = AROUND_DATA * (2 * events_max_bytes / LINES_MAX_BYTES);
        let fewer = match self.format {
            // It ends with a row or is one message, and events add nothing to it.
            Format::Json => return None,
            Format::Text => text_that_fits(self.data, events_max_bytes - around),
            Format::Binary => (events_max_bytes - around) / 4 * 3,
        };
        Some(fewer.max(char::MAX_LEN_UTF8))
    }

    /// Appends them; `control` is what the last one says. Without data that is the only event.
    pub fn write(&self, out: &mut Vec<u8>, control: Control) {
        out.reserve(self.bytes_at_most());
        for (n, begin) in self.begins.iter().enumerate() {
            let after = self.begins.get(n + 1);
            let end = after.map_or(self.data.len(), |after| after.at);
            let said = after.map_or(control, |after| Control {
                next: after.offset,
                up_to_date: false,
                closed: false,
                ..control
            });
            self.write_data(out, begin.at..end);
            write_id(out, said.next);
            write_control(out, said);
        }
        if self.begins.is_empty() {
            write_control(out, control);
        }
    }

    fn write_data(&self, out: &mut Vec<u8>, range: Range<usize>) {
        out.extend_from_slice(b"event: data\n");
        match self.format {
            // The bracket or comma before and after it is not the event's.
            Format::Json => write_json(out, &self.data[range.start..range.end - 1]),
            Format::Text => write_lines(out, &String::from_utf8_lossy(&self.data[range])),
            Format::Binary => {
                out.extend_from_slice(DATA);
                out.extend_from_slice(STANDARD.encode(&self.data[range]).as_bytes());
                out.push(b'\n');
            }
        }
    }
}

/// How long the lines of some data become, or less. Of JSON they are as long as the data and the comma or bracket after it.
fn lines_at_most(format: Format, data: &[u8]) -> usize {
    match format {
        Format::Json => data.len() + 1,
        Format::Text => match std::str::from_utf8(data) {
            Ok(text) => text_bytes(text),
            Err(_) => data.utf8_chunks().map(|chunk| text_bytes(chunk.valid()) + REPLACEMENT_BYTES).sum(),
        },
        Format::Binary => data.len().div_ceil(3) * 4,
    }
}

/// How long the lines of a text become, or less.
fn text_bytes(text: &str) -> usize {
    text.len() + LINE_GROWTH_MAX * memchr2_iter(b'\r', b'\n', text.as_bytes()).count()
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

/// One `data:` line, an array. What the line ends of JSON are between is insignificant: streams that are older than their removal
/// still have some.
fn write_json(out: &mut Vec<u8>, messages: &[u8]) {
    out.extend_from_slice(DATA);
    out.push(b'[');
    let mut rest = messages;
    while let Some(end) = memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"]\n");
}

/// One `data:` line for each line, whatever ends it, so that no content can end an event.
fn write_lines(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        let end = memchr2(b'\r', b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let line = &rest[..end];
        out.extend_from_slice(BARE_DATA);
        if line.starts_with(' ') {
            // The one that a reader drops.
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
    out.extend_from_slice(b"event: control\n");
    out.extend_from_slice(BARE_DATA);
    write!(out, "{{\"streamNextOffset\":\"{next}\"").expect(infallible);
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
