//! The reasons for refusing a fork (PROTOCOL.md 4.2, fork creation errors). The source's object decides, and
//! the fork's object answers the client.

use serde::{Deserialize, Serialize};

use super::offset::Offset;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ForkRefusal {
    /// The source does not exist.
    SourceNotFound,
    /// The source was deleted, and only its existing forks can be read.
    SourceGone,
    /// The offset is past the source's tail, or is no offset of the source.
    OffsetBeyond { tail: Offset },
    /// The offset is before the source's first retained message.
    OffsetBefore {
        /// The first offset of the source.
        start: Offset,
    },
    /// The sub-offset ends after the tail.
    SubOffsetBeyond {
        /// The largest possible sub-offset.
        max: u64,
    },
    /// The PUT names a content type that differs from the source's.
    ContentType { expected: String },
    /// The fork would inherit from more than [`OWNERS_MAX`](super::fork::OWNERS_MAX) streams.
    TooDeep,
}

impl ForkRefusal {
    /// A stable error code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            ForkRefusal::SourceNotFound => "source_not_found",
            ForkRefusal::SourceGone => "source_gone",
            ForkRefusal::OffsetBeyond { .. } => "fork_offset_beyond_tail",
            ForkRefusal::OffsetBefore { .. } => "fork_offset_gone",
            ForkRefusal::SubOffsetBeyond { .. } => "fork_sub_offset_beyond_tail",
            ForkRefusal::ContentType { .. } => "content_type_mismatch",
            ForkRefusal::TooDeep => "fork_too_deep",
        }
    }

    /// A sentence that says what to change.
    pub fn message(&self) -> String {
        match self {
            ForkRefusal::SourceNotFound => {
                "There is no stream at Stream-Forked-From: create it, or correct the path.".into()
            }
            ForkRefusal::SourceGone => {
                "The stream at Stream-Forked-From was deleted and only its forks remain: fork one of them."
                    .into()
            }
            ForkRefusal::OffsetBeyond { tail } => format!(
                "Stream-Fork-Offset is not an offset of the source, whose tail is {tail}: use one from a response of the source."
            ),
            ForkRefusal::OffsetBefore { start } => {
                format!(
                    "The source no longer has the data at Stream-Fork-Offset: use {start} or a later offset."
                )
            }
            ForkRefusal::SubOffsetBeyond { max } => {
                format!("Stream-Fork-Sub-Offset leads past the source's tail: use at most {max}.")
            }
            ForkRefusal::ContentType { expected } => {
                format!("The source's Content-Type is {expected}: send that, or none.")
            }
            ForkRefusal::TooDeep => {
                "The chain of forks is too long: copy the source into a new stream, and fork that one.".into()
            }
        }
    }
}
