//! A row of the hot log. Its key is `position << 4 | part`: a row begins at a position, and only a single JSON message larger than a
//! row goes on in further parts at the same position. Its `span` is how far it moves the position; of a message in parts only
//! the last part has one.

use super::{Column, Columns, Failure};

/// The largest body of a row. The platform's limit is 2 MB for the whole row.
pub const ROW_MAX_BYTES: usize = 1 << 20;
/// The largest append: as many parts as a key can tell apart.
pub const APPEND_MAX_BYTES: usize = ROW_MAX_BYTES << PART_BITS;
pub(super) const PART_BITS: u32 = 4;

/// What a read gets of a row.
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
