//! Stores the patterns of subscriptions in the object of their registry.

use super::{Columns, Failure, Param, Sql, schema};
use crate::protocol::subscription::watch::Watcher;

const PUT: &str = "INSERT OR REPLACE INTO patterns (subscription, incarnation, pattern) VALUES (?, ?, ?)";
const DROP: &str = "DELETE FROM patterns WHERE subscription = ?";
const ALL: &str = "SELECT subscription, incarnation, pattern FROM patterns";

/// Stores the pattern of a subscription, or deletes it.
pub(super) fn put(sql: &dyn Sql, watcher: &Watcher, pattern: Option<&str>) -> Result<(), Failure> {
    let subscription = Param::Text(&watcher.subscription);
    match pattern {
        Some(pattern) => {
            sql.run(schema::CREATE_PATTERNS, &[])?;
            sql.run(PUT, &[subscription, Param::Integer(watcher.incarnation), Param::Text(pattern)])
        }
        None => sql.run(DROP, &[subscription]),
    }
}

/// Loads all patterns, with their subscriptions.
pub fn load(sql: &dyn Sql) -> Result<Vec<(Watcher, String)>, Failure> {
    let mut patterns = Vec::new();
    if !schema::has_table(sql, schema::PATTERNS)? {
        return Ok(patterns);
    }
    sql.query(ALL, &[], &mut |row| {
        let mut columns = Columns::new("patterns", row);
        let watcher = Watcher { subscription: columns.text()?, incarnation: columns.integer()? };
        patterns.push((watcher, columns.text()?));
        Ok(())
    })?;
    Ok(patterns)
}
