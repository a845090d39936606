//! Encodes a segment as one immutable object in the bucket, and reads it. A reader fetches whole blocks and
//! verifies the checksum of each. Golden tests pin the format:
//!
//! ```text
//! header   "DSSEG" | version u8 | content type: length u16, text | readSeq u64 | first position u64
//!          | messages u32 | XXH64 of the header so far u64
//! messages each: length u32 | bytes
//! footer   blocks: first position u64 | begins at byte u64 | XXH64 of its bytes u64, each
//! trailer  end position u64 | number of blocks u32 | XXH64 of footer and trailer up to here u64 | "DSEND"
//! ```
//!
//! All numbers are big-endian, and the hash's seed is 0. A block ends with the message that fills
//! [`BLOCK_BYTES`]. A reader with the segment's row fetches blocks at once. A reader without it fetches the
//! end of the object first.

use std::ops::Range;

use twox_hash::XxHash64;

use super::Failure;
use super::bytes::Bytes;
use super::chunk::{Chunk, Marks};
use super::run::Run;
use crate::protocol::content_type::Format;
use crate::protocol::offset::Offset;
use crate::protocol::sse::Mark;

/// The version that this code writes, and the only one it reads: no build since schema version 7 has written
/// another. A build that raises it must still read this one.
pub const VERSION: u8 = 2;
/// The size at which a block is full, in bytes. A read that begins inside a segment fetches less than this
/// for nothing.
pub const BLOCK_BYTES: usize = 64 << 10;

/// The upper bound of an object, in bytes: 16 MiB that do not fill a segment and an append of 16 MiB, all in
/// messages of one byte. Each message has four more bytes for its length.
const OBJECT_MAX_BYTES: usize = ((16 + 16) * 5) << 20;
const MAGIC: &[u8] = b"DSSEG";
const END: &[u8] = b"DSEND";
const ENTRY_BYTES: usize = 8 + 8 + 8;
const TRAILER_BYTES: usize = 8 + 4 + 8 + END.len();
/// How much of an object's end contains its whole footer, in bytes: an entry for each full block, and one for
/// the last.
pub const ENDING_BYTES: u64 =
    (OBJECT_MAX_BYTES / BLOCK_BYTES * ENTRY_BYTES + ENTRY_BYTES + TRAILER_BYTES) as u64;
const SEED: u64 = 0;
const COUNT_AND_SUM_BYTES: usize = 4 + 8;

/// A sequence of whole messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// The position of the first message.
    pub position: u64,
    /// The byte of the object at which the block begins.
    pub at_byte: u64,
    /// The XXH64 hash of the block's bytes.
    pub checksum: u64,
}

/// Where the blocks of an object are. The segment's row stores it, so that a read takes one request to the
/// bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    pub blocks: Vec<Block>,
    /// The byte after the last block.
    pub end_byte: u64,
}

/// The header of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub content_type: String,
    pub segment: u64,
    /// The position of the first message.
    pub first_position: u64,
    /// The number of messages.
    pub message_count: u32,
}

/// An encoded object, ready for upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// The header, the blocks and the footer. They are not joined, because that would copy the whole object.
    pub pieces: Vec<Vec<u8>>,
    pub index: Index,
    /// The number of messages.
    pub message_count: u64,
}

impl Encoded {
    pub fn object_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// Encodes an object message by message.
#[derive(Debug, Default)]
pub struct Writer {
    /// The header and the full blocks.
    pieces: Vec<Vec<u8>>,
    blocks: Vec<Block>,
    /// The block that is not full yet.
    block: Vec<u8>,
    block_begins: u64,
    block_position: u64,
    position: u64,
    message_count: u32,
}

impl Writer {
    /// Begins the object of a segment. `content_type` has at most 1,024 bytes.
    pub fn new(content_type: &str, segment: u64, first_position: u64) -> Writer {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        let length = u16::try_from(content_type.len()).expect("a content type is at most 1,024 bytes");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(content_type.as_bytes());
        bytes.extend_from_slice(&segment.to_be_bytes());
        bytes.extend_from_slice(&first_position.to_be_bytes());
        bytes.extend_from_slice(&[0; COUNT_AND_SUM_BYTES]);
        Writer {
            block_begins: bytes.len() as u64,
            pieces: vec![bytes],
            blocks: Vec::new(),
            block: Vec::new(),
            block_position: first_position,
            position: first_position,
            message_count: 0,
        }
    }

    /// Adds a message of at most 16 MiB that moves the position by `span`.
    pub fn push(&mut self, message: &[u8], span: u64) {
        let length = u32::try_from(message.len()).expect("a message is at most 16 MiB");
        self.block.extend_from_slice(&length.to_be_bytes());
        self.block.extend_from_slice(message);
        self.position += span;
        self.message_count += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let block = std::mem::take(&mut self.block);
        let checksum = XxHash64::oneshot(SEED, &block);
        self.blocks.push(Block { position: self.block_position, at_byte: self.block_begins, checksum });
        self.block_begins += block.len() as u64;
        self.block_position = self.position;
        self.pieces.push(block);
    }

    pub fn finish(mut self) -> Encoded {
        self.end_block();
        let header = &mut self.pieces[0];
        let count_at = header.len() - COUNT_AND_SUM_BYTES;
        header[count_at..count_at + 4].copy_from_slice(&self.message_count.to_be_bytes());
        let checksum = XxHash64::oneshot(SEED, &header[..count_at + 4]);
        header[count_at + 4..].copy_from_slice(&checksum.to_be_bytes());
        let index = Index { blocks: self.blocks, end_byte: self.block_begins };
        let mut footer = encode_blocks(&index.blocks);
        footer.extend_from_slice(&self.position.to_be_bytes());
        footer.extend_from_slice(&(index.blocks.len() as u32).to_be_bytes());
        let checksum = XxHash64::oneshot(SEED, &footer);
        footer.extend_from_slice(&checksum.to_be_bytes());
        footer.extend_from_slice(END);
        self.pieces.push(footer);
        Encoded { pieces: self.pieces, index, message_count: self.message_count.into() }
    }
}

fn encode_blocks(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(blocks.len() * ENTRY_BYTES);
    for block in blocks {
        bytes.extend_from_slice(&block.position.to_be_bytes());
        bytes.extend_from_slice(&block.at_byte.to_be_bytes());
        bytes.extend_from_slice(&block.checksum.to_be_bytes());
    }
    bytes
}

fn decode_blocks(bytes: &[u8]) -> Option<Vec<Block>> {
    let entries = bytes.chunks_exact(ENTRY_BYTES);
    if !entries.remainder().is_empty() {
        return None;
    }
    entries
        .map(|entry| {
            let mut entry = Bytes(entry);
            Some(Block { position: entry.u64()?, at_byte: entry.u64()?, checksum: entry.u64()? })
        })
        .collect()
}

impl Index {
    /// Encodes the index for the segment's row: the version, the end of the last block, and the blocks as in
    /// the object.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.end_byte.to_be_bytes());
        bytes.extend_from_slice(&encode_blocks(&self.blocks));
        bytes
    }

    /// Decodes the index in a segment's row. Fails if it is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Index, Failure> {
        let malformed = || Failure::new("read segment", "its row's index is malformed");
        let mut rest = Bytes(bytes);
        check_version(rest.u8().ok_or_else(malformed)?)?;
        let end_byte = rest.u64().ok_or_else(malformed)?;
        let blocks = decode_blocks(rest.0).filter(|blocks| !blocks.is_empty()).ok_or_else(malformed)?;
        Ok(Index { blocks, end_byte })
    }

    /// The range of bytes to fetch for a read from a position: whole blocks with about `max_bytes` from there
    /// on.
    pub fn range(&self, format: Format, position: u64, max_bytes: usize) -> Range<u64> {
        let first = self.blocks.partition_point(|block| block.position <= position).saturating_sub(1);
        let begins = self.blocks[first].at_byte;
        // Bytes before the position do not count. Their number is known only if positions are bytes.
        let before = match format {
            Format::Json => 0,
            Format::Text | Format::Binary => position - self.blocks[first].position.min(position),
        };
        let enough = begins + before + max_bytes as u64;
        let ends = self.blocks[first + 1..].iter().map(|block| block.at_byte).find(|at| *at >= enough);
        begins..ends.unwrap_or(self.end_byte)
    }

    /// Reads messages from fetched blocks, which begin at byte `begins` of the object. Bytes end at about
    /// `max_bytes`, as in the hot log, or with the blocks; JSON ends with a message. The read never goes
    /// beyond position `until`. Fails if a block is damaged.
    pub fn read(
        &self,
        format: Format,
        from: Offset,
        until: u64,
        begins: u64,
        bytes: &[u8],
        max_bytes: usize,
    ) -> Result<Chunk, Failure> {
        if format != Format::Json {
            let mut run = Run::new(format, from, until, max_bytes);
            self.each_message(format, begins, bytes, |position, message| run.take(position, message))?;
            return Ok(run.finish());
        }
        let mut body = Vec::with_capacity(bytes.len().min(max_bytes) + 1);
        let (mut next, mut marks) = (from, Marks::default());
        self.each_message(format, begins, bytes, |position, message| {
            if position < from.position {
                return true;
            }
            let is_enough = !body.is_empty() && body.len() + message.len() > max_bytes;
            if is_enough || position >= until {
                return false;
            }
            body.push(if body.is_empty() { b'[' } else { b',' });
            let offset = Offset { position, ..from };
            marks.begins(Mark { at: body.len(), offset }, message.len(), true);
            body.extend_from_slice(message);
            next.position = position + 1;
            true
        })?;
        body.push(b']');
        Ok(Chunk { marks: marks.finish(body.len()), body, next })
    }

    /// Visits the messages of fetched blocks with their positions until a visit returns `false`. Each block's
    /// checksum is verified before its messages are visited; fails if a block is damaged.
    pub fn each_message(
        &self,
        format: Format,
        begins: u64,
        bytes: &[u8],
        mut visit: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Failure> {
        let first = self.blocks.partition_point(|block| block.at_byte < begins);
        let mut rest = bytes;
        for (at, block) in self.blocks.iter().enumerate().skip(first) {
            if rest.is_empty() {
                break;
            }
            let end = self.blocks.get(at + 1).map_or(self.end_byte, |next| next.at_byte);
            let length = (end - block.at_byte) as usize;
            let (block_bytes, after) =
                rest.split_at_checked(length).ok_or_else(|| damaged("a block is cut off"))?;
            if XxHash64::oneshot(SEED, block_bytes) != block.checksum {
                return Err(damaged("a block's checksum is wrong"));
            }
            if !each_of_block(format, block.position, block_bytes, &mut visit)? {
                return Ok(());
            }
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(damaged("there are bytes after the last block")) }
    }
}

fn each_of_block(
    format: Format,
    position: u64,
    block: &[u8],
    visit: &mut impl FnMut(u64, &[u8]) -> bool,
) -> Result<bool, Failure> {
    let mut position = position;
    let mut rest = Bytes(block);
    while !rest.0.is_empty() {
        let length = rest.u32().ok_or_else(|| damaged("a length is cut off"))?;
        let message = rest.take(length as usize).ok_or_else(|| damaged("a message is cut off"))?;
        if !visit(position, message) {
            return Ok(false);
        }
        position += match format {
            Format::Json => 1,
            Format::Text | Format::Binary => message.len() as u64,
        };
    }
    Ok(true)
}

/// Reads the index, and the position after the last message, from the end of an object. `ending` is the last
/// [`ENDING_BYTES`] of the object or more, or all of it. Fails if the footer is damaged.
pub fn parse_ending(ending: &[u8], object_bytes: u64) -> Result<(Index, u64), Failure> {
    let cut_off = || damaged("it is cut off");
    let trailer_at = ending.len().checked_sub(TRAILER_BYTES).ok_or_else(cut_off)?;
    let mut trailer = Bytes(&ending[trailer_at..]);
    let (end_position, count) = trailer.u64().zip(trailer.u32()).ok_or_else(cut_off)?;
    let checksum = trailer.u64().ok_or_else(cut_off)?;
    if trailer.0 != END {
        return Err(damaged("it does not end with DSEND"));
    }
    let footer_bytes = count as usize * ENTRY_BYTES;
    let ending_bytes = (footer_bytes + TRAILER_BYTES) as u64;
    let footer_at = trailer_at.checked_sub(footer_bytes).filter(|_| ending_bytes <= object_bytes);
    let footer_at = footer_at.ok_or_else(|| damaged("its footer is larger than it is"))?;
    if XxHash64::oneshot(SEED, &ending[footer_at..trailer_at + 8 + 4]) != checksum {
        return Err(damaged("the checksum of its footer is wrong"));
    }
    let blocks = decode_blocks(&ending[footer_at..trailer_at]).filter(|blocks| !blocks.is_empty());
    let blocks = blocks.ok_or_else(|| damaged("its footer is malformed"))?;
    Ok((Index { blocks, end_byte: object_bytes - ending_bytes }, end_position))
}

/// Reads the header and the footer of a whole object. Fails if either is damaged.
pub fn parse(object: &[u8]) -> Result<(Header, Index), Failure> {
    let header = parse_header(object)?;
    let (index, _) = parse_ending(object, object.len() as u64)?;
    Ok((header, index))
}

fn parse_header(object: &[u8]) -> Result<Header, Failure> {
    let cut_off = || damaged("its header is cut off");
    let mut rest = Bytes(object);
    if rest.take(MAGIC.len()).ok_or_else(cut_off)? != MAGIC {
        return Err(damaged("it does not begin with DSSEG"));
    }
    check_version(rest.u8().ok_or_else(cut_off)?)?;
    let length = rest.u16().ok_or_else(cut_off)?;
    let content_type = std::str::from_utf8(rest.take(length.into()).ok_or_else(cut_off)?)
        .map_err(|_| damaged("its content type is not UTF-8 text"))?;
    let header = Header {
        content_type: content_type.to_owned(),
        segment: rest.u64().ok_or_else(cut_off)?,
        first_position: rest.u64().ok_or_else(cut_off)?,
        message_count: rest.u32().ok_or_else(cut_off)?,
    };
    let hashed = object.len() - rest.0.len();
    if rest.u64().ok_or_else(cut_off)? != XxHash64::oneshot(SEED, &object[..hashed]) {
        return Err(damaged("the checksum of its header is wrong"));
    }
    Ok(header)
}

fn check_version(version: u8) -> Result<(), Failure> {
    if version == VERSION {
        return Ok(());
    }
    Err(Failure::new("read segment", format_args!("it has version {version}, this reads version {VERSION}")))
}

fn damaged(why: &str) -> Failure {
    Failure::new("read segment", why)
}
