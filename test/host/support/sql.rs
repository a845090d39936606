//! The `Sql` port over a real SQLite. It is as strict as the platform, counts billed rows, and fails on
//! demand.

use std::cell::Cell;
use std::path::Path;

use durable_streams::protocol::SAFE_INTEGER_MAX;
use durable_streams::storage::{Column, Failure, Param, Sql, Visit, segments};
use durable_streams::stream::fork::Fork;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql};

/// The platform's limits: bytes per row, parameters, and bytes per statement.
const ROW_MAX_BYTES: usize = 2_000_000;
const PARAMS_MAX: usize = 100;
const STATEMENT_MAX_BYTES: usize = 100_000;

/// More prepared statements than the server has.
const STATEMENTS_MAX: usize = 256;

/// A fault that strikes once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The statement after this many others fails.
    Statement(u32),
    /// The commit fails, and nothing is stored.
    Commit,
    /// The commit fails, but everything is stored.
    CommitButStored,
}

/// The state of a stream according to its row.
pub(crate) struct Stored {
    pub(crate) incarnation: usize,
    /// 1 while the stream is live, 2 while it exists only for its forks, 0 after it has ended.
    pub(crate) live: i64,
    pub(crate) first_segment: u64,
}

/// The object's SQLite.
pub(crate) struct HostSql {
    connection: Connection,
    in_transaction: Cell<bool>,
    rows_written: Cell<u64>,
    fault: Cell<Option<Fault>>,
}

impl HostSql {
    pub(crate) fn in_memory() -> HostSql {
        HostSql::over(Connection::open_in_memory().unwrap())
    }

    pub(crate) fn on_disk(path: &Path) -> HostSql {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        HostSql::over(connection)
    }

    fn over(connection: Connection) -> HostSql {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        HostSql {
            connection,
            in_transaction: Cell::new(false),
            rows_written: Cell::new(0),
            fault: Cell::new(None),
        }
    }

    /// The rows written since they were last taken, as the platform would bill them.
    pub(crate) fn rows_written(&self) -> u64 {
        self.rows_written.get()
    }

    /// The rows written since the last call, as the platform would bill them.
    pub(crate) fn take_rows_written(&self) -> u64 {
        self.rows_written.take()
    }

    /// The number of rows changed so far, even if they were rolled back. While it is the same, so is what is stored.
    pub(crate) fn changes(&self) -> u64 {
        self.connection.total_changes()
    }

    /// Arms a fault; it strikes once.
    pub(crate) fn arm(&self, fault: Fault) {
        self.fault.set(Some(fault));
    }

    /// Reads without the armed fault, and arms it again.
    pub(crate) fn undisturbed<T>(&self, read: impl FnOnce(&HostSql) -> T) -> T {
        let fault = self.fault.take();
        let result = read(self);
        self.fault.set(fault);
        result
    }

    /// Whether a fault is armed.
    pub(crate) fn is_armed(&self) -> bool {
        self.fault.get().is_some()
    }

    /// Disarms the fault. Returns whether it had struck.
    pub(crate) fn disarm(&self) -> bool {
        self.fault.take().is_none()
    }

    /// The bare connection, to inspect or modify the storage.
    pub(crate) fn raw(&self) -> &Connection {
        &self.connection
    }

    /// Everything that is stored, as text.
    pub(crate) fn dump(&self) -> String {
        let tables = self.column("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
        let mut text =
            self.column("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").join(";\n");
        for table in tables {
            let mut statement = self.connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let values: Vec<Value> = (0..columns).map(|at| row.get(at).unwrap()).collect();
                text.push_str(&format!("\n{table} {values:?}"));
            }
        }
        text
    }

    pub(crate) fn tables(&self) -> Vec<String> {
        self.column("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    }

    /// The stream's first segment, and the first segment in the hot log.
    pub(crate) fn first_segments(&self) -> (u64, Option<u64>) {
        let first: i64 =
            self.connection.query_row("SELECT first_read_seq FROM stream", [], |row| row.get(0)).unwrap();
        let tables = self.tables();
        let hot = tables.iter().filter_map(|table| table.strip_prefix("messages_")?.parse().ok());
        (first as u64, hot.min())
    }

    /// Whether a stream existed and has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.tables().contains(&"stream".to_owned())
            && self
                .connection
                .query_row("SELECT live <> 1 FROM stream", [], |row| row.get(0))
                .unwrap_or(false)
    }

    /// The content type and creation time of the current incarnation, as a registry has them.
    pub(crate) fn born(&self) -> (String, u64) {
        let row = "SELECT content_type, created_at FROM stream";
        let born = self.connection.query_row(row, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)));
        born.unwrap()
    }

    /// The state in the stream's row, if there is a row.
    pub(crate) fn presence(&self) -> Option<Stored> {
        let query = "SELECT incarnation, live, first_read_seq FROM stream";
        // This is called after every step, so it does not query first whether the table exists.
        let mut statement = self.connection.prepare_cached(query).ok()?;
        let stored = statement.query_row([], |row| {
            let incarnation = row.get::<_, i64>(0)? as usize;
            Ok(Stored { incarnation, live: row.get(1)?, first_segment: row.get::<_, i64>(2)? as u64 })
        });
        Some(stored.unwrap())
    }

    /// The stream's fork data, if it is a fork.
    pub(crate) fn fork(&self) -> Option<Fork> {
        let text: Option<String> =
            self.connection.query_row("SELECT fork FROM stream", [], |row| row.get(0)).ok()?;
        text.map(|text| serde_json::from_str(&text).unwrap())
    }

    /// The links and paths of the forks that reference the stream.
    pub(crate) fn holders(&self) -> Vec<(String, String)> {
        self.pairs("forks", "SELECT edge, path FROM forks WHERE released_until IS NULL ORDER BY edge")
    }

    /// The stream's links, and the source of each.
    pub(crate) fn links(&self) -> Vec<(String, String)> {
        self.pairs("edges", "SELECT id, source FROM edges ORDER BY id")
    }

    fn pairs(&self, table: &str, query: &str) -> Vec<(String, String)> {
        if !self.tables().contains(&table.to_owned()) {
            return Vec::new();
        }
        let mut statement = self.connection.prepare(query).unwrap();
        let pairs = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        pairs.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The keys of the segments that have rows.
    pub(crate) fn segment_keys(&self) -> Vec<String> {
        if !self.tables().contains(&"segments".to_owned()) {
            return Vec::new();
        }
        let path = &self.column("SELECT path FROM stream")[0];
        let mut statement =
            self.connection.prepare("SELECT incarnation, read_seq FROM segments ORDER BY read_seq").unwrap();
        let keys = statement.query_map([], |row| {
            Ok(segments::key(path, row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        });
        keys.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The rows that the segment index must have.
    pub(crate) fn segments_as_mirrored(&self) -> Vec<String> {
        if !self.tables().contains(&"segments".to_owned()) {
            return Vec::new();
        }
        let query = "SELECT path, segments.incarnation, segments.read_seq, content_type, end_position, message_count, \
            object_bytes, written_at FROM segments, stream ORDER BY segments.read_seq";
        let mut statement = self.connection.prepare(query).unwrap();
        let rows = statement.query_map([], |row| {
            let mut values: Vec<Value> = (0..8).map(|at| row.get(at).unwrap()).collect();
            let path: String = row.get(0)?;
            let key = segments::key(&path, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64);
            values.insert(3, Value::Text(key));
            Ok(format!("{values:?}"))
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The first column of a query, as text.
    fn column(&self, statement: &str) -> Vec<String> {
        let mut statement = self.connection.prepare_cached(statement).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Begins or ends a transaction.
    fn control(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute([]).map(drop)
    }

    fn before_statement(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure> {
        assert!(
            params.len() <= PARAMS_MAX && statement.len() <= STATEMENT_MAX_BYTES,
            "the statement exceeds the platform's limits"
        );
        let row_bytes: usize = params.iter().map(param_bytes).sum();
        if row_bytes > ROW_MAX_BYTES {
            return Err(Failure::new("sql", format_args!("string or blob too big: {row_bytes} bytes")));
        }
        match self.fault.get() {
            Some(Fault::Statement(0)) => {
                self.fault.set(None);
                Err(Failure::new("sql", format_args!("injected fault in: {statement}")))
            }
            Some(Fault::Statement(left)) => {
                self.fault.set(Some(Fault::Statement(left - 1)));
                Ok(())
            }
            Some(Fault::Commit | Fault::CommitButStored) | None => Ok(()),
        }
    }

    fn commit(&self) -> Result<(), Failure> {
        match self.fault.get() {
            Some(Fault::Commit) => {
                self.fault.set(None);
                self.control("ROLLBACK").unwrap();
                Err(Failure::new("commit", "injected fault"))
            }
            Some(Fault::CommitButStored) => {
                self.fault.set(None);
                self.control("COMMIT").unwrap();
                Err(Failure::new("commit", "injected fault after it was stored"))
            }
            Some(Fault::Statement(_)) | None => {
                self.control("COMMIT").map_err(|error| Failure::new("commit", error))
            }
        }
    }
}

impl Sql for HostSql {
    fn run(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure> {
        assert!(
            self.in_transaction.get(),
            "a write outside a transaction (only storage/commit.rs writes): {statement}"
        );
        self.before_statement(statement, params)?;
        let params: Vec<HostParam<'_>> = params.iter().copied().map(HostParam).collect();
        let mut statement = self.connection.prepare_cached(statement).map_err(failure)?;
        statement.execute(rusqlite::params_from_iter(params)).map(drop).map_err(failure)
    }

    fn query(&self, statement: &str, params: &[Param<'_>], visit: Visit<'_>) -> Result<(), Failure> {
        self.before_statement(statement, params)?;
        let params: Vec<HostParam<'_>> = params.iter().copied().map(HostParam).collect();
        let mut statement = self.connection.prepare_cached(statement).map_err(failure)?;
        assert!(statement.readonly(), "a query must not write");
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failure)?;
        while let Some(row) = rows.next().map_err(failure)? {
            // The column count is read after the first step: SQLite may have prepared an old statement again
            // for a new column.
            let columns = row.as_ref().column_count();
            visit(
                (0..columns)
                    .map(|at| to_column(row.get_ref(at).map_err(failure)?))
                    .collect::<Result<_, _>>()?,
            )?;
        }
        Ok(())
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        assert!(!self.in_transaction.replace(true), "transactions do not nest");
        self.control("BEGIN").unwrap();
        let before = self.connection.total_changes();
        let result = match body() {
            Ok(()) => {
                let rows = self.connection.total_changes() - before;
                self.commit().inspect(|()| self.rows_written.set(self.rows_written.get() + rows))
            }
            Err(failure) => {
                self.control("ROLLBACK").unwrap();
                Err(failure)
            }
        };
        self.in_transaction.set(false);
        result
    }
}

struct HostParam<'a>(Param<'a>);

impl ToSql for HostParam<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Param::Null => ValueRef::Null,
            Param::Integer(value) => {
                assert!(value <= SAFE_INTEGER_MAX, "{value} is too large for a double");
                ValueRef::Integer(value as i64)
            }
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn param_bytes(param: &Param<'_>) -> usize {
    match param {
        Param::Null => 0,
        Param::Integer(_) => 8,
        Param::Text(text) => text.len(),
        Param::Blob(bytes) => bytes.len(),
    }
}

fn to_column(value: ValueRef<'_>) -> Result<Column, Failure> {
    match value {
        ValueRef::Null => Ok(Column::Null),
        ValueRef::Integer(value) => {
            u64::try_from(value).map(Column::Integer).map_err(|error| Failure::new("sql", error))
        }
        ValueRef::Real(value) => Err(Failure::new("sql", format_args!("a real: {value}"))),
        ValueRef::Text(text) => {
            String::from_utf8(text.to_vec()).map(Column::Text).map_err(|error| Failure::new("sql", error))
        }
        ValueRef::Blob(bytes) => Ok(Column::Blob(bytes.to_vec())),
    }
}

fn failure(error: rusqlite::Error) -> Failure {
    Failure::new("sql", error)
}
