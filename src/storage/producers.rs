//! Stores producers in a table, one row each. It is written only now and then: newer states are in the
//! message rows. Most streams have no producers, so the table is created with its first row.

use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::stream::producer::ProducerState;

const SELECT: &str = "SELECT epoch, seq FROM producers WHERE id = ?";
// Replacing a whole row of a WITHOUT ROWID table bills one written row, like an upsert.
const PUT: &str = "INSERT OR REPLACE INTO producers (id, epoch, seq) VALUES (?, ?, ?)";

/// The state of a producer in the table, if it has a row there.
pub fn load(sql: &dyn Sql, id: &str) -> Result<Option<ProducerState>, Failure> {
    let Some(row) = only_row(sql, SELECT, &[Param::Text(id)])? else { return Ok(None) };
    let mut columns = Columns::new("producers", row);
    Ok(Some(ProducerState { epoch: columns.integer()?, seq: columns.integer()? }))
}

/// Stores the state of a producer in the table.
pub(super) fn put(sql: &dyn Sql, id: &str, state: ProducerState) -> Result<(), Failure> {
    sql.run(PUT, &[Param::Text(id), Param::Integer(state.epoch), Param::Integer(state.seq)])
}

pub(super) fn make_table(sql: &dyn Sql) -> Result<(), Failure> {
    sql.run(schema::CREATE_PRODUCERS, &[])
}
