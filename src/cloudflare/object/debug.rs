//! Debug lines of one object: what happened, and which rows that read and wrote.

use super::host::ObjectHost;
use crate::cloudflare::telemetry;

impl ObjectHost {
    pub(super) fn debug_served(&self, path: &str, method: &str) {
        if self.config.debug {
            telemetry::served(path, method, self.sql.take_row_counts());
        }
    }

    pub(super) fn debug(&self, event: &str) {
        if self.config.debug {
            telemetry::event(&self.name(), event);
        }
    }

    /// Logs what a call has read and written, which is no part of the next request.
    pub(super) fn log_work(&self, event: &str) {
        if self.config.debug {
            telemetry::worked(&self.name(), event, None, self.sql.take_row_counts());
        }
    }
}
