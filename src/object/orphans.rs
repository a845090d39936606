//! Finds orphans: objects in the bucket whose keys name this stream but that the stream does not know.
//!
//! A stream knows every segment that has a row, of any incarnation. It also knows every segment from its
//! first one on, because that may be uploading now. Segment numbers are never reused, so an orphan stays one,
//! unless an operator deletes or restores the stream's storage. For that case, no upload starts while orphans
//! are deleted.

use super::live::Sockets;
use super::ports::Ports;
use super::state::Object;
use crate::storage::segments::{self, parse_key};
use crate::storage::{Failure, schema};
use crate::stream::Life;

impl Object {
    /// Returns those of `keys` that the stream at `path` does not know. Fails if a key names another stream.
    pub(super) fn orphans<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        keys: &[String],
    ) -> Result<Vec<String>, Failure> {
        let has_rows = schema::has_table(ports.sql, schema::SEGMENTS)?;
        let life = self.load(ports.sql)?;
        let mut orphans = Vec::new();
        for key in keys {
            let named = parse_key(key).filter(|(of, _, _)| of.as_str() == path);
            let others = || Failure::new("look for orphans", format_args!("{key} belongs to another stream"));
            let (_, incarnation, segment) = named.ok_or_else(others)?;
            let row = if has_rows { segments::incarnation(ports.sql, segment)? } else { None };
            if row != Some(incarnation) && !is_ahead(life, incarnation, segment) {
                orphans.push(key.clone());
            }
        }
        Ok(orphans)
    }

    /// Like `orphans`, for a caller that deletes them. No bucket effect starts until [`Object::swept`].
    pub(super) fn sweep<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        keys: &[String],
    ) -> Result<Vec<String>, Failure> {
        let orphans = self.orphans(ports, path, keys)?;
        self.rotation.sweep();
        Ok(orphans)
    }

    /// The caller has deleted the orphans, or failed to.
    pub fn swept(&mut self) {
        self.rotation.swept();
    }
}

/// Whether the stream may have uploaded the segment, or may do so later.
fn is_ahead(life: &Life, incarnation: u64, segment: u64) -> bool {
    match life {
        Life::Live(stream) | Life::Gone(stream) => {
            stream.incarnation == incarnation && segment >= stream.first_segment
        }
        Life::Unborn | Life::Ended(_) => false,
    }
}
