//! The fill level of a segment, which decides when it is sealed.

use super::content::Content;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fill {
    /// A batch counts as one append, because it is stored and read as one row.
    pub appends: u64,
    pub bytes: u64,
}

impl Fill {
    /// The fill level after one more append.
    pub fn with(self, content: &Content<'_>) -> Fill {
        let appends = self.appends + u64::from(content.span > 0);
        Fill { appends, bytes: self.bytes + content.bytes.len() as u64 }
    }
}
