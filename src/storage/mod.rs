//! What an object stores, and the port to its SQLite. All of it is synchronous: nothing can come between two statements.
//!
//! The port, [`Sql`], takes statements of SQLite. It exists so that tests run on the host; another database, or a log such as
//! S2, does not fit behind it, because a commit is synchronous. The bucket is not behind it either: what goes there is an
//! effect (`Effect::Put` and `Effect::Delete`, `src/object/effect.rs`), what comes from there is planned (`src/object/plan.rs`),
//! and `src/cloudflare/bucket.rs` carries both out. Another store for old segments would take that file's place.

mod array;
pub mod bucket_page;
mod bytes;
pub mod chunk;
pub mod commit;
pub mod forks;
pub mod load;
pub mod message_row;
pub mod messages;
pub mod outbox;
pub mod producers;
pub mod registry;
mod run;
pub mod scan;
pub mod schema;
pub mod segment_file;
pub mod segments;
pub mod segments_admin;
pub mod stream_row;

use std::fmt;

/// We could not: the opposite of a `Refusal`, and never shown to clients in detail.
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

/// A value that goes into a statement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Param<'a> {
    Null,
    /// At most 2^53 - 1: integers cross the platform as doubles.
    Integer(u64),
    Text(&'a str),
    /// BLOB, at most 2 MB.
    Blob(&'a [u8]),
}

/// A value that comes out of a row.
#[derive(Clone, PartialEq, Debug)]
pub enum Column {
    Null,
    Integer(u64),
    Text(String),
    Blob(Vec<u8>),
}

/// Looks at one row. There is no way to stop early: a statement that is left in the middle of its rows stays open
/// until the garbage collector finds it, and until then SQLite drops no table.
pub type Visit<'v> = &'v mut dyn FnMut(Vec<Column>) -> Result<(), Failure>;

/// The port to the object's SQLite: Durable Object storage, and on the host a real SQLite.
pub trait Sql {
    /// Runs a statement that gives no rows.
    fn run(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure>;

    /// Runs one statement that gives no rows, as a transaction of its own.
    fn run_alone(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure> {
        self.transaction(&mut || self.run(statement, params))
    }

    /// Runs a query and shows all of its rows, one at a time.
    fn query(&self, statement: &str, params: &[Param<'_>], visit: Visit<'_>) -> Result<(), Failure>;

    /// Runs `body` so that either all of its statements count or, when it fails, none.
    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure>;
}

/// The row of a query that gives at most one.
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

/// Takes a row apart, left to right; a column of another type than the schema's is a failure, not a panic.
pub struct Columns {
    table: &'static str,
    values: std::vec::IntoIter<Column>,
}

impl Columns {
    pub fn new(table: &'static str, row: Vec<Column>) -> Columns {
        Columns { table, values: row.into_iter() }
    }

    fn unexpected<T>(&self, wanted: &str, found: Option<Column>) -> Result<T, Failure> {
        Err(Failure::new("read row", format_args!("table {}: wanted {wanted}, found {found:?}", self.table)))
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
