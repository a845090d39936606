//! Defines a row of the hot log. Its key is `position << 4 | part`. A row begins at a position; only a single
//! JSON message larger than a row continues in further parts at the same position. `span` is how far the row
//! moves the position: of a message in parts, only the last part has a nonzero span.

use super::{Column, Columns, Failure};

/// The largest body of a row, in bytes. The platform limits the whole row to 2 MB.
pub const ROW_MAX_BYTES: usize = 1 << 20;
/// The largest append, in bytes: a key can number 16 parts.
pub const APPEND_MAX_BYTES: usize = ROW_MAX_BYTES << PART_BITS;
pub(super) const PART_BITS: u32 = 4;

/// The columns of a row that a read needs.
pub(super) struct MessageRow {
    pub(super) position: u64,
    pub(super) part: u64,
    pub(super) span: u64,
    pub(super) bytes: Vec<u8>,
}

impl MessageRow {
    pub(super) fn key(&self) -> u64 {
        self.position << PART_BITS | self.part
    }

    pub(super) fn decode(row: Vec<Column>) -> Result<MessageRow, Failure> {
        let mut columns = Columns::new("messages", row);
        let key = columns.integer()?;
        Ok(MessageRow {
            position: key >> PART_BITS,
            part: key & ((1 << PART_BITS) - 1),
            span: columns.integer()?,
            bytes: columns.blob()?,
        })
    }
}
