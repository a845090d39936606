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
            ForkRefusal::SourceNotFound => "There is no stream at Stream-Forked-From.".into(),
            ForkRefusal::SourceGone => {
                "The stream at Stream-Forked-From was deleted: only the forks it has stay.".into()
            }
            ForkRefusal::OffsetBeyond { tail } => format!(
                "Stream-Fork-Offset is none of the source's, whose tail is {tail}: use one that a response of it gave."
            ),
            ForkRefusal::OffsetBefore { start } => {
                format!("The source's data at Stream-Fork-Offset is gone; it now begins at {start}.")
            }
            ForkRefusal::SubOffsetBeyond { max } => {
                format!(
                    "Stream-Fork-Sub-Offset leads beyond the source's tail: it can be at most {max} here."
                )
            }
            ForkRefusal::ContentType { expected } => {
                format!("The source's Content-Type is {expected}: send that, or none.")
            }
            ForkRefusal::TooDeep => {
                "The source is a fork of forks of too many streams: copy it into a new stream first.".into()
            }
        }
    }
}
