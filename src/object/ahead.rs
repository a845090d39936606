//! Encodes the tail's segment as it grows, so that its rotation reads nothing from the hot log and no append
//! waits for the encoding. This is an optimization: a segment that is not here is read from the hot log.

use std::cell::Cell;

use crate::protocol::content_type::Format;
use crate::protocol::offset::Offset;
use crate::storage::messages::is_one_row;
use crate::storage::segment_file::Writer;
use crate::stream::Stream;
use crate::stream::content::Content;

/// The most bytes that all objects of an isolate encode ahead together. Segments beyond that are read from
/// the hot log.
pub const AHEAD_MAX_BYTES: usize = 16 << 20;

thread_local! {
    static AHEAD_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// A segment from its first message up to `next`. Segment numbers are unique over all incarnations, so its
/// offsets identify it.
#[derive(Debug)]
struct Ahead {
    /// The offset of the next message.
    next: Offset,
    writer: Writer,
    /// The bytes that count towards [`AHEAD_MAX_BYTES`].
    counted: usize,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        AHEAD_BYTES.set(AHEAD_BYTES.get() - self.counted);
    }
}

impl Ahead {
    fn new(stream: &Stream, start: Offset) -> Ahead {
        let content_type = stream.content_type.as_str();
        let writer = Writer::new(content_type, start.segment, start.position);
        Ahead { next: start, writer, counted: 0 }
    }

    /// Adds an append, and returns whether that was possible.
    fn takes(&mut self, format: Format, content: &Content<'_>) -> bool {
        if !is_one_row(content) || AHEAD_BYTES.get() + content.bytes.len() > AHEAD_MAX_BYTES {
            return false;
        }
        if format == Format::Json && content.span > 1 {
            content.each_json_message(&mut |message| self.writer.push(message, 1));
        } else {
            self.writer.push(&content.bytes, content.span);
        }
        self.counted += content.bytes.len();
        AHEAD_BYTES.set(AHEAD_BYTES.get() + content.bytes.len());
        self.next.position += content.span;
        true
    }

    fn into_writer(mut self) -> Writer {
        std::mem::take(&mut self.writer)
    }
}

/// The segments of one stream that are encoded ahead.
#[derive(Debug, Default)]
pub(super) struct EncodedAhead {
    tail: Option<Ahead>,
    /// The oldest sealed segment. Segments sealed before its upload starts are read from the hot log.
    sealed: Option<Ahead>,
}

impl EncodedAhead {
    /// Adds an append after it was stored.
    pub(super) fn follow(&mut self, stream: &Stream, at: Offset, content: &Content<'_>) {
        let known = self.tail.take().filter(|known| known.next == at);
        let begun =
            known.or_else(|| (at == stream.segment_start(at.segment)).then(|| Ahead::new(stream, at)));
        let format = stream.content_type.format();
        let Some(ahead) = begun.and_then(|mut ahead| ahead.takes(format, content).then_some(ahead)) else {
            return;
        };
        if stream.tail.segment == at.segment {
            self.tail = Some(ahead);
        } else if self.sealed.is_none() {
            self.sealed = Some(ahead);
        }
    }

    /// Takes the segment that ends at `end` if it is complete, and drops it and all older ones.
    pub(super) fn take_whole(&mut self, end: Offset) -> Option<Writer> {
        let known = [&mut self.sealed, &mut self.tail];
        let due =
            known.into_iter().filter_map(|one| one.take_if(|one| one.next.segment <= end.segment)).last()?;
        (due.next == end).then(|| due.into_writer())
    }
}
