//! Debug lines of one object: what happened, and which rows that read and wrote.

use super::stream_object::ObjectHost;
use crate::cloudflare::log;

impl ObjectHost {
    pub(super) fn debug_served(&self, path: &str, method: &str) {
        if self.config.debug {
            let (rows_read, rows_written) = self.sql.take_row_counts();
            log::served(path, method, rows_read, rows_written);
        }
    }

    pub(super) fn debug(&self, event: &str) {
        if self.config.debug {
            log::event(&self.name(), event);
        }
    }

    /// Logs what a call has read and written, which is no part of the next request.
    pub(super) fn log_work(&self, event: &str) {
        if self.config.debug {
            let (rows_read, rows_written) = self.sql.take_row_counts();
            log::worked(&self.name(), (event, None), (rows_read, rows_written));
        }
    }
}
