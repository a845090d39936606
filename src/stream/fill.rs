//! How full a segment is.

use super::content::Content;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fill {
    /// A batch counts as one append: it is stored and read as one row.
    pub appends: u64,
    pub bytes: u64,
}

impl Fill {
    /// With one more append.
    pub fn with(self, content: &Content<'_>) -> Fill {
        let appends = self.appends + u64::from(content.span > 0);
        Fill { appends, bytes: self.bytes + content.bytes.len() as u64 }
    }
}
