//! Counters, in the units that Cloudflare bills.

use std::ops::Add;

use serde::Serialize;

#[derive(Default, Serialize)]
pub struct Counts {
    pub worker_requests: u64,
    pub object_requests: u64,
    pub alarms_rung: u64,
    /// Billed as a row written.
    pub alarms_set: u64,
    pub rows_read: u64,
    pub rows_written: u64,
    pub sockets_opened: u64,
    pub socket_closes_received: u64,
    /// Cloudflare does not bill these.
    pub socket_messages_sent: u64,
    /// R2 class A operations: writes and lists. Deletes are free.
    pub bucket_class_a: u64,
    /// R2 class B operations: reads.
    pub bucket_class_b: u64,
    /// One for each look-up of a project.
    pub kv_reads: u64,
    pub mirror_rows_written: u64,
}

/// The SQLite rows of one request or effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    pub read: u64,
    pub written: u64,
}

impl Add for RowCounts {
    type Output = RowCounts;

    fn add(self, other: RowCounts) -> RowCounts {
        RowCounts { read: self.read + other.read, written: self.written + other.written }
    }
}
