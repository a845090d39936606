//! Writes the batches of `src/object/segment_index.rs` to the segment index in D1. Each batch is atomic, and repeating one
//! changes nothing. A scrape of the metrics checks that the index can be written.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use crate::cloudflare::config::{ADMIN_DB, binding};
use crate::cloudflare::{clock, telemetry};
use crate::object::segment_index::Delivery;
use crate::protocol::Millis;
use crate::storage::Failure;
use crate::storage::segments_admin::PROBES;

/// How long, in milliseconds, the database may take for a batch.
const BATCH_MAX: Millis = 30_000;
/// How long, in milliseconds, it may take for a check.
const PROBE_MAX: Millis = 5_000;

#[wasm_bindgen]
extern "C" {
    /// A D1 database. The worker crate's own binding would make the module 2 kB larger.
    type Database;

    #[wasm_bindgen(method, catch)]
    fn prepare(this: &Database, statement: &str) -> Result<Prepared, JsValue>;

    /// Runs all statements, or none of them.
    #[wasm_bindgen(method, catch)]
    fn batch(this: &Database, statements: &Array) -> Result<Promise, JsValue>;

    type Prepared;

    #[wasm_bindgen(method, catch)]
    fn bind(this: &Prepared, path: &str, notices: &str) -> Result<Prepared, JsValue>;
}

/// The database of the segment index.
pub(super) struct IndexDatabase {
    /// `None` if the deployment binds no database.
    database: Option<Database>,
}

impl IndexDatabase {
    pub(super) fn of(env: &Env) -> IndexDatabase {
        let database = binding(env, ADMIN_DB).map(JsCast::unchecked_into);
        IndexDatabase { database }
    }

    pub(super) fn is_there(&self) -> bool {
        self.database.is_some()
    }

    pub(super) async fn deliver(&self, delivery: &Delivery) -> Result<(), Failure> {
        let failed = |error| Failure::new("mirror segments", format_args!("{error:?}"));
        let results = self.carry_out(delivery).await.map_err(failed)?;
        telemetry::count(|counts| counts.mirror_rows_written += rows_written(&results));
        Ok(())
    }

    /// Checks that the tables of the index can be written, without writing a row. Returns the size of the database in bytes,
    /// if it says so. `None` if there is no database.
    pub(super) async fn probe(&self) -> Option<Result<Option<u64>, Failure>> {
        let database = self.database.as_ref()?;
        let probed = async {
            let statements = Array::new();
            for statement in PROBES {
                let prepared = database.prepare(statement)?;
                statements.push(&prepared);
            }
            batch(database, &statements, PROBE_MAX).await
        };
        let failed = |error| Failure::new("check index", format_args!("{error:?}"));
        Some(probed.await.map(|results| size(&results)).map_err(failed))
    }

    async fn carry_out(&self, delivery: &Delivery) -> Result<JsValue, JsValue> {
        let Some(database) = &self.database else { return Err("no database is bound: bind ADMIN_DB".into()) };
        let statements = Array::new();
        for statement in &delivery.statements {
            let prepared = database.prepare(statement.text)?.bind(&delivery.path, &statement.notices)?;
            statements.push(&prepared);
        }
        batch(database, &statements, BATCH_MAX).await
    }
}

/// Runs a batch within a time, and returns its results.
async fn batch(database: &Database, statements: &Array, time_max: Millis) -> Result<JsValue, JsValue> {
    let batch = JsFuture::from(database.batch(statements)?);
    let late = || JsValue::from(format!("no answer within {time_max} ms"));
    clock::within(time_max, batch).await.ok_or_else(late)?
}

/// The rows that D1 reports as written, over all statements of a batch.
fn rows_written(results: &JsValue) -> u64 {
    numbers(results, "rows_written").sum::<f64>() as u64
}

/// The size of the database after a batch.
fn size(results: &JsValue) -> Option<u64> {
    numbers(results, "size_after").last().map(|bytes| bytes as u64)
}

/// A number in the meta data of each result.
fn numbers(results: &JsValue, name: &str) -> impl Iterator<Item = f64> {
    let name = JsValue::from(name);
    let results: Vec<JsValue> = Array::from(results).iter().collect();
    results.into_iter().filter_map(move |result| {
        let meta = js_sys::Reflect::get(&result, &"meta".into()).ok()?;
        js_sys::Reflect::get(&meta, &name).ok()?.as_f64()
    })
}
