//! The table of producers: one row each, written now and then. What is newer is in the rows of the messages. Most streams
//! never have it, so the first row makes it.

use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::stream::producer::ProducerState;

const SELECT: &str = "SELECT epoch, seq FROM producers WHERE id = ?";
// Not an upsert with a conflict clause: replacing the whole row of a WITHOUT ROWID table is one written row too.
const PUT: &str = "INSERT OR REPLACE INTO producers (id, epoch, seq) VALUES (?, ?, ?)";

/// What the table tells of a producer, where there is one.
pub fn load(sql: &dyn Sql, id: &str) -> Result<Option<ProducerState>, Failure> {
    let Some(row) = only_row(sql, SELECT, &[Param::Text(id)])? else { return Ok(None) };
    let mut columns = Columns::new("producers", row);
    Ok(Some(ProducerState { epoch: columns.integer()?, seq: columns.integer()? }))
}

/// Has the table tell what is known of a producer.
pub(super) fn put(sql: &dyn Sql, id: &str, state: ProducerState) -> Result<(), Failure> {
    sql.run(PUT, &[Param::Text(id), Param::Integer(state.epoch), Param::Integer(state.seq)])
}

pub(super) fn make_table(sql: &dyn Sql) -> Result<(), Failure> {
    sql.run(schema::CREATE_PRODUCERS, &[])
}
