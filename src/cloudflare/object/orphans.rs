//! Orphans, the objects' part: which keys a stream does not know, and their deletion.

use std::rc::Rc;

use super::stream_object::ObjectHost;
use crate::cloudflare::telemetry;
use crate::object::{Object, Ports};
use crate::storage::Failure;

impl ObjectHost {
    /// The object's part: which of these keys it does not know; with `deletes` it deletes them.
    pub(super) async fn orphans(
        self: &Rc<Self>,
        keys: Vec<String>,
        deletes: bool,
    ) -> Result<Vec<String>, Failure> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let (path, none) = (self.name(), || Failure::new("delete orphans", "there is no bucket"));
        let bucket = self.bucket.as_ref().ok_or_else(none)?;
        let decide = if deletes { Object::sweep } else { Object::orphans };
        let orphans = decide(&mut self.object.borrow_mut(), &ports, &path, keys)?;
        if self.config.debug {
            let event = if deletes { "swept" } else { "audited" };
            telemetry::worked(&path, event, None, self.sql.take_row_counts());
        }
        if !deletes {
            return Ok(orphans);
        }
        // One page has fewer than the platform deletes at once.
        let deleted = if orphans.is_empty() { Ok(()) } else { bucket.delete(orphans.clone()).await };
        let mut object = self.object.borrow_mut();
        object.swept();
        self.follow_up(object);
        deleted.map(|()| orphans)
    }
}
