//! A fake segment index: the tables of `migrations/` in a real SQLite that fails on demand.

use durable_streams::object::effect::Outcome;
use durable_streams::object::segment_index::Delivery;
use durable_streams::storage::Failure;
use rusqlite::Connection;
use rusqlite::types::Value;

const MIGRATION: &str = include_str!("../../../migrations/0001_segments_admin.sql");

/// A fault of the next delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MirrorFault {
    /// The delivery fails and has no effect.
    Fails,
    /// The delivery fails, but takes effect.
    FailsButStored,
    /// The delivery fails, and takes effect when [`HostMirror::let_one_arrive`] is called.
    FailsAndArrivesLate,
}

/// The segment index of all streams.
pub(crate) struct HostMirror {
    connection: Connection,
    fault: Option<MirrorFault>,
    late: Vec<Delivery>,
}

impl Default for HostMirror {
    fn default() -> HostMirror {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATION).unwrap();
        HostMirror { connection, fault: None, late: Vec::new() }
    }
}

impl HostMirror {
    /// Arms a fault for one delivery.
    pub(crate) fn arm(&mut self, fault: MirrorFault) {
        self.fault = Some(fault);
    }

    /// Applies a delivery, and returns its outcome.
    pub(crate) fn take(&mut self, delivery: &Delivery) -> Outcome {
        let fault = self.fault.take();
        match fault {
            None | Some(MirrorFault::FailsButStored) => self.carry_out(delivery),
            Some(MirrorFault::FailsAndArrivesLate) => self.late.push(delivery.clone()),
            Some(MirrorFault::Fails) => {}
        }
        if fault.is_none() {
            Outcome::Done
        } else {
            Outcome::Failed(Failure::new("mirror", "injected fault"))
        }
    }

    /// Applies one of the late deliveries. Returns whether there was one.
    pub(crate) fn let_one_arrive(&mut self, random: &mut fastrand::Rng) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let delivery = self.late.swap_remove(random.usize(0..self.late.len()));
        self.carry_out(&delivery);
        true
    }

    /// Applies a delivery in one transaction, as D1 does with a batch.
    pub(crate) fn carry_out(&mut self, delivery: &Delivery) {
        let transaction = self.connection.transaction().unwrap();
        for statement in &delivery.statements {
            let params = [&delivery.path, &statement.notices];
            transaction.prepare_cached(statement.text).unwrap().execute(params).unwrap();
        }
        transaction.commit().unwrap();
    }

    /// The rows with all columns.
    pub(crate) fn rows(&self) -> Vec<String> {
        rows(&self.connection, "SELECT * FROM segments_admin ORDER BY path, incarnation, read_seq")
    }

    /// The number of rows ever written.
    pub(crate) fn rows_written(&self) -> u64 {
        self.connection.total_changes()
    }
}

/// The rows of a query with all columns, as text.
pub(crate) fn rows(connection: &Connection, query: &str) -> Vec<String> {
    let mut statement = connection.prepare(query).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values: Vec<Value> = (0..columns).map(|at| row.get(at).unwrap()).collect();
        Ok(format!("{values:?}"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}
