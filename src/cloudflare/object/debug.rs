//! Debug lines of one object: its events, and the rows that they read and wrote. Without `LOG_LEVEL=debug` they do nothing.

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

    /// Logs the rows that a call read and wrote, so that they do not count as the next request's.
    pub(super) fn log_work(&self, event: &str) {
        if self.config.debug {
            telemetry::worked(&self.name(), event, None, self.sql.take_row_counts());
        }
    }
}
