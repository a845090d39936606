//! The `Sql` port over Durable Object storage.

use std::cell::Cell;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use worker::{SqlStorage, SqlStorageValue, State};

use crate::protocol::Millis;
use crate::storage::{Column, Failure, Param, Sql, Visit};

#[wasm_bindgen]
extern "C" {
    /// `ctx.storage`, for what the worker crate does not bind.
    type DurableStorage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &DurableStorage,
        body: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    fn set_alarm(this: &DurableStorage, at: f64) -> Result<JsValue, JsValue>;
}

/// The object's SQLite.
pub(super) struct ObjectSql {
    storage: DurableStorage,
    sql: SqlStorage,
    rows_read: Cell<u64>,
    rows_written: Cell<u64>,
}

impl ObjectSql {
    pub(super) fn new(state: &State) -> ObjectSql {
        let storage = JsValue::from(state.storage().as_raw()).unchecked_into();
        ObjectSql { storage, sql: state.storage().sql(), rows_read: Cell::new(0), rows_written: Cell::new(0) }
    }

    /// Sets the alarm in the same turn as the commit before it, and so in the same transaction.
    pub(super) fn set_alarm(&self, at: Millis) -> Result<(), Failure> {
        #[cfg(feature = "counters")]
        super::counters::add(|counts| counts.alarms_set += 1);
        // The promise is left alone: the output gate holds the answer until the alarm is stored.
        self.storage.set_alarm(at as f64).map(drop).map_err(|error| failure("set alarm", &error))
    }

    /// Rows read and written since it was last asked.
    pub(super) fn take_row_counts(&self) -> (u64, u64) {
        (self.rows_read.take(), self.rows_written.take())
    }

    fn exec(&self, statement: &str, params: &[Param<'_>]) -> Result<worker::SqlCursor, Failure> {
        let params: Vec<JsValue> = params.iter().map(to_js).collect();
        self.sql
            .exec_raw(statement, params)
            .map_err(|error| Failure::new("sql", format_args!("{error} in: {statement}")))
    }

    fn count(&self, cursor: &worker::SqlCursor) {
        #[cfg(feature = "counters")]
        super::counters::add(|counts| {
            counts.rows_read += cursor.rows_read() as u64;
            counts.rows_written += cursor.rows_written() as u64;
        });
        self.rows_read.set(self.rows_read.get() + cursor.rows_read() as u64);
        self.rows_written.set(self.rows_written.get() + cursor.rows_written() as u64);
    }
}

impl Sql for ObjectSql {
    fn run(&self, statement: &str, params: &[Param<'_>]) -> Result<(), Failure> {
        let cursor = self.exec(statement, params)?;
        self.count(&cursor);
        Ok(())
    }

    fn query(&self, statement: &str, params: &[Param<'_>], visit: Visit<'_>) -> Result<(), Failure> {
        let cursor = self.exec(statement, params)?;
        let mut seen = Ok(());
        for row in cursor.raw() {
            let row = row.map_err(|error| Failure::new("sql", format_args!("{error} in: {statement}")))?;
            let columns = row.into_iter().map(to_column).collect::<Result<Vec<_>, _>>()?;
            if seen.is_ok() {
                seen = visit(columns);
            }
        }
        self.count(&cursor);
        seen
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        let mut failed = None;
        let result = self.storage.transaction_sync(&mut || match body() {
            Ok(()) => Ok(JsValue::UNDEFINED),
            Err(failure) => {
                let message = JsValue::from_str(&failure.cause);
                failed = Some(failure);
                // Throwing is what rolls back.
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

fn failure(operation: &'static str, error: &JsValue) -> Failure {
    Failure::new(operation, format_args!("{error:?}"))
}

fn to_js(param: &Param<'_>) -> JsValue {
    match param {
        Param::Null => JsValue::NULL,
        Param::Integer(value) => JsValue::from_f64(*value as f64),
        Param::Text(text) => JsValue::from_str(text),
        Param::Blob(bytes) => Uint8Array::from(*bytes).into(),
    }
}

fn to_column(value: SqlStorageValue) -> Result<Column, Failure> {
    match value {
        SqlStorageValue::Null => Ok(Column::Null),
        SqlStorageValue::Integer(value) => u64::try_from(value)
            .map(Column::Integer)
            .map_err(|_| Failure::new("read row", "an integer below zero")),
        SqlStorageValue::String(text) => Ok(Column::Text(text)),
        SqlStorageValue::Blob(bytes) => Ok(Column::Blob(bytes)),
        SqlStorageValue::Boolean(_) | SqlStorageValue::Float(_) => {
            Err(Failure::new("read row", "a type that no table has"))
        }
    }
}
