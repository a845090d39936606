//! The `Sql` port over Durable Object storage. A cursor is always read to its end, because an open one locks its table.

use std::cell::Cell;

use js_sys::{Array, ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use worker::State;

use crate::cloudflare::interned::Interned;
use crate::cloudflare::telemetry;
use crate::protocol::Millis;
use crate::storage::{Column, Failure, Param, Sql, Visit};
use crate::telemetry::counts::RowCounts;

#[wasm_bindgen]
extern "C" {
    /// The object's `ctx.storage`, for methods that the worker crate does not bind.
    type DurableStorage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &DurableStorage,
        body: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    fn set_alarm(this: &DurableStorage, at: f64) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, getter)]
    fn sql(this: &DurableStorage) -> SqlStorage;

    /// The object's `ctx.storage.sql`. The worker crate's own binding makes a new JavaScript string for each statement.
    type SqlStorage;

    #[wasm_bindgen(method, catch, variadic, js_name = exec)]
    fn exec_any(this: &SqlStorage, statement: &JsValue, params: Vec<JsValue>) -> Result<SqlCursor, JsValue>;

    type SqlCursor;

    #[wasm_bindgen(method)]
    fn raw(this: &SqlCursor) -> JsValue;

    #[wasm_bindgen(method, getter, js_name = rowsRead)]
    fn rows_read(this: &SqlCursor) -> f64;

    #[wasm_bindgen(method, getter, js_name = rowsWritten)]
    fn rows_written(this: &SqlCursor) -> f64;

    /// Returns all rows of a cursor in one call. They are in memory already, and an iterator needs three calls per row.
    #[wasm_bindgen(catch, js_namespace = Array, js_name = from)]
    fn array_from(iterator: &JsValue) -> Result<Array, JsValue>;
}

#[wasm_bindgen(module = "/src/cloudflare/js/sql.js")]
extern "C" {
    /// The blob may be a view of the module's memory, because the caller reads all rows of the cursor at once.
    #[wasm_bindgen(catch)]
    fn exec(
        sql: &SqlStorage,
        statement: &JsValue,
        params: &[f64],
        text: Option<&str>,
        blob: Option<&[u8]>,
    ) -> Result<SqlCursor, JsValue>;
}

/// Placeholders for parameters that are not numbers. The numbers of a statement are never negative.
const NULL: f64 = -1.0;
const TEXT: f64 = -2.0;
const BLOB: f64 = -3.0;

pub(super) struct ObjectSql {
    storage: DurableStorage,
    sql: SqlStorage,
    /// The platform caches prepared statements by the identity of the string, not by its text.
    statements: Interned,
    /// Whether to count rows, which takes two calls per statement.
    counts: bool,
    rows: Cell<RowCounts>,
    /// The rows written since the last data point.
    written: Cell<u64>,
}

impl ObjectSql {
    pub(super) fn new(state: &State, counts: bool) -> ObjectSql {
        let storage: DurableStorage = JsValue::from(state.storage().as_raw()).unchecked_into();
        let sql = storage.sql();
        let statements = Interned::default();
        ObjectSql { storage, sql, statements, counts, rows: Cell::default(), written: Cell::default() }
    }

    /// Sets the alarm, in the same turn and therefore in the same transaction as the commit before it.
    pub(super) fn set_alarm(&self, at: Millis) -> Result<(), Failure> {
        telemetry::count(|counts| counts.alarms_set += 1);
        self.add(RowCounts { read: 0, written: 1 });
        // Nothing awaits the promise: the output gate delays the response until the alarm is stored.
        self.storage.set_alarm(at as f64).map(drop).map_err(|error| failure("set alarm", &error))
    }

    /// The rows read and written since the last call. Setting an alarm is billed as one row written.
    pub(super) fn take_row_counts(&self) -> RowCounts {
        self.rows.take()
    }

    /// The rows written since the last call.
    pub(super) fn take_rows_written(&self) -> u64 {
        self.written.take()
    }

    fn exec(&self, statement: &str, params: &[Param<'_>]) -> Result<SqlCursor, Failure> {
        let executed = self.statements.with(statement, |interned| match in_one_call(params) {
            Some(InOneCall { numbers, text, blob }) => exec(&self.sql, interned, &numbers, text, blob),
            None => self.sql.exec_any(interned, params.iter().map(to_js).collect()),
        });
        executed.map_err(|error| sql_failure(statement, &error))
    }

    fn count(&self, cursor: &SqlCursor) {
        telemetry::count(|counts| {
            counts.rows_read += cursor.rows_read() as u64;
            counts.rows_written += cursor.rows_written() as u64;
        });
        if !self.counts {
            return;
        }
        let rows = RowCounts { read: cursor.rows_read() as u64, written: cursor.rows_written() as u64 };
        self.add(rows);
    }

    fn add(&self, rows: RowCounts) {
        self.rows.set(self.rows.get() + rows);
        self.written.set(self.written.get() + rows.written);
    }
}

impl Sql for ObjectSql {
    fn run(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure> {
        let cursor = self.exec(statement, params)?;
        self.count(&cursor);
        Ok(())
    }

    fn run_alone(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure> {
        // No transaction: a savepoint takes as long as the statement itself.
        self.run(statement, params)
    }

    fn query(&self, statement: &str, params: &[Param<'_>], visit: Visit<'_>) -> Result<(), Failure> {
        let cursor = self.exec(statement, params)?;
        // Read all rows before `visit`, which may fail: a half-read cursor locks its table.
        let rows = array_from(&cursor.raw()).map_err(|error| sql_failure(statement, &error))?;
        self.count(&cursor);
        for row in rows.iter() {
            visit(row.unchecked_ref::<Array>().iter().map(to_column).collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(())
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        let mut failed = None;
        let result = self.storage.transaction_sync(&mut || match body() {
            Ok(()) => Ok(JsValue::UNDEFINED),
            Err(failure) => {
                let message = JsValue::from_str(&failure.cause);
                failed = Some(failure);
                // The exception rolls the transaction back.
                Err(message)
            }
        });
        match (failed, result) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(failure("commit", &error)),
            (None, Ok(_)) => Ok(()),
        }
    }
}

fn sql_failure(statement: &str, error: &JsValue) -> Failure {
    Failure::new("sql", format_args!("{error:?} in: {statement}"))
}

fn failure(operation: &'static str, error: &JsValue) -> Failure {
    Failure::new(operation, format_args!("{error:?}"))
}

/// Parameters in the form that one call takes: numbers, and at most one text and one blob.
struct InOneCall<'p> {
    numbers: Vec<f64>,
    text: Option<&'p str>,
    blob: Option<&'p [u8]>,
}

fn in_one_call<'p>(params: &[Param<'p>]) -> Option<InOneCall<'p>> {
    let (mut text, mut blob) = (None, None);
    let number = |param: &Param<'p>| match *param {
        Param::Null => Some(NULL),
        Param::Integer(value) => Some(value as f64),
        Param::Text(value) => text.replace(value).is_none().then_some(TEXT),
        Param::Blob(value) => blob.replace(value).is_none().then_some(BLOB),
    };
    let numbers = params.iter().map(number).collect::<Option<Vec<f64>>>()?;
    Some(InOneCall { numbers, text, blob })
}

fn to_js(param: &Param<'_>) -> JsValue {
    match param {
        Param::Null => JsValue::NULL,
        Param::Integer(value) => JsValue::from_f64(*value as f64),
        Param::Text(text) => JsValue::from_str(text),
        Param::Blob(bytes) => Uint8Array::from(*bytes).into(),
    }
}

fn to_column(value: JsValue) -> Result<Column, Failure> {
    if value.is_null() {
        return Ok(Column::Null);
    }
    if let Some(number) = value.as_f64() {
        let is_whole = number >= 0.0 && number.fract() == 0.0;
        let other =
            || Failure::new("read row", format_args!("{number} is not a whole number of zero or more"));
        return if is_whole { Ok(Column::Integer(number as u64)) } else { Err(other()) };
    }
    if let Some(text) = value.as_string() {
        return Ok(Column::Text(text));
    }
    match value.dyn_into::<ArrayBuffer>() {
        Ok(bytes) => Ok(Column::Blob(Uint8Array::new(&bytes).to_vec())),
        Err(_) => Err(Failure::new("read row", "the column has a type that no table uses")),
    }
}
