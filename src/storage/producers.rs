//! What is known of each producer: one row each, written with the append it belongs to. Most streams have none, so the
//! first one makes the table.

use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::protocol::producer::Producer;
use crate::stream::fence::ProducerState;

const TABLE: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'producers'";
const SELECT: &str = "SELECT epoch, seq FROM producers WHERE id = ?";
// Not an upsert with a conflict clause: replacing the whole row of a WITHOUT ROWID table is one written row too.
const PUT: &str = "INSERT OR REPLACE INTO producers (id, epoch, seq) VALUES (?, ?, ?)";

/// Whether there was ever a producer.
pub fn any(sql: &dyn Sql) -> Result<bool, Failure> {
    Ok(only_row(sql, TABLE, &[])?.is_some())
}

/// What storage knows of a producer, where there are any.
pub fn load(sql: &dyn Sql, id: &str) -> Result<Option<ProducerState>, Failure> {
    let Some(row) = only_row(sql, SELECT, &[Param::Text(id)])? else { return Ok(None) };
    let mut columns = Columns::new("producers", row);
    Ok(Some(ProducerState { epoch: columns.integer()?, seq: columns.integer()? }))
}

/// Remembers a producer's accepted request.
pub(super) fn put(sql: &dyn Sql, producer: &Producer, is_first: bool) -> Result<(), Failure> {
    if is_first {
        sql.run(schema::CREATE_PRODUCERS, &[])?;
    }
    sql.run(PUT, &[Param::Text(&producer.id), Param::Integer(producer.epoch), Param::Integer(producer.seq)])
}
