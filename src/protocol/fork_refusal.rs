//! Why a fork cannot be created (PROTOCOL.md 4.2, fork creation errors). The source's object decides, the fork's object answers.

use serde::{Deserialize, Serialize};

use super::offset::Offset;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ForkRefusal {
    /// There is no source.
    SourceNotFound,
    /// The source was deleted, and only its forks can still be read.
    SourceGone,
    /// The offset is not one of the source's.
    OffsetBeyond { tail: Offset },
    /// The offset is before the source's first message that is still there.
    OffsetBefore {
        /// Where the source begins.
        start: Offset,
    },
    /// The sub-offset leads beyond the tail.
    SubOffsetBeyond {
        /// The largest that there is.
        max: u64,
    },
    /// The PUT names another content type than the source's.
    ContentType { expected: String },
    /// The fork would inherit from too many streams.
    TooDeep,
}

impl ForkRefusal {
    /// A word for programs, stable between versions.
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

    /// A sentence for people: what to change.
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
