//! Stores the summaries of subscriptions in the object of their registry, and counts them for `GET /metrics`. Rows of deleted
//! subscriptions stay, so that no total falls.

use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::protocol::metrics::SummaryCounts;
use crate::protocol::subscription::summary::{SubscriptionSummary, WakeTotals};

const GET: &str = "SELECT number, status, wakes, succeeded, failed, unsent FROM subscription_summaries \
    WHERE subscription = ? AND kind = ?";
const PUT: &str = "INSERT OR REPLACE INTO subscription_summaries (subscription, kind, number, status, wakes, succeeded, \
    failed, unsent) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
/// A summary counts as current if no newer event is known, and the subscription exists. The registry's producers say both.
const COUNTED: &str = "SELECT kind, iif(seq = 0 AND number >= epoch, status, '') AS current, count(*), sum(wakes), \
    sum(succeeded), sum(failed), sum(unsent) FROM subscription_summaries LEFT JOIN producers ON id = subscription \
    GROUP BY kind, current";

/// The summary of a subscription's name and type.
pub fn load(sql: &dyn Sql, subscription: &str, kind: &str) -> Result<Option<SubscriptionSummary>, Failure> {
    if !schema::has_table(sql, schema::SUMMARIES)? {
        return Ok(None);
    }
    let Some(row) = only_row(sql, GET, &[Param::Text(subscription), Param::Text(kind)])? else {
        return Ok(None);
    };
    let mut columns = Columns::new(schema::SUMMARIES, row);
    Ok(Some(SubscriptionSummary {
        number: columns.integer()?,
        kind: kind.to_owned(),
        status: columns.text()?,
        totals: totals(&mut columns)?,
    }))
}

pub(super) fn put(sql: &dyn Sql, subscription: &str, summary: &SubscriptionSummary) -> Result<(), Failure> {
    let SubscriptionSummary { number, kind, status, totals } = summary;
    let WakeTotals { wakes, succeeded, failed, unsent } = *totals;
    sql.run(schema::CREATE_SUMMARIES, &[])?;
    let texts = [Param::Text(subscription), Param::Text(kind), Param::Integer(*number), Param::Text(status)];
    let numbers = [wakes, succeeded, failed, unsent].map(Param::Integer);
    sql.run(PUT, &[texts, numbers].concat())
}

/// Counts all summaries, by type and current status.
pub fn counted(sql: &dyn Sql) -> Result<Vec<SummaryCounts>, Failure> {
    let mut counts = Vec::new();
    if !schema::has_table(sql, schema::SUMMARIES)? || !schema::has_table(sql, schema::PRODUCERS)? {
        return Ok(counts);
    }
    sql.query(COUNTED, &[], &mut |row| {
        let mut columns = Columns::new(schema::SUMMARIES, row);
        counts.push(SummaryCounts {
            kind: columns.text()?,
            status: columns.text()?,
            subscriptions: columns.integer()?,
            totals: totals(&mut columns)?,
        });
        Ok(())
    })?;
    Ok(counts)
}

fn totals(columns: &mut Columns) -> Result<WakeTotals, Failure> {
    Ok(WakeTotals {
        wakes: columns.integer()?,
        succeeded: columns.integer()?,
        failed: columns.integer()?,
        unsent: columns.integer()?,
    })
}
