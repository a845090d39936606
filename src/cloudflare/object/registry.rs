//! Reports a stream's lives to its registry, in the object's own time.

use super::chores::Done;
use super::stream_object::ObjectHost;
use crate::cloudflare::{calls, clock, telemetry};
use crate::object::Ports;
use crate::object::registry::REST_MIN;
use crate::protocol::call::Call;

impl ObjectHost {
    /// Tells the registry what it does not know yet.
    pub(super) async fn report(&self) -> Done {
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let soon = |failure| (failure, clock::now() + REST_MIN);
        loop {
            let next = self.object.borrow_mut().next_report(&ports);
            let before = self.sql.take_row_counts();
            let Some(report) = next.map_err(soon)? else { return Ok(()) };
            let call = Call::Record(report.record.clone());
            let answered = calls::call(&self.namespace, &report.registry, &call).await;
            answered.map_err(|failure| report.failed(&failure.to_string(), clock::now()))?;
            self.object.borrow_mut().reported(&ports, &report).map_err(soon)?;
            if self.config.debug {
                let after = self.sql.take_row_counts();
                telemetry::worked(&self.name(), "reported", None, before + after);
            }
        }
    }
}
