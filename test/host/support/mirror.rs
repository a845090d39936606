//! The mirror: the tables of `migrations/` in a real SQLite, which fails on demand.

use durable_streams::object::effect::Outcome;
use durable_streams::object::segment_index::Delivery;
use durable_streams::storage::Failure;
use rusqlite::Connection;
use rusqlite::types::Value;

const MIGRATION: &str = include_str!("../../../migrations/0001_segments_admin.sql");

/// What goes wrong next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MirrorFault {
    /// It fails, and nothing is done.
    Fails,
    /// It fails, but it is done.
    FailsButStored,
    /// It fails, and is done some time later: when [`HostMirror::let_one_arrive`] says so.
    FailsAndArrivesLate,
}

/// The index of segments.
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
    /// Arms a fault; it strikes once.
    pub(crate) fn arm(&mut self, fault: MirrorFault) {
        self.fault = Some(fault);
    }

    /// Carries a delivery out, and says whether it has.
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

    /// One of the deliveries that failed arrives after all; whether there was one.
    pub(crate) fn let_one_arrive(&mut self, random: &mut fastrand::Rng) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let delivery = self.late.swap_remove(random.usize(0..self.late.len()));
        self.carry_out(&delivery);
        true
    }

    /// All of it or nothing, as D1 does with a batch.
    pub(crate) fn carry_out(&mut self, delivery: &Delivery) {
        let transaction = self.connection.transaction().unwrap();
        for statement in &delivery.statements {
            let params = [&delivery.path, &statement.notices];
            transaction.prepare_cached(statement.text).unwrap().execute(params).unwrap();
        }
        transaction.commit().unwrap();
    }

    /// Its rows, all columns.
    pub(crate) fn rows(&self) -> Vec<String> {
        rows(&self.connection, "SELECT * FROM segments_admin ORDER BY path, incarnation, read_seq")
    }

    /// Rows that were ever written.
    pub(crate) fn rows_written(&self) -> u64 {
        self.connection.total_changes()
    }
}

/// The rows of a query, all columns, as text.
pub(crate) fn rows(connection: &Connection, query: &str) -> Vec<String> {
    let mut statement = connection.prepare(query).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values: Vec<Value> = (0..columns).map(|at| row.get(at).unwrap()).collect();
        Ok(format!("{values:?}"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}
