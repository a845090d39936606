//! Stores a subscription: one row for its configuration, state and recent links, and one row for each other link. A
//! change writes one row, unless links move to rows of their own.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::protocol::subscription::SubscriptionName;
use crate::subscription::Subscription;
use crate::subscription::link::StreamLink;

/// The version of the subscription's row. A build reads all versions up to its own.
const VERSION: u64 = 1;

const PUT: &str =
    "INSERT OR REPLACE INTO subscription (id, version, name, config, state, links) VALUES (1, ?, ?, ?, ?, ?)";
const GET: &str = "SELECT version, name, config, state, links FROM subscription";
const PUT_LINK: &str = "INSERT OR REPLACE INTO subscription_links (path, owes, link) VALUES (?, ?, ?)";
const GET_LINK: &str = "SELECT path, link FROM subscription_links WHERE path = ?";
const DROP_LINK: &str = "DELETE FROM subscription_links WHERE path = ?";
const NEXT_LINKS: &str = "SELECT path, link FROM subscription_links WHERE path > ? ORDER BY path LIMIT +?";
const OWING_LINKS: &str =
    "SELECT path, link FROM subscription_links WHERE owes = 1 AND path > ? ORDER BY path LIMIT +?";
const EXPLICIT_LINKS: &str = "SELECT path FROM subscription_links WHERE link LIKE '{\"explicit\":true%'";
const COUNT_LINKS: &str = "SELECT COUNT(*) FROM subscription_links";

/// A set of changes to store together.
#[derive(Debug)]
pub struct SubscriptionChange<'a> {
    pub subscription: &'a Subscription,
    /// Whether to drop all links in rows of their own, which bills no rows. They belong to an earlier subscription, or
    /// to one that has ended.
    pub is_new: bool,
    /// Links that move to rows of their own. They are not in `subscription`.
    pub spilled: &'a [(String, StreamLink)],
    /// Links whose rows must be deleted.
    pub dropped: &'a [String],
}

pub(super) fn put(sql: &dyn Sql, change: &SubscriptionChange<'_>) -> Result<(), Failure> {
    let SubscriptionChange { subscription, is_new, spilled, dropped } = change;
    if *is_new {
        sql.run(schema::CREATE_SUBSCRIPTION, &[])?;
        sql.run(schema::DROP_SUBSCRIPTION_LINKS, &[])?;
    }
    if !spilled.is_empty() {
        sql.run(schema::CREATE_SUBSCRIPTION_LINKS, &[])?;
    }
    for (path, link) in *spilled {
        let owes = u64::from(link.owes_watch() || link.is_pending());
        sql.run(PUT_LINK, &[Param::Text(path), Param::Integer(owes), Param::Text(&json(link))])?;
    }
    if !dropped.is_empty() && has_links(sql)? {
        dropped.iter().try_for_each(|path| sql.run(DROP_LINK, &[Param::Text(path)]))?;
    }
    let (config, state) = (json(&*subscription.config), json(&subscription.state));
    let params = [
        Param::Integer(VERSION),
        Param::Text(&subscription.name.object()),
        Param::Text(&config),
        Param::Text(&state),
        Param::Text(&json(&subscription.links)),
    ];
    sql.run(PUT, &params)
}

/// Loads the subscription, if there is one.
pub fn load(sql: &dyn Sql) -> Result<Option<Subscription>, Failure> {
    let Some(row) = only_row(sql, GET, &[])? else { return Ok(None) };
    let mut columns = Columns::new("subscription", row);
    let version = columns.integer()?;
    if version > VERSION {
        let cause = format_args!("stored by version {version}, this build reads versions up to {VERSION}");
        return Err(Failure::new("load subscription", cause));
    }
    let name = columns.text()?;
    let name = SubscriptionName::parse(&name).ok_or_else(|| {
        Failure::new("load subscription", format_args!("{name} is not a subscription's name"))
    })?;
    let (config, state) = (parse(&columns.text()?)?, parse(&columns.text()?)?);
    let links: BTreeMap<String, StreamLink> = parse(&columns.text()?)?;
    Ok(Some(Subscription { name, config: Rc::new(config), state, links }))
}

/// Finds a link in a row of its own.
pub fn find_link(sql: &dyn Sql, path: &str) -> Result<Option<StreamLink>, Failure> {
    if !has_links(sql)? {
        return Ok(None);
    }
    Ok(links(sql, GET_LINK, &[Param::Text(path)])?.pop().map(|(_, link)| link))
}

/// The next links after a path in rows of their own, in order.
pub fn next_links(sql: &dyn Sql, after: &str, limit: usize) -> Result<Vec<(String, StreamLink)>, Failure> {
    if !has_links(sql)? {
        return Ok(Vec::new());
    }
    links(sql, NEXT_LINKS, &[Param::Text(after), Param::Integer(limit as u64)])
}

/// The next of these links that may need work.
pub fn owing_links(sql: &dyn Sql, after: &str, limit: usize) -> Result<Vec<(String, StreamLink)>, Failure> {
    if !has_links(sql)? {
        return Ok(Vec::new());
    }
    links(sql, OWING_LINKS, &[Param::Text(after), Param::Integer(limit as u64)])
}

/// Visits the paths of all explicit links in rows of their own.
pub fn each_explicit_link(sql: &dyn Sql, visit: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    if !has_links(sql)? {
        return Ok(());
    }
    sql.query(EXPLICIT_LINKS, &[], &mut |row| {
        visit(&Columns::new("subscription_links", row).text()?);
        Ok(())
    })
}

/// The number of links in rows of their own.
pub fn count_links(sql: &dyn Sql) -> Result<u64, Failure> {
    if !has_links(sql)? {
        return Ok(0);
    }
    let row = only_row(sql, COUNT_LINKS, &[])?.unwrap_or_default();
    Columns::new("subscription_links", row).integer()
}

fn has_links(sql: &dyn Sql) -> Result<bool, Failure> {
    schema::has_table(sql, schema::SUBSCRIPTION_LINKS)
}

fn links(sql: &dyn Sql, query: &str, params: &[Param<'_>]) -> Result<Vec<(String, StreamLink)>, Failure> {
    let mut found = Vec::new();
    sql.query(query, params, &mut |row| {
        let mut columns = Columns::new("subscription_links", row);
        found.push((columns.text()?, parse(&columns.text()?)?));
        Ok(())
    })?;
    Ok(found)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("its maps have texts as keys")
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::new("load subscription", error))
}
