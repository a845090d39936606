//! Writes the batches of `src/object/segment_index.rs` to the segment index in D1. Each batch is atomic, and repeating one
//! changes nothing.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use crate::cloudflare::config::{ADMIN_DB, binding};
use crate::cloudflare::{clock, telemetry};
use crate::object::segment_index::Delivery;
use crate::protocol::Millis;
use crate::storage::Failure;

/// How long, in milliseconds, the database may take for a batch.
const BATCH_MAX: Millis = 30_000;

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

/// The database of the segment index, as an object uses it.
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
        self.carry_out(delivery).await.map_err(failed)
    }

    async fn carry_out(&self, delivery: &Delivery) -> Result<(), JsValue> {
        let Some(database) = &self.database else { return Err("no database is bound: bind ADMIN_DB".into()) };
        let statements = Array::new();
        for statement in &delivery.statements {
            let prepared = database.prepare(statement.text)?.bind(&delivery.path, &statement.notices)?;
            statements.push(&prepared);
        }
        let batch = JsFuture::from(database.batch(&statements)?);
        let late = || JsValue::from(format!("no answer within {BATCH_MAX} ms"));
        let results = clock::within(BATCH_MAX, batch).await.ok_or_else(late)??;
        telemetry::count(|counts| counts.mirror_rows_written += rows_written(&results));
        Ok(())
    }
}

/// The rows that D1 reports as written, over all statements of a batch.
fn rows_written(results: &JsValue) -> u64 {
    let of = |result: JsValue| {
        let meta = js_sys::Reflect::get(&result, &"meta".into()).ok()?;
        js_sys::Reflect::get(&meta, &"rows_written".into()).ok()?.as_f64()
    };
    Array::from(results).iter().filter_map(of).sum::<f64>() as u64
}
