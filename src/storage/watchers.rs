//! Stores the subscriptions that a stream notifies, in the stream's object. The table does not need a stream, and
//! survives its end.

use super::{Columns, Failure, Param, Sql, schema};
use crate::protocol::offset::Offset;
use crate::protocol::subscription::watch::{Progress, Watcher};

const PUT: &str = "INSERT OR REPLACE INTO watchers (subscription, incarnation, glob, start_segment, start_position, \
    start_closed) VALUES (?, ?, ?, ?, ?, ?)";
const ALL: &str = "SELECT subscription, incarnation, glob, start_segment, start_position, start_closed FROM watchers \
    ORDER BY subscription";
const DROP: &str = "DELETE FROM watchers WHERE subscription = ?";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredWatcher {
    pub watcher: Watcher,
    /// Whether only a pattern links the stream.
    pub glob: bool,
    /// The start of the link.
    pub start: Progress,
}

/// Stores watchers. Each replaces that of the same subscription.
pub(super) fn put(sql: &dyn Sql, watchers: &[StoredWatcher]) -> Result<(), Failure> {
    if watchers.is_empty() {
        return Ok(());
    }
    sql.run(schema::CREATE_WATCHERS, &[])?;
    for StoredWatcher { watcher, glob, start } in watchers {
        let params = [
            Param::Text(&watcher.subscription),
            Param::Integer(watcher.incarnation),
            Param::Integer(u64::from(*glob)),
            Param::Integer(start.offset.segment),
            Param::Integer(start.offset.position),
            Param::Integer(u64::from(start.closed)),
        ];
        sql.run(PUT, &params)?;
    }
    Ok(())
}

/// Deletes watchers. If none is left, drops the table, which bills no rows.
pub(super) fn drop(sql: &dyn Sql, subscriptions: &[String], is_last: bool) -> Result<(), Failure> {
    if is_last {
        return sql.run(schema::DROP_WATCHERS, &[]);
    }
    subscriptions.iter().try_for_each(|subscription| sql.run(DROP, &[Param::Text(subscription)]))
}

/// Loads all watchers of the stream.
pub fn load(sql: &dyn Sql) -> Result<Vec<StoredWatcher>, Failure> {
    let mut watchers = Vec::new();
    sql.query(ALL, &[], &mut |row| {
        let mut columns = Columns::new("watchers", row);
        let watcher = Watcher { subscription: columns.text()?, incarnation: columns.integer()? };
        let glob = columns.integer()? == 1;
        let offset = Offset { segment: columns.integer()?, position: columns.integer()? };
        let start = Progress { offset, closed: columns.integer()? == 1 };
        watchers.push(StoredWatcher { watcher, glob, start });
        Ok(())
    })?;
    Ok(watchers)
}
