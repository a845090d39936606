//! Orphans: objects of the bucket that look like this stream's segments and that it does not know.
//!
//! It knows each segment that has a row, of whatever life, and each from the first of its life on: that may be on its way
//! at this moment. A segment number never comes again, so what is an orphan stays one, unless somebody took the stream's
//! storage away or brought an older one back. Hence nothing goes to the bucket while orphans are deleted there.

use super::live::Sockets;
use super::ports::Ports;
use super::state::Object;
use crate::storage::segments::{self, parse_key};
use crate::storage::{Failure, schema};
use crate::stream::Life;

impl Object {
    /// Which of these keys the stream at `path` does not know.
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
            let others = || Failure::new("look for orphans", format_args!("{key} is another stream's"));
            let (_, incarnation, segment) = named.ok_or_else(others)?;
            let row = if has_rows { segments::incarnation(ports.sql, segment)? } else { None };
            if row != Some(incarnation) && !is_ahead(life, incarnation, segment) {
                orphans.push(key.clone());
            }
        }
        Ok(orphans)
    }

    /// The same, to delete them: until [`Object::swept`] nothing goes to the bucket.
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

    /// They have been deleted, or that has failed.
    pub fn swept(&mut self) {
        self.rotation.swept();
    }
}

/// Whether the stream may have put that segment there, or may yet.
fn is_ahead(life: &Life, incarnation: u64, segment: u64) -> bool {
    match life {
        Life::Live(stream) | Life::Gone(stream) => {
            stream.incarnation == incarnation && segment >= stream.first_segment
        }
        Life::Unborn | Life::Ended(_) => false,
    }
}
