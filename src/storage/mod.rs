//! Stores one stream's state in the object's SQLite, behind the port [`Sql`]. Every call is synchronous, so
//! nothing runs between two statements.
//!
//! The port accepts SQLite statements. It exists so that tests run on the host. Another database, or a log
//! such as S2, does not fit behind it, because a commit is synchronous.
//!
//! The bucket is not behind this port. Writes to it are effects (`Effect::Put` and `Effect::Delete` in
//! `src/object/effect.rs`), reads from it are planned (`src/object/plan.rs`), and `src/cloudflare/bucket.rs`
//! performs both. To support another store for old segments, replace that file.

mod array;
pub mod bucket_page;
mod bytes;
pub mod chunk;
pub mod commit;
pub mod details;
pub mod forks;
pub mod load;
pub mod message_row;
pub mod messages;
pub mod outbox;
pub mod patterns;
pub mod producers;
pub mod registry;
mod run;
pub mod scan;
pub mod schema;
pub mod seek;
pub mod segment_file;
pub mod segments;
pub mod segments_admin;
pub mod stream_row;
pub mod subscription;
pub mod summaries;
pub mod watchers;
pub mod webhook_keys;

use std::fmt;

/// A failure of the server, as opposed to a `Refusal` by the protocol. Clients never see its details.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub operation: &'static str,
    pub cause: String,
}

impl Failure {
    pub fn new(operation: &'static str, cause: impl fmt::Display) -> Failure {
        Failure { operation, cause: cause.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.cause)
    }
}

/// A value bound to a statement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Param<'a> {
    Null,
    /// At most 2^53 - 1, because the platform passes integers as doubles.
    Integer(u64),
    Text(&'a str),
    /// A BLOB of at most 2 MB.
    Blob(&'a [u8]),
}

/// A value of a result row.
#[derive(Clone, PartialEq, Debug)]
pub enum Column {
    Null,
    Integer(u64),
    Text(String),
    Blob(Vec<u8>),
}

/// Receives one row. A visit cannot stop early: SQLite drops no table while a statement is open, and an
/// unfinished statement stays open until the garbage collector finds it.
pub type Visit<'v> = &'v mut dyn FnMut(Vec<Column>) -> Result<(), Failure>;

/// The port to the object's SQLite. On the platform this is Durable Object storage; on the host, a real
/// SQLite.
pub trait Sql {
    /// Runs a statement that returns no rows.
    fn run(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure>;

    /// Runs one statement that returns no rows as its own transaction.
    fn run_alone(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure> {
        self.transaction(&mut || self.run(statement, params))
    }

    /// Runs a query and passes every row to `visit`.
    fn query(&self, statement: &str, params: &[Param<'_>], visit: Visit<'_>) -> Result<(), Failure>;

    /// Runs `body` in a transaction. If `body` fails, none of its statements takes effect.
    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure>;
}

/// Runs a query that returns at most one row.
pub fn only_row(
    sql: &dyn Sql,
    statement: &str,
    params: &[Param<'_>],
) -> Result<Option<Vec<Column>>, Failure> {
    let mut found = None;
    sql.query(statement, params, &mut |row| {
        found = Some(row);
        Ok(())
    })?;
    Ok(found)
}

/// Reads a row's columns from left to right. A column of an unexpected type is a failure, not a panic.
pub struct Columns {
    table: &'static str,
    values: std::vec::IntoIter<Column>,
}

impl Columns {
    pub fn new(table: &'static str, row: Vec<Column>) -> Columns {
        Columns { table, values: row.into_iter() }
    }

    fn unexpected<T>(&self, wanted: &str, found: Option<Column>) -> Result<T, Failure> {
        Err(Failure::new(
            "read row",
            format_args!("table {}: expected {wanted}, found {found:?}", self.table),
        ))
    }

    pub fn integer(&mut self) -> Result<u64, Failure> {
        match self.values.next() {
            Some(Column::Integer(value)) => Ok(value),
            other => self.unexpected("an integer", other),
        }
    }

    pub fn text(&mut self) -> Result<String, Failure> {
        match self.values.next() {
            Some(Column::Text(value)) => Ok(value),
            other => self.unexpected("text", other),
        }
    }

    pub fn optional_integer(&mut self) -> Result<Option<u64>, Failure> {
        match self.values.next() {
            Some(Column::Integer(value)) => Ok(Some(value)),
            Some(Column::Null) => Ok(None),
            other => self.unexpected("an integer or NULL", other),
        }
    }

    pub fn optional_text(&mut self) -> Result<Option<String>, Failure> {
        match self.values.next() {
            Some(Column::Text(value)) => Ok(Some(value)),
            Some(Column::Null) => Ok(None),
            other => self.unexpected("text or NULL", other),
        }
    }

    pub fn blob(&mut self) -> Result<Vec<u8>, Failure> {
        match self.values.next() {
            Some(Column::Blob(value)) => Ok(value),
            other => self.unexpected("a blob", other),
        }
    }
}
