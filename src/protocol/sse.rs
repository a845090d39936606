//! Server-sent events (PROTOCOL.md 5.8), in a form that a browser's `EventSource` can read and resume.
//!
//! Both events of a pair carry `id: <next offset>`. So `Last-Event-ID` always names exactly the dispatched
//! data, wherever the connection breaks.

use std::io::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr2, memchr2_iter};
use serde::{Deserialize, Serialize};

use super::content_type::Format;
use super::json;
use super::offset::Offset;

/// The first line of each response: how long an `EventSource` waits before it reconnects, in milliseconds.
/// Chromium's default is 3 s, and Firefox waits at least 500 ms. The value decides how long readers are
/// disconnected at a recycle, and how often they retry while the server does not answer. It does not spread
/// load: readers whose responses end together also reconnect together.
pub const RETRY: &[u8] = b"retry: 1000\n";

/// A heartbeat: a comment, which readers ignore.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// The content of a control event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    /// The offset at which to continue.
    pub next: Offset,
    /// The cursor to echo; omitted if the stream is closed.
    pub cursor: u64,
    /// The response has reached the tail.
    pub up_to_date: bool,
    /// The stream is closed and this is its end.
    pub closed: bool,
}

/// Starts a line of JSON or base64. Readers drop one space after the colon, and hand-written parsers expect it.
const DATA: &[u8] = b"data: ";

/// Starts a line of text or of a control event. The official suite compares these without the space.
const BARE_DATA: &[u8] = b"data:";

/// The longest data event in bytes, including its framing, unless it has a single message: readers limit line
/// lengths.
pub const EVENT_MAX_BYTES: usize = 128 << 10;

/// The most framing of an event pair, in bytes: names, ids, the control event, and [`RETRY`].
pub const AROUND_DATA: usize = 512;

/// The most bytes in the lines of a data event.
const LINES_MAX_BYTES: usize = EVENT_MAX_BYTES - AROUND_DATA;

/// The most data between two marks, in bytes. Its lines fit into one event, whatever the content.
pub const GRAIN_BYTES: usize = LINES_MAX_BYTES / (1 + LINE_GROWTH_MAX);

/// The most bytes of events in one read, apart from [`AROUND_DATA`]; a single JSON message may exceed it.
pub const EVENTS_MAX_BYTES: usize = 6 << 20;

/// The most bytes that a line end adds: a field name, and an escaping space.
const LINE_GROWTH_MAX: usize = BARE_DATA.len() + 1;

/// The length of the replacement of invalid UTF-8, in bytes.
const REPLACEMENT_BYTES: usize = char::REPLACEMENT_CHARACTER.len_utf8();

/// A point in the data of a response where a message begins and an event may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// The index in the data, in bytes.
    pub at: usize,
    /// The offset in the stream.
    pub offset: Offset,
}

/// The events of a response's data. Each data event has its own control event, so a reader can resume after any
/// of them.
#[derive(Clone, Debug)]
pub struct Events<'d> {
    format: Format,
    data: &'d [u8],
    /// The beginnings of the data events.
    begins: Vec<Mark>,
    /// Upper bound of the bytes in the lines of the last event.
    last_bytes: usize,
    /// Upper bound of the bytes in the lines of all events.
    lines_bytes: usize,
}

impl<'d> Events<'d> {
    /// Divides data at some of the `marks`; without marks it stays in one piece. JSON data is an array of
    /// messages.
    pub fn of(format: Format, data: &'d [u8], marks: &[Mark]) -> Events<'d> {
        let mut events = Events { format, data, begins: Vec::new(), last_bytes: 0, lines_bytes: 0 };
        // Each grain of JSON has a bracket or comma on both sides.
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

    /// Adds the messages of a batch that is stored as one row.
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

    /// The beginnings of the data events.
    pub fn begins(&self) -> &[Mark] {
        &self.begins
    }

    /// Upper bound of the encoded size in bytes, without encoding anything.
    pub fn bytes_at_most(&self) -> usize {
        self.lines_bytes + AROUND_DATA * self.begins.len().max(1)
    }

    /// The amount of data that a read should return instead, in bytes, if the events of all data are too large.
    /// Events may exceed a chunk by half, which is enough for base64 and for all text except text of short
    /// lines.
    pub fn fewer_bytes(&self, chunk_max_bytes: usize) -> Option<usize> {
        let events_max_bytes = (chunk_max_bytes + chunk_max_bytes / 2).min(EVENTS_MAX_BYTES);
        if self.bytes_at_most() <= events_max_bytes + AROUND_DATA {
            return None;
        }
        // Two adjacent events together exceed one event's limit; otherwise they would be one event.
        let around = AROUND_DATA * (2 * events_max_bytes / LINES_MAX_BYTES);
        let fewer = match self.format {
            // JSON ends at a row or is one message, and its events add nothing to its size.
            Format::Json => return None,
            Format::Text => text_that_fits(self.data, events_max_bytes - around),
            Format::Binary => (events_max_bytes - around) / 4 * 3,
        };
        Some(fewer.max(char::MAX_LEN_UTF8))
    }

    /// Appends the events to `out`. The last control event is `control`; without data it is the only event.
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
            // The range includes the bracket or comma on both sides of the messages.
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

/// Upper bound of the bytes in the lines of some data. For JSON it is exact: the data plus the comma or bracket
/// after it.
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

/// Upper bound of the bytes in the lines of a text.
fn text_bytes(text: &str) -> usize {
    text.len() + LINE_GROWTH_MAX * memchr2_iter(b'\r', b'\n', text.as_bytes()).count()
}

/// The length of the longest prefix whose events have at most so many bytes.
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

/// Writes an array on one `data:` line. Line ends between tokens are insignificant white space; only streams
/// stored by old versions still have some.
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

/// Writes one `data:` line per line, whatever its line end, so that no content can end an event.
fn write_lines(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        let end = memchr2(b'\r', b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let line = &rest[..end];
        out.extend_from_slice(BARE_DATA);
        if line.starts_with(' ') {
            // Readers drop the first space.
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
